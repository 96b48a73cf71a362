//! The bell of this process: rung by what it records itself, by the bus, and by one look at the log for all followers.

use beep_core::bus::{Bus, Signal, Subscription};
use beep_core::event::{LogEntry, Seq};
use beep_core::store::BiteStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the log is looked at for what other processes appended, where no bus tells.
const LOOK: Duration = Duration::from_millis(100);
/// The same where a bus tells: it may lose what it was told.
const LOOK_BESIDE_A_BUS: Duration = Duration::from_secs(1);

/// How far the log reaches, as far as this process knows. However many entries come while a follower is busy, it then
/// hears one number.
#[derive(Debug)]
pub(crate) struct Bell {
    reached: watch::Sender<Seq>,
    beyond: Option<Arc<dyn Bus>>,
}

impl Bell {
    /// `beyond` leads to the other processes of the installation.
    pub(crate) fn new(reached: Seq, beyond: Option<Arc<dyn Bus>>) -> Self {
        Self { reached: watch::Sender::new(reached), beyond }
    }

    pub(crate) fn listen(&self) -> watch::Receiver<Seq> {
        self.reached.subscribe()
    }

    /// Tells of an entry that is committed. A bus that fails costs time, never an entry: every process also looks at the
    /// log by itself.
    pub(crate) async fn announce(&self, entry: &LogEntry) {
        self.ring(entry.seq);
        if let Some(bus) = &self.beyond
            && let Err(e) = bus.publish(entry).await
        {
            tracing::warn!(seq = entry.seq, error = %e, "the bus did not take a log entry; others will find it in the log");
        }
    }

    fn ring(&self, seq: Seq) {
        self.reached.send_if_modified(|reached| {
            let grown = seq > *reached;
            *reached = seq.max(*reached);
            grown
        });
    }

    /// Runs until dropped.
    pub(crate) async fn run(self: Arc<Self>, bites: Arc<dyn BiteStore>) {
        let mut heard: Option<Box<dyn Subscription>> = None;
        let (mut away, mut deaf) = (false, false);
        loop {
            if let (None, Some(bus)) = (&heard, &self.beyond) {
                match bus.subscribe().await {
                    Ok(subscription) => (heard, deaf) = (Some(subscription), false),
                    Err(e) if !deaf => {
                        deaf = true;
                        tracing::warn!(error = %e, "the bus cannot be heard; the log is looked at often instead");
                    }
                    Err(_) => {}
                }
            }
            let pause = if heard.is_some() { LOOK_BESIDE_A_BUS } else { LOOK };
            let signal = async {
                match &mut heard {
                    Some(subscription) => subscription.next().await,
                    None => std::future::pending().await,
                }
            };
            match tokio::time::timeout(pause, signal).await {
                Ok(Signal::Grown(seq)) => {
                    self.ring(seq);
                    continue;
                }
                Ok(Signal::Closed) => heard = None,
                Ok(Signal::Gap) | Err(_) => {}
            }
            match bites.tail().await {
                Ok(tail) => {
                    away = false;
                    self.ring(tail);
                }
                Err(e) if !away => {
                    away = true;
                    tracing::warn!(error = %e, "the log cannot be looked at; trying again");
                }
                Err(_) => {}
            }
        }
    }
}
