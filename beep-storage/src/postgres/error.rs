//! Turns what Postgres says into Beep's errors; its own words stay in the source, for the log.

use beep_core::{Error, ErrorKind};
use sqlx::error::{DatabaseError, ErrorKind as SqlKind};
use std::error::Error as _;

/// Which kind this is. Names of constraints are this schema's own, so matching them leaks nothing.
pub(crate) fn storage(e: sqlx::Error) -> Error {
    let (kind, message) = match &e {
        sqlx::Error::Database(db) => database(db.as_ref()),
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Io(_) => (ErrorKind::Unavailable, AWAY),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            (ErrorKind::Corrupt, "a stored row is not what was stored; run `beep-cli verify`")
        }
        _ => (ErrorKind::Internal, "a database call failed"),
    };
    Error::new(kind, message).with_source(e)
}

/// What a call says that got no answer in time.
pub(super) fn late() -> Error {
    Error::new(ErrorKind::Unavailable, AWAY)
}

/// Whether two transactions met each other and this one gave way: it left nothing behind and may begin again.
pub(super) fn gave_way(e: &Error) -> bool {
    let sql = e.source().and_then(|source| source.downcast_ref::<sqlx::Error>());
    let code = sql.and_then(sqlx::Error::as_database_error).and_then(DatabaseError::code);
    code.is_some_and(|code| code.starts_with("40"))
}

const AWAY: &str = "the database does not answer now; try again";

fn database(e: &dyn DatabaseError) -> (ErrorKind, &'static str) {
    match e.kind() {
        SqlKind::UniqueViolation => return (ErrorKind::Conflict, taken(e.constraint().unwrap_or_default())),
        SqlKind::ForeignKeyViolation => {
            return (ErrorKind::NotFound, "there is no such user or conversation");
        }
        _ => {}
    }
    let code = e.code().unwrap_or_default();
    let is_any = |classes: &[&str]| classes.iter().any(|class| code.starts_with(class));
    match &*code {
        "53100" => (ErrorKind::Full, "the database's disk is full; nothing was stored"),
        // Idle too long in a transaction, and a server that only reads because another one has taken over.
        "25P03" | "25006" => (ErrorKind::Unavailable, AWAY),
        // Connections lost, shutting down or starting, out of resources, in somebody's way, and transactions that met
        // each other.
        _ if is_any(&["08", "53", "55", "57", "40"]) => (ErrorKind::Unavailable, AWAY),
        "42501" => (ErrorKind::Unavailable, REFUSED),
        _ if is_any(&["28", "3D", "3F"]) => (ErrorKind::Unavailable, REFUSED),
        _ if is_any(&["XX"]) => (ErrorKind::Corrupt, "the database is damaged; restore it from a backup"),
        _ => (ErrorKind::Internal, "a database call failed"),
    }
}

const REFUSED: &str = "the database refuses; check user, password, database and schema of its URL";

fn taken(constraint: &str) -> &'static str {
    match constraint {
        "users_phone_number_key" => "this phone number belongs to another user",
        "users_username_key" => "this user name is taken",
        "users_pkey" | "users_id_key" => "this user id is taken",
        "conversations_pkey" | "conversations_id_key" => "this conversation id is taken",
        "sessions_pkey" | "sessions_id_key" => "this session id is taken",
        _ => "this is already there",
    }
}
