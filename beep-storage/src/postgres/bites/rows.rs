//! What stands in the columns: numbers that keep their order, and sums that tell damage.
//!
//! `sum` is XXH3 of a record's bytes, which every read compares. `seal` is XXH3 of everything else that is known about
//! it, but for its start, which the database chooses. SHA-256 stands beside them for `verify`.

use beep_core::bite::{BiteKey, BiteMeta, Digest, Label};
use beep_core::event::{Event, LogEntry};
use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::store::{NewBite, Parked};
use beep_core::{Error, ErrorKind, Result};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::hash::Hasher as _;
use twox_hash::XxHash3_64;

use super::super::error::storage;

/// Everything that [`Stored::read`] wants of `bites b`.
macro_rules! columns {
    () => {
        "b.label, b.conversation, b.start, b.author, b.device, b.media_type, b.duration_ms, b.bytes, b.sha256, b.sum, \
         b.seal, b.received, b.inline, b.object"
    };
}
pub(super) use columns;

/// Kinds of log entries.
const STORED: i16 = 1;
const DELETED: i16 = 2;
const FAILED: i16 = 3;

/// An unsigned number as one of the same order.
pub(super) fn signed(n: u64) -> i64 {
    (n ^ (1 << 63)) as i64
}

/// The reverse of [`signed`].
pub(super) fn unsigned(n: i64) -> u64 {
    n as u64 ^ (1 << 63)
}

/// XXH3 of a body.
pub(super) fn sum(body: &[u8]) -> i64 {
    XxHash3_64::oneshot(body) as i64
}

/// The seal of a new record.
pub(super) fn seal_of(new: &NewBite, sum: i64, object: Option<&str>) -> i64 {
    let meta = BiteMeta {
        author: new.author.clone(),
        media_type: new.media_type.clone(),
        duration_ms: new.duration_ms,
        bytes: new.body.len() as u64,
        sha256: new.sha256,
        received: new.received,
    };
    seal(new.label, new.conversation.as_str(), &meta, sum, object)
}

fn seal(label: Label, conversation: &str, meta: &BiteMeta, sum: i64, object: Option<&str>) -> i64 {
    let mut hash = XxHash3_64::default();
    let texts = [
        conversation,
        meta.author.user.as_str(),
        meta.author.device.as_str(),
        &meta.media_type,
        object.unwrap_or_default(),
    ];
    for text in texts {
        hash.write(&(text.len() as u64).to_le_bytes());
        hash.write(text.as_bytes());
    }
    hash.write(&[label as u8, u8::from(meta.duration_ms.is_some()), u8::from(object.is_some())]);
    for n in [meta.duration_ms.unwrap_or_default(), meta.bytes, meta.received, sum as u64] {
        hash.write(&n.to_le_bytes());
    }
    hash.write(&meta.sha256.0);
    hash.finish() as i64
}

/// Where the bytes of a record are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In `bite_bodies`, under this id.
    Inline(i64),
    /// In the object store, under this name.
    Object(String),
}

/// A row of `bites` that is as it was written.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) key: BiteKey,
    pub(super) meta: BiteMeta,
    pub(super) place: Place,
    sum: i64,
}

impl Stored {
    /// [`ErrorKind::Corrupt`] where the seal is broken.
    pub(super) fn read(row: &PgRow) -> Result<Self> {
        Self::parts(row).map_err(|e| match e.kind() {
            ErrorKind::Corrupt => e,
            _ => damaged(&name(row)).with_source(e),
        })
    }

    fn parts(row: &PgRow) -> Result<Self> {
        let author =
            Identity { user: UserId::parse(text(row, 3)?)?, device: DeviceId::parse(text(row, 4)?)? };
        let meta = BiteMeta {
            author,
            media_type: text(row, 5)?.to_owned(),
            duration_ms: row.try_get::<Option<i64>, _>(6).map_err(storage)?.map(|n| n as u64),
            bytes: row.try_get::<i64, _>(7).map_err(storage)? as u64,
            sha256: digest(row, 8)?,
            received: unsigned(row.try_get(11).map_err(storage)?),
        };
        let sum: i64 = row.try_get(9).map_err(storage)?;
        let inline: Option<i64> = row.try_get(12).map_err(storage)?;
        let object: Option<String> = row.try_get(13).map_err(storage)?;
        let key = BiteKey::new(
            label(row.try_get(0).map_err(storage)?)?,
            ConversationId::parse(text(row, 1)?)?,
            unsigned(row.try_get(2).map_err(storage)?),
        );
        let sealed = seal(key.label, key.conversation.as_str(), &meta, sum, object.as_deref());
        if sealed != row.try_get::<i64, _>(10).map_err(storage)? {
            return Err(damaged(&name(row)));
        }
        let place = match (inline, object) {
            (_, Some(object)) => Place::Object(object),
            (Some(inline), None) => Place::Inline(inline),
            (None, None) => return Err(damaged(&name(row))),
        };
        Ok(Self { key, meta, place, sum })
    }

