//! The connection that writes, and what to do when it breaks in the middle.
//!
//! A call that got no answer may have committed, may yet commit, or never will. Guessing would lose what was said or say
//! it twice. So every batch has a number, runs only while its writer has no higher one, and marks its log entries:
//! whoever raises the number knows that the batch is over, and finds in the log what it did.

use super::super::error::storage;
use super::batch::{self, BatchId, Done, Job};
use beep_core::clock::{Entropy as _, System};
use beep_core::{Error, ErrorKind, Result};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};
use sqlx::{Connection as _, PgConnection, PgPool};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long the callers of a batch wait for a database that is away.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a call may take before its connection counts as broken.
const ANSWER: Duration = Duration::from_secs(30);
/// How often a database that is away is asked.
const AGAIN: Duration = Duration::from_millis(50);
/// How often old names of puts are swept, how many at once, and how old they are.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
const SWEEP: i64 = 5_000;
const SWEEP_AGE: u64 = 48 * 60 * 60 * 1_000;

/// Says durable, and one snapshot per statement, whatever the server's defaults are.
const SETTINGS: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                        WHERE current_setting('synchronous_commit') = 'off'";
const ISOLATION: &str = "SET default_transaction_isolation = 'read committed'";
const ENROL: &str = "INSERT INTO bite_writers (writer, batch) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const OLD: &str = "DELETE FROM bite_names WHERE name IN (SELECT name FROM bite_names WHERE received < $1 \
                   ORDER BY received LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// Writes batches, one at a time.
pub(super) struct Scribe {
    options: Arc<PgConnectOptions>,
    connection: Option<PgConnection>,
    id: BatchId,
    /// The position of an entry from before the batch that is being written.
    known: i64,
    swept: Instant,
    /// The newest time of a put with a name, if there was one since the last sweep.
    named: Option<u64>,
}

/// What the queue has to know of a commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// The cursors were stored.
    pub(super) stored: bool,
    /// There was no room.
    pub(super) full: bool,
    /// The database is away.
    pub(super) away: bool,
}

/// Why a batch was not written.
enum Fault {
    /// The database refused it; nothing was stored.
    Refused(Error),
    /// The database did not answer in time. Whether any was stored is known, or not.
    Away { known: bool },
}

pub(super) fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "the database does not answer now: nothing was stored, try again")
}

fn unknown() -> Error {
    let sentence = "the database went away while it stored this, and whether it did is not known: ask for it, or repeat \
                    it at the same place or under the same idempotency key";
    Error::new(ErrorKind::Unavailable, sentence)
}

impl Scribe {
    pub(super) fn new(pool: &PgPool) -> Result<Self> {
        let mut writer = [0; 8];
        System.fill(&mut writer)?;
        Ok(Self {
            options: pool.connect_options(),
            connection: None,
            id: BatchId { writer: i64::from_le_bytes(writer), batch: 0 },
            known: 0,
            swept: Instant::now(),
            named: None,
        })
    }

    /// Writes these and answers their callers. Where one of them is what the database cannot take, the others are
    /// written without it.
    pub(super) async fn commit(&mut self, jobs: Vec<Job>, cursors: &[(String, u64)]) -> Told {
        let until = Instant::now() + PATIENCE;
        let (mut told, mut parts) = (Told::default(), vec![jobs]);
        while let Some(mut jobs) = parts.pop() {
            match self.attempt(&mut jobs, cursors, until).await {
                Ok(()) => told.stored = true,
                Err(Fault::Refused(error)) if jobs.len() > 1 && error.kind() != ErrorKind::Full => {
                    let others = jobs.split_off(jobs.len() / 2);
                    parts.extend([others, jobs]);
                    tracing::debug!(%error, "a batch was refused and is tried in halves");
                }
                Err(Fault::Refused(error)) => {
                    told.full |= error.kind() == ErrorKind::Full;
                    tracing::warn!(%error, "the database refused a write");
                    answer_all(jobs, || Error::new(error.kind(), error.message()));
                }
                Err(Fault::Away { known }) => {
                    told.away = true;
                    answer_all(jobs, if known { away } else { unknown });
                    answer_all(parts.drain(..).flatten(), away);
                }
            }
        }
        self.sweep().await;
        told
    }

