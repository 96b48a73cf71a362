//! The bus inside one process: a bounded broadcast; whoever lags is told that there is a gap.

use async_trait::async_trait;
use beep_core::Result;
use beep_core::bus::{Bus, Signal, Subscription};
use beep_core::event::LogEntry;
use tokio::sync::broadcast;

/// Entries that a subscriber may lie behind before it is sent to the log.
const DEPTH: usize = 1_024;

/// A [`Bus`] for one process. Other processes' entries are found by the followers' own look at the log.
#[derive(Debug)]
pub struct MemoryBus(broadcast::Sender<LogEntry>);

impl Default for MemoryBus {
    fn default() -> Self {
        Self(broadcast::Sender::new(DEPTH))
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, entry: &LogEntry) -> Result<()> {
        // Nobody listening is not an error: the log has the entry.
        if self.0.receiver_count() > 0 {
            self.0.send(entry.clone()).ok();
        }
        Ok(())
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>> {
        Ok(Box::new(Listener(self.0.subscribe())))
    }
}

struct Listener(broadcast::Receiver<LogEntry>);

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Ok(entry) => Signal::Entry(entry),
            Err(broadcast::error::RecvError::Lagged(_)) => Signal::Gap,
            Err(broadcast::error::RecvError::Closed) => Signal::Closed,
        }
    }
}
