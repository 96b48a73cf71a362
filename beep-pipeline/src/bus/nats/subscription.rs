//! What the subscriptions of one process watch: how far the log reaches, and how often something may have been missed.

use async_trait::async_trait;
use beep_core::bus::{Signal, Subscription};
use beep_core::event::Seq;
use tokio::sync::watch;

/// No entry is delayed by as many others: the stream holds fewer. One that lies further back means that the log began
/// anew, or that what was heard before was not true.
const FAR: Seq = 1_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Rung {
    reached: Seq,
    gaps: u64,
}

/// The one bell of a process.
#[derive(Debug, Default)]
pub(super) struct Bell(watch::Sender<Rung>);

impl Bell {
    /// The log reaches at least this far.
    pub(super) fn grown(&self, seq: Seq) {
        self.0.send_if_modified(|rung| {
            if seq > rung.reached {
                rung.reached = seq;
            } else if seq.saturating_add(FAR) < rung.reached {
                rung.reached = seq;
                rung.gaps += 1;
            } else {
                return false;
            }
            true
        });
    }

    /// Entries may have been missed.
    pub(super) fn gap(&self) {
        self.0.send_modify(|rung| rung.gaps += 1);
    }

    pub(super) fn listen(&self) -> Listener {
        let mut rung = self.0.subscribe();
        let heard = *rung.borrow_and_update();
        Listener { rung, heard }
    }
}

pub(super) struct Listener {
    rung: watch::Receiver<Rung>,
    heard: Rung,
}

#[async_trait]
impl Subscription for Listener {
    async fn next(&mut self) -> Signal {
        if self.rung.changed().await.is_err() {
            return Signal::Closed;
        }
        let now = *self.rung.borrow_and_update();
        let before = std::mem::replace(&mut self.heard, now);
        // Who reads the log because of a gap also finds what it grew by.
        if now.gaps != before.gaps { Signal::Gap } else { Signal::Grown(now.reached) }
    }
}
