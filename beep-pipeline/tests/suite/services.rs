//! The real services that the tests of beep-storage start and find, as far as they are used here.

#[path = "../../../beep-storage/tests/services/nats.rs"]
pub mod nats;
#[path = "../../../beep-storage/tests/services/redis.rs"]
pub mod redis;
#[path = "../../../beep-storage/tests/services/skip.rs"]
mod skip;

use skip::skip;
