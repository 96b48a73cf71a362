//! The bytes of every value: version, postcard, checksum. A value is bound to its key, so neither can change alone.
//!
//! * A **record** (bite, label, blob) is `1 · header length (u16 LE) · header · checksum · body`. The body comes last
//!   and is found without decoding, so that it is copied once in and once out, and so that what is known about a
//!   record can be read without touching its bytes. The checksum covers key and header. The header holds two sums of
//!   the body: XXH3, which every read compares, and SHA-256, which `verify` compares as well. Both find what a disk or
//!   memory does to bytes; the first costs a tenth, and who could forge it could forge the whole file.
//! * Everything else is **sealed**: `1 · value · checksum`.
//!
//! The types here are the format on disk and borrow from it; the words of `beep_core` may change, these may not.

use beep_core::bite::{BiteKey, BiteMeta, Digest, Label};
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

const VERSION: u8 = 1;
const CHECKSUM: usize = 4;
/// Version and header length.
const LEAD: usize = 3;

/// What stands before the body of a record.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header<'a> {
    pub(super) user: &'a str,
    /// Empty for a blob.
    pub(super) device: &'a str,
    pub(super) media_type: &'a str,
    pub(super) duration_ms: Option<u64>,
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) sum: [u8; 8],
    pub(super) received: u64,
}

impl Header<'_> {
    pub(super) fn author(&self) -> Result<Identity> {
        Ok(Identity { user: UserId::parse(self.user)?, device: DeviceId::parse(self.device)? })
    }

    pub(super) fn meta(&self) -> Result<BiteMeta> {
        Ok(BiteMeta {
            author: self.author()?,
            media_type: self.media_type.to_owned(),
            duration_ms: self.duration_ms,
            bytes: self.bytes,
            sha256: Digest(self.sha256),
            received: self.received,
        })
    }

    /// Everything that stands before the body of the record at `key`.
    pub(super) fn encode(&self, key: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(192);
        out.extend_from_slice(&[VERSION, 0, 0]);
        let mut out = postcard::to_extend(self, out).map_err(|e| Error::internal("encoding a record", e))?;
        let length = u16::try_from(out.len() - LEAD)
            .map_err(|_| Error::new(ErrorKind::TooLarge, "what is known about a record exceeds 64 KiB"))?;
        out[1..LEAD].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&checksum(key, &out));
        Ok(out)
    }
}

/// Header and body of the record at `key`. The body has the length that the header tells, but is not hashed yet.
pub(super) fn record<'a>(key: &[u8], value: &'a [u8]) -> Result<(Header<'a>, &'a [u8])> {
    let damaged = || damaged(key);
    let (&[version, low, high], _) = value.split_first_chunk::<LEAD>().ok_or_else(damaged)?;
    let end = LEAD + usize::from(u16::from_le_bytes([low, high]));
    let (head, rest) = value.split_at_checked(end).ok_or_else(damaged)?;
    let (sum, body) = rest.split_first_chunk::<CHECKSUM>().ok_or_else(damaged)?;
    if version != VERSION || *sum != checksum(key, head) {
        return Err(damaged());
    }
    let header: Header<'a> = postcard::from_bytes(&head[LEAD..]).map_err(|_| damaged())?;
    // Before anything touches the body: a damaged page may claim gigabytes that the file does not have.
    if header.bytes != body.len() as u64 {
        return Err(damaged());
    }
    Ok((header, body))
}

/// As [`record`], with the body compared to its sum.
pub(super) fn whole<'a>(key: &[u8], value: &'a [u8]) -> Result<(Header<'a>, &'a [u8])> {
    let (header, body) = record(key, value)?;
    if sum(body) == header.sum { Ok((header, body)) } else { Err(changed(key)) }
}

/// As [`whole`], with the body compared to its digest, too.
pub(super) fn proven<'a>(key: &[u8], value: &'a [u8]) -> Result<(Header<'a>, &'a [u8])> {
    let (header, body) = whole(key, value)?;
    if Digest::of(body).0 == header.sha256 { Ok((header, body)) } else { Err(changed(key)) }
}

/// What [`Header::sum`] says of a body.
pub(super) fn sum(body: &[u8]) -> [u8; 8] {
    XxHash3_64::oneshot(body).to_le_bytes()
}

/// A small value, bound to its key.
pub(super) fn seal(key: &[u8], value: &impl Serialize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(192);
    out.push(VERSION);
    let mut out = postcard::to_extend(value, out).map_err(|e| Error::internal("encoding a value", e))?;
    out.extend_from_slice(&checksum(key, &out));
    Ok(out)
}

/// What [`seal`] closed.
pub(super) fn unseal<'a, T: Deserialize<'a>>(key: &[u8], value: &'a [u8]) -> Result<T> {
    let (head, sum) = value.split_last_chunk::<CHECKSUM>().ok_or_else(|| damaged(key))?;
    // Sealed values are small; a damaged length is not followed into gigabytes.
    if head.len() > 1 << 24 || head.first() != Some(&VERSION) || *sum != checksum(key, head) {
        return Err(damaged(key));
    }
    postcard::from_bytes(&head[1..]).map_err(|_| damaged(key))
}