    /// [`ErrorKind::Corrupt`] when these are not the bytes that were stored.
    pub(super) fn compare(&self, body: &[u8]) -> Result<()> {
        if body.len() as u64 == self.meta.bytes && sum(body) == self.sum {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    /// As [`Stored::compare`], with the digest, too.
    pub(super) fn prove(&self, body: &[u8]) -> Result<()> {
        self.compare(body)?;
        if Digest::of(body) == self.meta.sha256 { Ok(()) } else { Err(self.changed()) }
    }

    /// For a record whose bytes are gone.
    pub(super) fn lost(&self) -> Error {
        let sentence = format!("the bytes of {} are missing: restore them from a backup", self.key);
        Error::new(ErrorKind::Corrupt, sentence)
    }

    fn changed(&self) -> Error {
        let sentence =
            format!("the bytes of {} no longer match their digest: restore it from a backup", self.key);
        Error::new(ErrorKind::Corrupt, sentence)
    }
}

/// How people call the record of a row whose columns 0 to 2 are its key, however damaged.
pub(super) fn name(row: &PgRow) -> String {
    let label = row.try_get::<i16, _>(0).unwrap_or_default();
    let label = self::label(label).map_or_else(|_| label.to_string(), |label| label.to_string());
    let conversation = row.try_get::<String, _>(1).unwrap_or_default();
    format!("{label}/{conversation}/{}", row.try_get(2).map(unsigned).unwrap_or_default())
}

pub(super) fn damaged(name: &str) -> Error {
    let sentence = format!("the record of {name} is damaged: restore it from a backup");
    Error::new(ErrorKind::Corrupt, sentence)
}

fn text(row: &PgRow, at: usize) -> Result<&str> {
    row.try_get(at).map_err(storage)
}

fn digest(row: &PgRow, at: usize) -> Result<Digest> {
    let bytes: &[u8] = row.try_get(at).map_err(storage)?;
    let short = |_| Error::new(ErrorKind::Corrupt, "a stored digest is not 32 bytes long");
    Ok(Digest(bytes.try_into().map_err(short)?))
}

/// The label of this number.
pub(super) fn label(n: i16) -> Result<Label> {
    let found = Label::ALL.into_iter().find(|l| *l as i16 == n);
    found.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("a stored record has the unknown label {n}")))
}

/// A row of seq, at, kind, label, conversation, start, author, device, reason.
pub(super) fn entry(row: &PgRow) -> Result<LogEntry> {
    let seq = row.try_get::<i64, _>(0).map_err(storage)?;
    let read = || {
        let key = BiteKey::new(
            label(row.try_get(3).map_err(storage)?)?,
            ConversationId::parse(text(row, 4)?)?,
            unsigned(row.try_get(5).map_err(storage)?),
        );
        let author =
            Identity { user: UserId::parse(text(row, 6)?)?, device: DeviceId::parse(text(row, 7)?)? };
        let reason: Option<String> = row.try_get(8).map_err(storage)?;
        let kind: i16 = row.try_get(2).map_err(storage)?;
        let event = match (kind, reason) {
            (STORED, _) => Event::Stored { key, author },
            (DELETED, _) => Event::Deleted { key, author },
            (FAILED, Some(reason)) => Event::Failed { key, author, reason },
            _ => return Err(Error::new(ErrorKind::Corrupt, format!("no log entry is of kind {kind}"))),
        };
        Ok(LogEntry { seq: seq as u64, at: unsigned(row.try_get(1).map_err(storage)?), event })
    };
    read().map_err(|e: Error| damaged(&format!("log entry {seq}")).with_source(e))
}

/// A row of conversation, start, reason, at.
pub(super) fn parked(row: &PgRow) -> Result<Parked> {
    let read = || {
        let start = unsigned(row.try_get(1).map_err(storage)?);
        Ok(Parked {
            key: BiteKey::new(Label::Bite, ConversationId::parse(text(row, 0)?)?, start),
            reason: text(row, 2)?.to_owned(),
            at: unsigned(row.try_get(3).map_err(storage)?),
        })
    };
    read().map_err(|e: Error| damaged("a parked bite").with_source(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_numbers_keep_the_order_and_come_back() {
        let all = [0, 1, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX];
        assert!(all.map(signed).is_sorted());
        assert_eq!(all.map(signed).map(unsigned), all);
    }
}
