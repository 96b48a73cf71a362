//! Buses: how the processes of an installation hear that the log has grown.

mod bell;
#[cfg(feature = "legacy-subjects")]
pub mod legacy;
mod memory;
#[cfg(feature = "bus-nats")]
pub mod nats;
mod open;

pub(crate) use bell::Bell;
pub use memory::MemoryBus;
#[cfg(feature = "bus-nats")]
pub use nats::NatsBus;
pub use open::open;
