//! Hears what other nodes changed: one connection of this node listens for all its bells.

use super::error::{late, storage};
use super::pool::PATIENCE;
use async_trait::async_trait;
use beep_core::Result;
use beep_core::bus::{Signal, Subscription};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::fmt;
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long nothing may be heard before the connection is asked whether it still is one.
const PULSE: Duration = Duration::from_secs(5);
/// How long to wait before the next try to reach a server that is away.
const PAUSE: Duration = Duration::from_millis(200);

/// What was heard so far.
#[derive(Clone, Copy, Debug, Default)]
struct Rung {
    /// The position of the last change.
    seq: u64,
    /// How often the connection was lost and came back.
    gaps: u64,
}

/// Makes bells. The connection is made for the first of them, and closed with this value.
pub(super) struct Bells {
    options: PgConnectOptions,
    listening: OnceCell<Listening>,
}

/// Not the options: they hold a password.
impl fmt::Debug for Bells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bells").field("listening", &self.listening.initialized()).finish_non_exhaustive()
    }
}

struct Listening {
    heard: watch::Receiver<Rung>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bells {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, listening: OnceCell::new() }
    }

    /// One that rings for every change that is committed from now on.
    pub(super) async fn bell(&self) -> Result<Bell> {
        let listening = self.listening.get_or_try_init(|| async {
            let first = connect(&self.options).await?;
            let (ring, heard) = watch::channel(Rung::default());
            let task = tokio::spawn(listen(self.options.clone(), first, ring));
            beep_core::Result::Ok(Listening { heard, task })
        });
        let mut heard = listening.await?.heard.clone();
        // Nothing of what was before. While the connection is away the gap is still to come.
        let gaps = heard.borrow_and_update().gaps;
        Ok(Bell { heard, gaps })
    }
}

/// A bell that rings when the directory changed on whatever node.
pub(super) struct Bell {
    heard: watch::Receiver<Rung>,
    /// The gaps that were told.
    gaps: u64,
}

#[async_trait]
impl Subscription for Bell {
    async fn next(&mut self) -> Signal {
        if self.heard.changed().await.is_err() {
            return Signal::Closed;
        }
        let rung = *self.heard.borrow_and_update();
        if rung.gaps == self.gaps {
            return Signal::Grown(rung.seq);
        }
        self.gaps = rung.gaps;
        Signal::Gap
    }
}

/// A connection that listens. A new one each time: nothing of one that was lost is used again.
async fn connect(options: &PgConnectOptions) -> Result<PgListener> {
    let connecting = async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        // As `changes::record` names it: the number of the table, because a database may have several schemas.
        let channel: String = sqlx::query_scalar("SELECT 'beep_changes_' || 'changes'::regclass::oid")
            .fetch_one(&mut listener)
            .await?;
        listener.listen(&channel).await?;
        Ok(listener)
    };
    timeout(PATIENCE, Box::pin(connecting)).await.map_err(|_| late())?.map_err(storage)
}

/// Rings for what is heard, for ever.
async fn listen(options: PgConnectOptions, first: PgListener, ring: watch::Sender<Rung>) {
    let mut listener = first;
    loop {
        let why = hear(&mut listener, &ring).await;
        tracing::warn!("the database's bell is lost and will be looked for: {why}");
        listener = loop {
            match connect(&options).await {
                Ok(listener) => break listener,
                Err(e) => tracing::debug!("the database's bell stays away: {e}"),
            }
            sleep(PAUSE).await;
        };
        // Only now: whoever reads after this has missed nothing.
        ring.send_modify(|rung| rung.gaps += 1);
    }
}

/// Returns when the connection is lost, with the reason.
async fn hear(listener: &mut PgListener, ring: &watch::Sender<Rung>) -> String {
    loop {
        match timeout(PULSE, listener.try_recv()).await {
            Ok(Ok(Some(heard))) => {
                // What is no number is none of ours, and a ring too many harms nobody.
                let seq = heard.payload().parse().unwrap_or_default();
                ring.send_modify(|rung| rung.seq = rung.seq.max(seq));
            }
            Ok(Ok(None)) => return "the server closed the connection".into(),
            Ok(Err(e)) => return e.to_string(),
            Err(_) => match timeout(PATIENCE, sqlx::query("SELECT 1").execute(&mut *listener)).await {
                Ok(Ok(_)) => {}
                Ok(Err(e)) => return e.to_string(),
                Err(_) => return "the server does not answer".into(),
            },
        }
    }
}
