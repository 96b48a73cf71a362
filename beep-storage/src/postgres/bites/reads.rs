//! What the tables say: single rows, pages, the log.

use super::rows::{self, Place, Stored, columns};
use super::storage;
use beep_core::bite::{BiteKey, BiteMeta, Label, ScanPage, ScanRange};
use beep_core::clock::Millis;
use beep_core::event::{LogEntry, Seq};
use beep_core::id::ConversationId;
use beep_core::store::{CorruptRecord, Parked};
use beep_core::{Error, ErrorKind, Result};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

const WHOLE: &str = concat!(
    "SELECT ",
    columns!(),
    ", d.bytes FROM bites b LEFT JOIN bite_bodies d ON d.id = b.inline
     WHERE b.label = $1 AND b.conversation = $2 AND b.start = $3"
);
const HEAD: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM bites b WHERE b.label = $1 AND b.conversation = $2 AND b.start = $3"
);
const METAS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM bites b WHERE b.label = $1 AND b.conversation = $2 AND b.start BETWEEN $3 AND $4
     ORDER BY b.start LIMIT $5"
);
const BEHIND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM bites b WHERE (b.label, b.conversation, b.start) > ($1, $2, $3)
     ORDER BY b.label, b.conversation, b.start LIMIT $4"
);
/// One more than asked for tells where the next page begins, if it is in the range at all.
const STARTS: &str = "SELECT start FROM bites WHERE label = $1 AND conversation = $2 AND start >= $3
                      ORDER BY start LIMIT $4";
const BEFORE: &str = "SELECT max(start) FROM bites WHERE label = $1 AND conversation = $2 AND start < $3";
const LOG: &str = "SELECT seq, at, kind, label, conversation, start, author, device, reason FROM bite_log
                   WHERE seq > $1 ORDER BY seq LIMIT $2";

/// A record with its bytes, where they stand in the database.
pub(super) async fn whole(db: &mut PgConnection, key: &BiteKey) -> Result<Option<(Stored, Option<Vec<u8>>)>> {
    let row = at(WHOLE, db, key).await?;
    row.map(|row| Ok((Stored::read(&row)?, row.try_get(14).map_err(storage)?))).transpose()
}

pub(super) async fn head(db: &mut PgConnection, key: &BiteKey) -> Result<Option<BiteMeta>> {
    at(HEAD, db, key).await?.map(|row| Ok(Stored::read(&row)?.meta)).transpose()
}

/// Where the bytes of the record are that stands there now.
pub(super) async fn place_of(db: &mut PgConnection, key: &BiteKey) -> Result<Option<Place>> {
    at(HEAD, db, key).await?.map(|row| Ok(Stored::read(&row)?.place)).transpose()
}

async fn at(query: &'static str, db: &mut PgConnection, key: &BiteKey) -> Result<Option<PgRow>> {
    sqlx::query(query)
        .bind(key.label as i16)
        .bind(key.conversation.as_str())
        .bind(rows::signed(key.start))
        .fetch_optional(db)
        .await
        .map_err(storage)
}

/// Bytes that stand in the database.
pub(super) async fn inline(db: &mut PgConnection, id: i64) -> Result<Option<Vec<u8>>> {
    let query = sqlx::query_scalar("SELECT bytes FROM bite_bodies WHERE id = $1").bind(id);
    query.fetch_optional(db).await.map_err(storage)
}

pub(super) async fn scan(
    db: &mut PgConnection,
    label: Label,
    conversation: &ConversationId,
    range: ScanRange,
) -> Result<ScanPage> {
    let from = rows::signed(range.from());
    let before: Option<i64> = sqlx::query_scalar(BEFORE)
        .bind(label as i16)
        .bind(conversation.as_str())
        .bind(from)
        .fetch_one(&mut *db)
        .await
        .map_err(storage)?;
    let starts: Vec<i64> = sqlx::query_scalar(STARTS)
        .bind(label as i16)
        .bind(conversation.as_str())
        .bind(from)
        .bind(count(range.limit().saturating_add(1)))
        .fetch_all(db)
        .await
        .map_err(storage)?;
    let mut page = ScanPage { previous: before.map(rows::unsigned), ..ScanPage::default() };
    for start in starts.into_iter().map(rows::unsigned) {
        if start > range.to() || page.starts.len() == range.limit() {
            page.next = Some(start);
            break;
        }
        page.starts.push(start);
    }
    Ok(page)
}

