//! The bus between nodes: NATS JetStream carries each log entry to whoever waits. It is the bell, never the record.

mod options;
mod session;
mod stream;
mod subscription;

pub use options::NatsOptions;
pub use session::decode;

use async_trait::async_trait;
use beep_core::Result;
use beep_core::bus::{Bus, Subscription};
use beep_core::event::LogEntry;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subscription::Bell;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// Entries that wait for NATS. The newest stands for all before it, so of more than these the oldest are dropped.
const WAITING: usize = 1_024;
/// How long opening waits to hear how the first try to connect went.
const FIRST_TRY: Duration = Duration::from_secs(3);

/// A [`Bus`] for the nodes of an installation, on a JetStream stream that bounds itself in age, bytes and messages.
///
/// * `publish` never waits and never fails: this node's own subscriptions hear it at once, the others when NATS has
///   it. Whatever NATS loses, every follower finds by its own look at the log.
/// * NATS away, restarted, emptied or wiped, the stream deleted: warned of once per outage, mended in the background,
///   and every subscription hears [`Signal::Gap`](beep_core::bus::Signal::Gap) when it is over.
/// * However many subscriptions a node has, it has one consumer.
///
/// Each message is the entry as JSON on `<prefix>.log.<what>`, where *what* is `bite`, `user`, `transcription`,
/// `deleted` or `failed`; its `Nats-Msg-Id` is `<prefix>-<seq>`. Of what it hears, this bus reads `seq` only, so nodes
/// of different versions understand each other.
#[derive(Debug)]
pub struct NatsBus {
    bell: Arc<Bell>,
    outbox: Arc<Outbox>,
    _session: AbortOnDropHandle<()>,
}

impl NatsBus {
    /// Begins to connect. A server that is away is warned of and waited for in the background.
    ///
    /// [`ErrorKind::Malformed`](beep_core::ErrorKind::Malformed) when the URL is none of [`NatsOptions`].
    pub async fn open(url: &str) -> Result<Self> {
        let options = NatsOptions::parse(url)?;
        let (bell, outbox) = (Arc::new(Bell::default()), Arc::new(Outbox::default()));
        let (tried, first_try) = oneshot::channel();
        let session = tokio::spawn(session::run(options, bell.clone(), outbox.clone(), tried));
        let bus = Self { bell, outbox, _session: AbortOnDropHandle::new(session) };
        // However it went: when it failed or takes longer, the bus mends itself.
        tokio::time::timeout(FIRST_TRY, first_try).await.ok();
        Ok(bus)
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, entry: &LogEntry) -> Result<()> {
        self.bell.grown(entry.seq);
        self.outbox.push(entry.clone());
        Ok(())
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>> {
        Ok(Box::new(self.bell.listen()))
    }
}

/// What waits to be sent, oldest first. One task takes from it.
#[derive(Debug, Default)]
struct Outbox {
    waiting: Mutex<VecDeque<LogEntry>>,
    more: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<LogEntry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: LogEntry) {
        let mut waiting = self.lock();
        if waiting.len() == WAITING {
            waiting.pop_front();
        }
        waiting.push_back(entry);
        drop(waiting);
        self.more.notify_one();
    }

    /// What was taken and could not be sent. Where as many wait behind it, they stand for it.
    fn put_back(&self, entry: LogEntry) {
        let mut waiting = self.lock();
        if waiting.len() < WAITING {
            waiting.push_front(entry);
        }
    }

    /// Waits for the next one. Dropping the future loses nothing.
    async fn next(&self) -> LogEntry {
        loop {
            if let Some(entry) = self.lock().pop_front() {
                return entry;
            }
            self.more.notified().await;
        }
    }
}
