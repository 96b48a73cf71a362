//! The directory's own log: what changed, written by the transaction that changed it.

use crate::sqlite::error::storage;
use crate::sqlite::pool::limit as rows;
use beep_core::id::{ConversationId, DeviceId, UserId};
use beep_core::store::{Change, ChangeEntry};
use beep_core::{Error, ErrorKind, Result};
use sqlx::SqliteConnection;

/// How many changes are kept for those who follow: days of a busy server, and a few megabytes.
const KEPT: i64 = 100_000;

pub(super) const USER: i64 = 0;
pub(super) const CONVERSATION: i64 = 1;
pub(super) const MEMBER: i64 = 2;
pub(super) const CONTACT: i64 = 3;
pub(super) const SESSION: i64 = 4;

/// Notes one change, and forgets those that are too old.
pub(super) async fn record(tx: &mut SqliteConnection, change: &Change) -> Result<()> {
    let (kind, a, b) = match change {
        Change::User(user) => (USER, user.as_str(), ""),
        Change::Conversation(conversation) => (CONVERSATION, conversation.as_str(), ""),
        Change::Member(conversation, user) => (MEMBER, conversation.as_str(), user.as_str()),
        Change::Contact(owner, contact) => (CONTACT, owner.as_str(), contact.as_str()),
        Change::Session(user, device) => (SESSION, user.as_str(), device.as_str()),
        other => {
            return Err(Error::new(ErrorKind::Internal, "this directory cannot note such a change")
                .with("change", format!("{other:?}")));
        }
    };
    let seq = sqlx::query("INSERT INTO changes (kind, a, b) VALUES (?1, ?2, ?3)")
        .bind(kind)
        .bind(a)
        .bind(b)
        .execute(&mut *tx)
        .await
        .map_err(storage)?
        .last_insert_rowid();
    sqlx::query("DELETE FROM changes WHERE seq <= ?1").bind(seq - KEPT).execute(tx).await.map_err(storage)?;
    Ok(())
}

/// The changes behind `after`; an error when some of them are no longer kept.
pub(super) async fn behind(db: &mut SqliteConnection, after: u64, limit: usize) -> Result<Vec<ChangeEntry>> {
    // No position is that high, so nothing stands behind it.
    let Ok(after) = i64::try_from(after) else { return Ok(Vec::new()) };
    let found: Vec<(i64, i64, String, String)> =
        sqlx::query_as("SELECT seq, kind, a, b FROM changes WHERE seq > ?1 ORDER BY seq LIMIT +?2")
            .bind(after)
            .bind(rows(limit))
            .fetch_all(db)
            .await
            .map_err(storage)?;
    // Numbers have no gaps, so a first one that does not follow tells that what stood between is gone.
    if found.first().is_some_and(|(first, ..)| first - after > 1) {
        return Err(Error::new(
            ErrorKind::Invalid,
            "changes that old are no longer kept; begin anew from the last one",
        )
        .with("after", after));
    }
    found.into_iter().map(|(seq, kind, a, b)| entry(seq, kind, &a, &b)).collect()
}

fn entry(seq: i64, kind: i64, a: &str, b: &str) -> Result<ChangeEntry> {
    let change = match kind {
        USER => Change::User(UserId::parse(a)?),
        CONVERSATION => Change::Conversation(ConversationId::parse(a)?),
        MEMBER => Change::Member(ConversationId::parse(a)?, UserId::parse(b)?),
        CONTACT => Change::Contact(UserId::parse(a)?, UserId::parse(b)?),
        SESSION => Change::Session(UserId::parse(a)?, DeviceId::parse(b)?),
        _ => {
            return Err(Error::new(ErrorKind::Corrupt, "a noted change is of no known kind").with("seq", seq));
        }
    };
    Ok(ChangeEntry { seq: seq.cast_unsigned(), change })
}

/// The position of the last change.
pub(super) async fn last(db: &mut SqliteConnection) -> Result<u64> {
    let seq: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM changes")
        .fetch_one(db)
        .await
        .map_err(storage)?;
    Ok(seq.cast_unsigned())
}
