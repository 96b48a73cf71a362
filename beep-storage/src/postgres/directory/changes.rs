//! The directory's own log: what changed, written by the transaction that changed it.

use crate::postgres::error::storage;
use beep_core::id::{ConversationId, DeviceId, UserId};
use beep_core::store::{Change, ChangeEntry};
use beep_core::{Error, ErrorKind, Result};
use sqlx::PgConnection;

/// How many changes are kept at least for those who follow: days of a busy server, and a few megabytes.
const KEPT: i64 = 100_000;
/// Older ones are removed so many at once.
const BATCH: i64 = 1_000;

const USER: i16 = 0;
const CONVERSATION: i16 = 1;
const MEMBER: i16 = 2;
const CONTACT: i16 = 3;
const SESSION: i16 = 4;

/// Numbers and notes what changed, and rings. The last thing before the commit: from here to there nobody else, on no
/// node, gets a number, which is why numbers have neither gaps nor another order than the commits.
pub(super) async fn record(tx: &mut PgConnection, changes: &[Change]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let (mut kinds, mut a, mut b) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        let (kind, first, second) = match change {
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
        kinds.push(kind);
        a.push(first);
        b.push(second);
    }
    sqlx::query(
        "WITH last AS (UPDATE last_change SET seq = seq + cardinality($1) RETURNING seq),
         noted AS (
             INSERT INTO changes (seq, kind, a, b)
             SELECT last.seq - cardinality($1) + change.place, change.kind, change.a, change.b
             FROM last, unnest($1, $2, $3) WITH ORDINALITY AS change (kind, a, b, place)
         ),
         gone AS (
             DELETE FROM changes USING last
             WHERE changes.seq <= last.seq - $4 AND last.seq % $5 < cardinality($1)
         )
         SELECT pg_notify('beep_changes_' || 'changes'::regclass::oid, last.seq::text) FROM last",
    )
    .bind(kinds)
    .bind(a)
    .bind(b)
    .bind(KEPT)
    .bind(BATCH)
    .execute(tx)
    .await
    .map_err(storage)?;
    Ok(())
}

/// The changes behind `after`; an error when some of them are no longer kept.
pub(super) async fn behind(db: &mut PgConnection, after: u64, limit: usize) -> Result<Vec<ChangeEntry>> {
    // No position is that high, so nothing stands behind it.
    let Ok(after) = i64::try_from(after) else { return Ok(Vec::new()) };
    let found: Vec<(i64, i16, String, String)> =
        sqlx::query_as("SELECT seq, kind, a, b FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(after)
            .bind(super::rows(limit))
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

fn entry(seq: i64, kind: i16, a: &str, b: &str) -> Result<ChangeEntry> {
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
pub(super) async fn last(db: &mut PgConnection) -> Result<u64> {
    let seq: i64 = sqlx::query_scalar("SELECT seq FROM last_change").fetch_one(db).await.map_err(storage)?;
    Ok(seq.cast_unsigned())
}
