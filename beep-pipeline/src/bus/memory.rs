//! The bus inside one process: how far the log reaches, watched.

use async_trait::async_trait;
use beep_core::Result;
use beep_core::bus::{Bus, Signal, Subscription};
use beep_core::event::{LogEntry, Seq};
use tokio::sync::watch;

/// A [`Bus`] for one process. Other processes' entries are found by the followers' own look at the log.
///
/// However many entries come while a subscriber is busy, it then hears one signal.
#[derive(Debug, Default)]
pub struct MemoryBus(watch::Sender<Seq>);

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, entry: &LogEntry) -> Result<()> {
        self.0.send_if_modified(|reached| {
            let grown = entry.seq > *reached;
            *reached = entry.seq.max(*reached);
            grown
        });
        Ok(())
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>> {
        Ok(Box::new(Listener(self.0.subscribe())))
    }
}

struct Listener(watch::Receiver<Seq>);

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self) -> Signal {
        match self.0.changed().await {
            Ok(()) => Signal::Grown(*self.0.borrow_and_update()),
            Err(_) => Signal::Closed,
        }
    }
}