/// One line of the log, without its number, which is its key.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    kind: u8,
    at: u64,
    label: u8,
    conversation: &'a str,
    start: u64,
    user: &'a str,
    device: &'a str,
    reason: Option<&'a str>,
}

const STORED: u8 = 1;
const DELETED: u8 = 2;
const FAILED: u8 = 3;

/// The value of a log entry.
pub(super) fn line(entry: &LogEntry) -> Result<Vec<u8>> {
    let (kind, reason) = match &entry.event {
        Event::Stored { .. } => (STORED, None),
        Event::Deleted { .. } => (DELETED, None),
        Event::Failed { reason, .. } => (FAILED, Some(reason.as_str())),
        _ => return Err(Error::new(ErrorKind::Internal, "LMDB has no format for this event: teach it one")),
    };
    let (key, author) = (entry.event.key(), entry.event.author());
    let line = Line {
        kind,
        at: entry.at,
        label: key.label as u8,
        conversation: key.conversation.as_str(),
        start: key.start,
        user: author.user.as_str(),
        device: author.device.as_str(),
        reason,
    };
    seal(&entry.seq.to_be_bytes(), &line)
}

/// The log entry at this number.
pub(super) fn entry(seq: Seq, value: &[u8]) -> Result<LogEntry> {
    let at = seq.to_be_bytes();
    let line: Line<'_> = unseal(&at, value)?;
    let label = Label::ALL.into_iter().find(|l| *l as u8 == line.label).ok_or_else(|| damaged(&at))?;
    let key = BiteKey::new(label, ConversationId::parse(line.conversation)?, line.start);
    let author = Identity { user: UserId::parse(line.user)?, device: DeviceId::parse(line.device)? };
    let event = match (line.kind, line.reason) {
        (STORED, _) => Event::Stored { key, author },
        (DELETED, _) => Event::Deleted { key, author },
        (FAILED, Some(reason)) => Event::Failed { key, author, reason: reason.to_owned() },
        _ => return Err(damaged(&at)),
    };
    Ok(LogEntry { seq, at: line.at, event })
}

fn changed(key: &[u8]) -> Error {
    let sentence =
        format!("the bytes of {} no longer match their digest: restore it from a backup", name(key));
    Error::new(ErrorKind::Corrupt, sentence)
}

pub(super) fn damaged(key: &[u8]) -> Error {
    let sentence = format!("the record of {} is damaged: restore it from a backup", name(key));
    Error::new(ErrorKind::Corrupt, sentence)
}

/// How people call what stands at a key.
pub(super) fn name(key: &[u8]) -> String {
    if let Ok(key) = BiteKey::decode(key) {
        return key.to_string();
    }
    if let Ok(seq) = <[u8; 8]>::try_from(key) {
        return format!("log entry {}", u64::from_be_bytes(seq));
    }
    key.escape_ascii().to_string()
}

/// Covers both, so that a value found at another key is not taken for that key's.
fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM] {
    let sum = XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(key), value);
    (sum as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header<'static> {
        Header {
            user: "u-1",
            device: "phone",
            media_type: "audio/ogg",
            duration_ms: Some(7),
            bytes: 5,
            sha256: Digest::of(b"hello").0,
            sum: sum(b"hello"),
            received: 9,
        }
    }

    #[test]
    fn a_record_comes_back() -> Result<()> {
        let mut value = header().encode(b"key")?;
        value.extend_from_slice(b"hello");
        assert_eq!(whole(b"key", &value)?, (header(), &b"hello"[..]));
        Ok(())
    }

    #[test]
    fn no_changed_byte_of_key_header_or_body_goes_unseen() -> Result<()> {
        let mut value = header().encode(b"key")?;
        value.extend_from_slice(b"hello");
        for at in 0..value.len() {
            for bit in 0..8 {
                let mut damaged = value.clone();
                damaged[at] ^= 1 << bit;
                assert!(whole(b"key", &damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        for at in 0..value.len() {
            assert!(whole(b"key", &value[..at]).is_err(), "cut at {at}");
        }
        assert!(whole(b"kez", &value).is_err());
        Ok(())
    }

    #[test]
    fn each_of_the_two_sums_of_a_body_counts() -> Result<()> {
        for (header, is_whole) in
            [(Header { sha256: [7; 32], ..header() }, true), (Header { sum: [7; 8], ..header() }, false)]
        {
            let mut value = header.encode(b"key")?;
            value.extend_from_slice(b"hello");
            assert_eq!(whole(b"key", &value).is_ok(), is_whole);
            assert!(proven(b"key", &value).is_err());
        }
        Ok(())
    }
}
