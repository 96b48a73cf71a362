//! Buses: how the processes and tasks of an installation hear that the log has grown.

mod memory;

pub use memory::MemoryBus;

use beep_core::bus::Bus;
use beep_core::event::LogEntry;

/// Rings the bell. A bus that fails costs time, never an entry: every follower also looks at the log by itself.
pub(crate) async fn announce(bus: &dyn Bus, entry: &LogEntry) {
    if let Err(e) = bus.publish(entry).await {
        tracing::warn!(seq = entry.seq, error = %e, "the bus did not take a log entry; followers will find it in the log");
    }
}
