//! Codes, limits and presence in Redis 7 or newer, for installations of several nodes.
//!
//! Redis holds only what can be lost. So that it is lost as a whole or not at all, what one run of a server wrote is
//! not seen in the next: a snapshot, or a replica that lags behind, would bring spent codes back. For the same reason a
//! server that evicts values to make room is refused.

mod ephemeral;
mod error;
mod link;
mod place;

pub use ephemeral::RedisEphemeral;
