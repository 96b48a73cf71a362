//! One database file: one writing connection, a few reading ones, and a schema that is brought up to date on opening.

use super::error::{is_busy, storage};
use beep_core::{Error, ErrorKind, Result};
use sqlx::migrate::Migrator;
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Pool, Sqlite, SqliteConnection, Transaction};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Reading connections per file: each is a thread and at most [`CACHE_KIB`] of pages.
const READERS: u32 = 3;
/// How long a call waits for its turn, or for another process to finish its transaction.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pages that a connection keeps to itself; what is mapped below is shared by all.
const CACHE_KIB: i64 = 1_024;
const MMAP_BYTES: i64 = 256 << 20;
/// What the write-ahead file shrinks to after a large transaction.
const WAL_BYTES: i64 = 16 << 20;

/// An open database file.
///
/// * Reads never wait for writers: they see the last commit.
/// * Writers wait for each other, in this process by a queue, between processes by SQLite's lock.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    writer: Pool<Sqlite>,
    readers: Pool<Sqlite>,
    /// Who may ask for a reader now.
    turns: Arc<Semaphore>,
}

impl Database {
    /// Opens or makes the file and brings its schema up to date; safe when several processes do so at once.
    pub(crate) async fn open(path: &Path, schema: &Migrator) -> Result<Self> {
        // Phone numbers, and what people said: for the owner only. SQLite gives its journal the mode of the file. One
        // that exists is left as it is, and why it cannot be made is said by SQLite.
        #[cfg(unix)]
        drop(
            std::os::unix::fs::OpenOptionsExt::mode(&mut OpenOptions::new(), 0o600)
                .write(true)
                .create_new(true)
                .open(path),
        );
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("mmap_size", MMAP_BYTES.to_string())
            .pragma("cache_size", (-CACHE_KIB).to_string())
            .pragma("journal_size_limit", WAL_BYTES.to_string())
            .disable_statement_logging();
        prepare(&options, schema).await.map_err(|e| e.with("file", path.display()))?;
        let pool = |connections| {
            PoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(PATIENCE)
                .idle_timeout(None)
                .max_lifetime(None)
                // A connection is a thread of this process: it cannot go away while it lies idle.
                .test_before_acquire(false)
        };
        let writer = pool(1).connect_lazy_with(options.clone());
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self { writer, readers, turns: Arc::new(Semaphore::new(READERS as usize)) })
    }

    /// A connection that only reads.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>> {
        // In turns: after a restart thousands ask at once, and sqlx needs kilobytes for each that waits.
        let turn =
            timeout(PATIENCE, self.turns.acquire()).await.map_err(|_| storage(sqlx::Error::PoolTimedOut))?;
        let _turn = turn.map_err(|e| Error::internal("waiting for a connection of the database", e))?;
        Box::pin(self.readers.acquire()).await.map_err(storage)
    }

    /// Begins a writing transaction; dropped without [`commit`] it leaves nothing behind.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        // Taking the write lock at once: a transaction that begins with reading could find it taken half-way.
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(storage)
    }

    /// Whether the file can be read now.
    pub(crate) async fn ready(&self) -> Result<()> {
        sqlx::query("SELECT count(*) FROM sqlite_schema")
            .execute(&mut *self.read().await?)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// How many connections lie idle: writing and reading ones.
    pub(crate) fn idle(&self) -> (usize, usize) {
        (self.writer.num_idle(), self.readers.num_idle())
    }
}

/// Makes what was written durable.
pub(crate) async fn commit(tx: Transaction<'_, Sqlite>) -> Result<()> {
    tx.commit().await.map_err(storage)
}

/// `LIMIT` as SQLite takes it. Written `LIMIT +?`: SQLite looks into a bare `?` when it plans a statement, and so plans
/// it anew for each value.
pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Makes sure of write-ahead mode and schema, on a connection of its own that is closed again.
async fn prepare(options: &SqliteConnectOptions, schema: &Migrator) -> Result<()> {
    const STEP: Duration = Duration::from_millis(10);
    let options = options.clone().journal_mode(SqliteJournalMode::Wal);
    let mut left = PATIENCE;
    loop {
        // SQLite does not wait by itself when two processes make a new file at once: one is told "busy".
        match migrate(&options, schema).await {
            Err(Failure::Busy(_)) if left > STEP => {
                left -= STEP;
                tokio::time::sleep(STEP).await;
            }
            Err(Failure::Busy(e)) => return Err(storage(e)),
            Err(Failure::Final(e)) => return Err(e),
            Ok(()) => return Ok(()),
        }
    }
}

enum Failure {
    Busy(sqlx::Error),
    Final(Error),
}

impl From<sqlx::Error> for Failure {
    fn from(e: sqlx::Error) -> Self {
        if is_busy(&e) { Self::Busy(e) } else { Self::Final(storage(e)) }
    }
}

async fn migrate(options: &SqliteConnectOptions, schema: &Migrator) -> Result<(), Failure> {
    let mut connection = options.connect().await?;
    if !is_current(&mut connection, schema).await? {
        // One transaction around all steps: of two processes the second waits here and then finds nothing to do.
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        schema.run_direct(None, &mut *tx, false).await.map_err(|e| {
            Failure::Final(
                Error::new(
                    ErrorKind::Unsupported,
                    "the database has a schema that this version does not know; use the newer one",
                )
                .with_source(e),
            )
        })?;
        tx.commit().await?;
    }
    connection.close().await?;
    Ok(())
}

/// Whether exactly the known steps were taken: one read, so that opening costs next to nothing.
async fn is_current(connection: &mut SqliteConnection, schema: &Migrator) -> Result<bool, sqlx::Error> {
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await?;
    if tables == 0 {
        return Ok(false);
    }
    let taken: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(connection)
            .await?;
    Ok(taken.iter().map(|(v, c)| (*v, c.as_slice())).eq(schema.iter().map(|m| (m.version, &*m.checksum))))
}