    /// Writes what is left of these until all are answered or the database has the last word.
    async fn attempt(
        &mut self,
        jobs: &mut Vec<Job>,
        cursors: &[(String, u64)],
        until: Instant,
    ) -> Result<(), Fault> {
        loop {
            self.connect(until).await.map_err(|()| Fault::Away { known: true })?;
            let Some(connection) = &mut self.connection else { return Err(Fault::Away { known: true }) };
            self.id.batch += 1;
            let call = batch::write(connection, self.id, jobs, cursors);
            match timeout(ANSWER, call).await {
                Ok(Ok(rows)) => {
                    let outcomes = rows.iter().map(|row| batch::outcome(row, jobs));
                    let outcomes: Vec<_> =
                        outcomes.collect::<sqlx::Result<_>>().map_err(|e| Fault::Refused(storage(e)))?;
                    self.answer(jobs, outcomes);
                    if let Some(job) = jobs.pop() {
                        let sentence = "the database answered fewer items than it was given";
                        drop(job.answer.send(Err(Error::new(ErrorKind::Internal, sentence))));
                        continue;
                    }
                    return Ok(());
                }
                Ok(Err(e)) if is_final(&e) => {
                    let again = is_collision(&e) || is_fenced(&e);
                    if is_fenced(&e) {
                        self.connection = None; // connecting enrols this writer
                    }
                    if !again {
                        return Err(Fault::Refused(storage(e)));
                    }
                    if Instant::now() >= until {
                        return Err(Fault::Away { known: true });
                    }
                }
                broken => {
                    if let Ok(Err(error)) = broken {
                        tracing::warn!(%error, "the connection broke in a write of bites; finding out what it did");
                    }
                    let written = self.find_out(until).await.map_err(|()| Fault::Away { known: false })?;
                    self.answer(jobs, written);
                    if jobs.is_empty() {
                        // Cursors are written again with the next batch: what they say only grows.
                        return Err(Fault::Away { known: true }).or(Ok(()));
                    }
                    if Instant::now() >= until {
                        return Err(Fault::Away { known: true });
                    }
                }
            }
        }
    }

    /// A connection, however often it takes; an error when that is too long.
    async fn connect(&mut self, until: Instant) -> Result<(), ()> {
        while self.connection.is_none() {
            match timeout_at(until, self.enrol()).await {
                Ok(Ok(connection)) => self.connection = Some(connection),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the writer of bites cannot connect");
                    if Instant::now() + AGAIN >= until {
                        return Err(());
                    }
                    sleep(AGAIN).await;
                }
                Err(_) => return Err(()),
            }
        }
        Ok(())
    }

    async fn enrol(&mut self) -> sqlx::Result<PgConnection> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        sqlx::query(SETTINGS).execute(&mut connection).await?;
        sqlx::query(ISOLATION).execute(&mut connection).await?;
        sqlx::query(ENROL).bind(self.id.writer).bind(self.id.batch).execute(&mut connection).await?;
        if self.known == 0 {
            self.known =
                sqlx::query_scalar("SELECT last FROM bite_log_tail").fetch_one(&mut connection).await?;
        }
        Ok(connection)
    }

    /// What the last batch wrote, now that it is over.
    async fn find_out(&mut self, until: Instant) -> Result<Vec<(usize, Result<Done>)>, ()> {
        loop {
            self.connection = None;
            self.connect(until).await?;
            let Some(connection) = &mut self.connection else { return Err(()) };
            match timeout_at(until, batch::written(connection, self.id, self.known)).await {
                Ok(Ok(written)) => return Ok(written),
                Ok(Err(error)) => tracing::debug!(%error, "the connection broke again"),
                Err(_) => {
                    self.connection = None;
                    return Err(());
                }
            }
        }
    }

    /// Answers the callers of these items and takes them out.
    fn answer(&mut self, jobs: &mut Vec<Job>, outcomes: Vec<(usize, Result<Done>)>) {
        let mut waiting: Vec<Option<Job>> = std::mem::take(jobs).into_iter().map(Some).collect();
        for (item, outcome) in outcomes {
            let Some(job) = waiting.get_mut(item).and_then(Option::take) else { continue };
            if let Ok(Done { entry: Some(entry), .. }) = &outcome {
                self.known = self.known.max(entry.seq as i64);
            }
            if let batch::Work::Put { new, .. } = &job.work
                && new.idempotency.is_some()
            {
                self.named = self.named.max(Some(new.received));
            }
            // The caller may have gone; the record is stored all the same.
            drop(job.answer.send(outcome));
        }
        jobs.extend(waiting.into_iter().flatten());
    }

    /// Forgets old names, now and then; what fails is tried again.
    async fn sweep(&mut self) {
        let (Some(newest), Some(connection)) = (self.named, &mut self.connection) else { return };
        if self.swept.elapsed() < SWEEP_EVERY {
            return;
        }
        self.swept = Instant::now();
        let old = super::rows::signed(newest.saturating_sub(SWEEP_AGE));
        let swept = sqlx::query(OLD).bind(old).bind(SWEEP).execute(&mut *connection);
        match timeout(ANSWER, swept).await {
            Ok(Ok(_)) => self.named = None,
            Ok(Err(error)) => {
                tracing::debug!(%error, "old names of puts stay");
                self.connection = None;
            }
            Err(_) => self.connection = None,
        }
    }
}

fn answer_all(jobs: impl IntoIterator<Item = Job>, error: impl Fn() -> Error) {
    for job in jobs {
        drop(job.answer.send(Err(error())));
    }
}

/// Whether the server said that it rolled this back. What it says when it ends a connection may come after a commit.
fn is_final(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(e) = error else { return false };
    e.try_downcast_ref::<PgDatabaseError>().is_some_and(|e| e.severity() == PgSeverity::Error)
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned()
}

/// Transactions met each other; the next time they will not.
fn is_collision(error: &sqlx::Error) -> bool {
    code(error).starts_with("40")
}

/// This writer's row is not what it should be: the database was restored, or emptied.
fn is_fenced(error: &sqlx::Error) -> bool {
    code(error) == "BE001"
}
