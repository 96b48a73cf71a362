//! Turns what SQLite says into Beep's errors; its own words stay in the source, for the log.

use beep_core::{Error, ErrorKind};
use sqlx::error::{DatabaseError, ErrorKind as SqlKind};

/// The primary result code: the low byte of SQLite's extended one.
fn code(e: &dyn DatabaseError) -> Option<i32> {
    e.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

/// Whether another process is in the way just now.
pub(crate) fn is_busy(e: &sqlx::Error) -> bool {
    e.as_database_error().and_then(code).is_some_and(|code| code == BUSY || code == LOCKED)
}

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;

/// Which kind this is. Constraint messages name only table and column, so matching them leaks nothing.
pub(crate) fn storage(e: sqlx::Error) -> Error {
    let (kind, message) = match &e {
        sqlx::Error::Database(db) => database(db.as_ref()),
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_) => (ErrorKind::Unavailable, "the database does not answer now; try again"),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            (ErrorKind::Corrupt, "a stored row is not what was stored; run `beep-cli verify`")
        }
        _ => (ErrorKind::Internal, "a database call failed"),
    };
    Error::new(kind, message).with_source(e)
}

fn database(e: &dyn DatabaseError) -> (ErrorKind, &'static str) {
    match e.kind() {
        SqlKind::UniqueViolation => return (ErrorKind::Conflict, taken(e.message())),
        SqlKind::ForeignKeyViolation => {
            return (ErrorKind::NotFound, "there is no such user or conversation");
        }
        _ => {}
    }
    match code(e) {
        Some(BUSY | LOCKED) => {
            (ErrorKind::Unavailable, "the database is busy with another process; try again")
        }
        Some(FULL) => (ErrorKind::Full, "the disk is full; nothing was stored"),
        Some(IOERR | CANTOPEN | READONLY) => (
            ErrorKind::Unavailable,
            "the database file cannot be read or written; check disk and permissions",
        ),
        Some(CORRUPT | NOTADB) => {
            (ErrorKind::Corrupt, "the database file is damaged; restore it from a backup")
        }
        _ => (ErrorKind::Internal, "a database call failed"),
    }
}

fn taken(message: &str) -> &'static str {
    if message.contains("users.phone_number") {
        "this phone number belongs to another user"
    } else if message.contains("users.username") {
        "this user name is taken"
    } else if message.contains("users.id") {
        "this user id is taken"
    } else if message.contains("conversations.id") {
        "this conversation id is taken"
    } else if message.contains("sessions.id") {
        "this session id is taken"
    } else {
        "this is already there"
    }
}

#[cfg(test)]
mod tests {
    use super::storage;
    use beep_core::{Error, ErrorKind};
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions as _, SqliteConnection};
    use std::path::Path;

    async fn open(file: &Path) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        options.busy_timeout(std::time::Duration::ZERO).connect().await.unwrap()
    }

    async fn fails(db: &mut SqliteConnection, statement: &'static str) -> Error {
        let e = storage(sqlx::raw_sql(statement).execute(db).await.unwrap_err());
        for word in ["INSERT", "code", "SELECT", "constraint"] {
            assert!(!e.message().contains(word), "SQLite's own words are for the log: {}", e.message());
        }
        assert!(e.to_string().contains("(code: "), "and the log has them: {e}");
        e
    }

    #[tokio::test]
    async fn each_failure_has_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.db");
        let mut db = open(&file).await;
        let schema = "CREATE TABLE users (id TEXT PRIMARY KEY, phone_number TEXT UNIQUE, username_key TEXT UNIQUE, text TEXT);
                      CREATE TABLE members (user TEXT REFERENCES users (id));
                      INSERT INTO users VALUES ('a', '+1', 'ada', '')";
        sqlx::raw_sql(schema).execute(&mut db).await.unwrap();
        let taken = fails(&mut db, "INSERT INTO users VALUES ('a', '+2', 'b', '')").await;
        assert_eq!((taken.kind(), taken.message()), (ErrorKind::Conflict, "this user id is taken"));
        let taken = fails(&mut db, "INSERT INTO users VALUES ('b', '+1', 'b', '')").await;
        assert_eq!(
            (taken.kind(), taken.message()),
            (ErrorKind::Conflict, "this phone number belongs to another user")
        );
        let taken = fails(&mut db, "INSERT INTO users VALUES ('b', '+2', 'ada', '')").await;
        assert_eq!((taken.kind(), taken.message()), (ErrorKind::Conflict, "this user name is taken"));
        let missing = fails(&mut db, "INSERT INTO members VALUES ('x')").await;
        assert_eq!(missing.kind(), ErrorKind::NotFound);

        let mut other = open(&file).await;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let busy = fails(&mut db, "INSERT INTO users VALUES ('b', '+2', 'b', '')").await;
        assert_eq!((busy.kind(), busy.is_temporary()), (ErrorKind::Unavailable, true));
        sqlx::raw_sql("ROLLBACK; PRAGMA max_page_count = 8").execute(&mut other).await.unwrap();
        let full =
            fails(&mut other, "INSERT INTO users VALUES ('c', '+3', 'c', hex(zeroblob(1000000)))").await;
        assert_eq!((full.kind(), full.is_temporary()), (ErrorKind::Full, false));
        sqlx::raw_sql("PRAGMA query_only = ON").execute(&mut other).await.unwrap();
        let locked = fails(&mut other, "INSERT INTO users VALUES ('c', '+3', 'c', '')").await;
        assert_eq!(locked.kind(), ErrorKind::Unavailable);
        assert_eq!(fails(&mut db, "SELECT nonsense").await.kind(), ErrorKind::Internal);
    }
}
