//! One database: a pool of connections, and a schema that is brought up to date on opening.

use super::bell::Bells;
use super::error::{late, storage};
use beep_core::{Error, ErrorKind, Result};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Connections of one node; each is a process of the server.
const CONNECTIONS: u32 = 8;
/// How long a call may take, with everything.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How much of that a call waits for a connection; a server that is only restarted is waited for.
const TURN: Duration = Duration::from_secs(3);
/// A connection that lay idle for longer is tried before it is used: the server may have gone and come back.
const FRESH: Duration = Duration::from_secs(1);

/// What every connection is told when it begins.
const SETTINGS: [(&str, &str); 7] = [
    // Whatever the installation's default is: the statements here are written for this one.
    ("default_transaction_isolation", "read committed"),
    // A node that vanishes in the middle of a transaction must not hold its locks until TCP notices.
    ("idle_in_transaction_session_timeout", "10s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_user_timeout", "15s"),
    ("client_connection_check_interval", "1s"),
    // Less than a call's patience, so that the server stops waiting when the caller does.
    ("lock_timeout", "4s"),
    // Compiling a statement takes longer than any of these runs.
    ("jit", "off"),
];

static SCHEMA: Migrator = sqlx::migrate!("migrations/postgres");

/// An open database. Cheap to clone; all clones share the connections, and one more for all bells.
///
/// * No call takes longer than 5 s. While the server is away calls fail with [`ErrorKind::Unavailable`]; when it is back
///   they work again by themselves.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: PgPool,
    bells: Arc<Bells>,
}

impl Postgres {
    /// Connects and brings the schema up to date; safe when several nodes do so at once, and when one is killed in the
    /// middle: each step is one transaction.
    ///
    /// The tables stand in the first schema of the URL's search path, so several installations may share a database.
    ///
    /// [`ErrorKind::Malformed`] for a URL that is none, [`ErrorKind::Unavailable`] when the server does not answer,
    /// [`ErrorKind::Unsupported`] for a schema that a newer version made.
    pub async fn open(url: &str) -> Result<Self> {
        let malformed =
            || Error::new(ErrorKind::Malformed, "a Postgres URL reads `postgres://user@host:port/database`");
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(malformed());
        }
        let options: PgConnectOptions = url.parse().map_err(|e: sqlx::Error| malformed().with_source(e))?;
        let options = options.disable_statement_logging();
        prepare(&options).await?;
        let options = options.options(SETTINGS);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(TURN)
            .test_before_acquire(false)
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(options.clone())
            .await
            .map_err(storage)?;
        Ok(Self { pool, bells: Arc::new(Bells::new(options)) })
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// What rings when the directory changed, on whatever node.
    pub(super) fn bells(&self) -> &Bells {
        &self.bells
    }

    /// Whether the server answers now.
    pub(crate) async fn ready(&self) -> Result<()> {
        within!(self, |db| answers(db))
    }

    /// How many connections are open, and how many of them lie idle: for metrics and tests.
    pub fn connections(&self) -> (usize, usize) {
        (self.pool.size() as usize, self.pool.num_idle())
    }

    /// A connection, waited for at most [`TURN`].
    pub(super) async fn connection(&self) -> Result<PoolConnection<sqlx::Postgres>> {
        Box::pin(self.pool().acquire()).await.map_err(storage)
    }
}

/// Closes a connection whose answer did not come in time: what state it is in, nobody knows.
pub(super) fn give_up(connection: PoolConnection<sqlx::Postgres>) -> Error {
    drop(connection.detach());
    late()
}

/// Brings the schema up to date, on a connection of its own: a step may take its time, and wait for another node.
async fn prepare(options: &PgConnectOptions) -> Result<()> {
    let connecting = timeout(PATIENCE, Box::pin(options.connect()));
    let mut db = connecting.await.map_err(|_| late())?.map_err(storage)?;
    SCHEMA.run_direct(None, &mut db, false).await.map_err(|e| match e {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => storage(e),
        e => Error::new(
            ErrorKind::Unsupported,
            "the database has a schema that this version does not know; use the newer one",
        )
        .with_source(e),
    })?;
    db.close().await.map_err(storage)
}

async fn answers(db: &mut PgConnection) -> Result<()> {
    sqlx::query("SELECT 1").execute(db).await.map_err(storage)?;
    Ok(())
}