pub(super) async fn metas(
    db: &mut PgConnection,
    label: Label,
    conversation: &ConversationId,
    range: ScanRange,
) -> Result<Vec<(Millis, BiteMeta)>> {
    let found = sqlx::query(METAS)
        .bind(label as i16)
        .bind(conversation.as_str())
        .bind(rows::signed(range.from()))
        .bind(rows::signed(range.to()))
        .bind(count(range.limit()))
        .fetch_all(db)
        .await
        .map_err(storage)?;
    found.iter().map(|row| Stored::read(row).map(|stored| (stored.key.start, stored.meta))).collect()
}

pub(super) async fn log(db: &mut PgConnection, after: Seq, limit: usize) -> Result<Vec<LogEntry>> {
    let Ok(after) = i64::try_from(after) else { return Ok(Vec::new()) };
    let found = sqlx::query(LOG).bind(after).bind(count(limit)).fetch_all(db).await.map_err(storage)?;
    found.iter().map(rows::entry).collect()
}

pub(super) async fn tail(db: &mut PgConnection) -> Result<Seq> {
    let last: i64 =
        sqlx::query_scalar("SELECT last FROM bite_log_tail").fetch_one(db).await.map_err(storage)?;
    Ok(last as u64)
}

pub(super) async fn cursor(db: &mut PgConnection, group: &str) -> Result<Seq> {
    let query = sqlx::query_scalar("SELECT seq FROM bite_cursors WHERE name = $1").bind(group);
    let seq: Option<i64> = query.fetch_optional(db).await.map_err(storage)?;
    Ok(seq.unwrap_or(0) as u64)
}

pub(super) async fn parked_at(db: &mut PgConnection, key: &BiteKey) -> Result<Option<Parked>> {
    let row = sqlx::query(
        "SELECT conversation, start, reason, at FROM bites_parked WHERE conversation = $1 AND start = $2",
    )
    .bind(key.conversation.as_str())
    .bind(rows::signed(key.start))
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    row.as_ref().map(rows::parked).transpose()
}

/// In key order, which has the length of the conversation's name before the name.
pub(super) async fn parked(db: &mut PgConnection, limit: usize) -> Result<Vec<Parked>> {
    let found = sqlx::query(
        "SELECT conversation, start, reason, at FROM bites_parked
         ORDER BY octet_length(conversation), conversation, start LIMIT $1",
    )
    .bind(count(limit))
    .fetch_all(db)
    .await
    .map_err(storage)?;
    found.iter().map(rows::parked).collect()
}

/// Where a verification stands: the key of a row as its columns have it, however damaged.
pub(super) struct Mark {
    label: i16,
    start: i64,
    conversation: String,
}

impl Mark {
    /// Before the first row.
    pub(super) const BEGINNING: Self = Self { label: i16::MIN, start: i64::MIN, conversation: String::new() };

    /// As it is handed out.
    pub(super) fn encode(&self) -> Vec<u8> {
        [&self.label.to_be_bytes()[..], &self.start.to_be_bytes(), self.conversation.as_bytes()].concat()
    }

    /// The reverse of [`Mark::encode`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let parts = || {
            let (label, rest) = bytes.split_first_chunk::<2>()?;
            let (start, conversation) = rest.split_first_chunk::<8>()?;
            let conversation = String::from_utf8(conversation.to_vec()).ok()?;
            Some(Self { label: i16::from_be_bytes(*label), start: i64::from_be_bytes(*start), conversation })
        };
        parts().ok_or_else(|| Error::new(ErrorKind::Malformed, "this is no place in a verification"))
    }
}

/// A record on the way of a verification.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) mark: Mark,
    pub(super) stored: Result<Stored>,
}

/// Records behind this one, in the order of the table.
pub(super) async fn behind(db: &mut PgConnection, from: &Mark, limit: usize) -> Result<Vec<Found>> {
    let found = sqlx::query(BEHIND)
        .bind(from.label)
        .bind(&from.conversation)
        .bind(from.start)
        .bind(count(limit))
        .fetch_all(db)
        .await
        .map_err(storage)?;
    let each = found.iter().map(|row| {
        let mark = Mark {
            label: row.try_get(0).map_err(storage)?,
            conversation: row.try_get(1).map_err(storage)?,
            start: row.try_get(2).map_err(storage)?,
        };
        Ok(Found { name: rows::name(row), mark, stored: Stored::read(row) })
    });
    each.collect()
}

/// Writes something that changes nothing.
pub(super) async fn probe(db: &mut PgConnection) -> Result<()> {
    sqlx::query("UPDATE bite_log_tail SET last = last").execute(db).await.map_err(storage)?;
    Ok(())
}

pub(super) fn corrupt(key: String, why: &Error) -> CorruptRecord {
    CorruptRecord { key, reason: why.message().to_owned() }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
