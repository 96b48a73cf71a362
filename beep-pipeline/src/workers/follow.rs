//! Follows the log: woken by the bus, and by its own look every 100 ms, because other processes append too.

use beep_core::Result;
use beep_core::bus::{Bus, Signal, Subscription};
use beep_core::event::{LogEntry, Seq};
use beep_core::store::BiteStore;
use std::sync::Arc;
use std::time::Duration;

/// How often a follower looks at the log when nothing rings.
const LOOK: Duration = Duration::from_millis(100);
/// The longest pause between two tries while the store does not answer.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Entries per step.
const STEP: usize = 256;

pub(crate) struct Follower {
    bites: Arc<dyn BiteStore>,
    bell: Box<dyn Subscription>,
    /// Everything up to here was handed out.
    position: Seq,
}

impl Follower {
    /// Begins behind `position`.
    pub(crate) async fn begin(bites: Arc<dyn BiteStore>, bus: &dyn Bus, position: Seq) -> Result<Self> {
        Ok(Self { bites, bell: bus.subscribe().await?, position })
    }

    /// The next entries, in order and without a gap. Waits until there are some. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Vec<LogEntry> {
        let mut pause = LOOK;
        loop {
            match self.bites.log(self.position, STEP).await {
                Ok(entries) => {
                    if let Some(last) = entries.last() {
                        self.position = last.seq;
                        return entries;
                    }
                    self.wait().await;
                    pause = LOOK;
                }
                Err(e) => {
                    tracing::warn!(error = %e, after = self.position, "the log cannot be read; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }

    async fn wait(&mut self) {
        let ring = async {
            loop {
                match self.bell.next().await {
                    // What was already handed out rings late: not news.
                    Signal::Grown(seq) if seq <= self.position => {}
                    Signal::Grown(_) | Signal::Gap => return,
                    Signal::Closed => std::future::pending().await,
                }
            }
        };
        // Either way the log is read next, so it does not matter which of the two it was.
        tokio::time::timeout(LOOK, ring).await.ok();
    }
}
