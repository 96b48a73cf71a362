//! Follows the log: woken by the bell of this process, from a position of its own.

use beep_core::event::{LogEntry, Seq};
use beep_core::store::BiteStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The pause before the log is read again when it does not show what the bell told of.
const AGAIN: Duration = Duration::from_millis(100);
/// The longest pause between two tries while the store does not answer.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Entries per step.
const STEP: usize = 256;

pub(crate) struct Follower {
    bites: Arc<dyn BiteStore>,
    bell: watch::Receiver<Seq>,
    /// Everything up to here was handed out.
    position: Seq,
}

impl Follower {
    /// Begins behind `position`.
    pub(crate) fn new(bites: Arc<dyn BiteStore>, bell: watch::Receiver<Seq>, position: Seq) -> Self {
        Self { bites, bell, position }
    }

    /// The next entries, in order and without a gap. Waits until there are some. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Vec<LogEntry> {
        let mut pause = AGAIN;
        loop {
            // Before the log is read: what rings meanwhile is heard behind it.
            let told = *self.bell.borrow_and_update();
            match self.bites.log(self.position, STEP).await {
                Ok(entries) => {
                    if let Some(last) = entries.last() {
                        self.position = last.seq;
                        return entries;
                    }
                    pause = AGAIN;
                    let position = self.position;
                    if told > position {
                        tokio::time::sleep(AGAIN).await;
                    } else if self.bell.wait_for(|reached| *reached > position).await.is_err() {
                        // Nobody is left who could ring: the pipeline is ending.
                        std::future::pending().await
                    }
                }
                Err(e) => {
                    tracing::warn!(error = %e, after = self.position, "the log cannot be read; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }
}
