//! The record itself: bites, what belongs to them, the ordered log and the workers' cursors.

use super::Capability;
use crate::Result;
use crate::bite::{Bite, BiteKey, BiteMeta, Digest, Label, ScanPage, ScanRange};
use crate::clock::Millis;
use crate::event::{LogEntry, Seq};
use crate::id::{ConversationId, Identity};
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::ControlFlow;

/// Where a new record is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Exactly here.
    At(Millis),
    /// At the first free start from here on.
    Next(Millis),
}

/// A record to be stored.
#[derive(Clone, Debug)]
pub struct NewBite {
    /// The kind of record.
    pub label: Label,
    /// The conversation.
    pub conversation: ConversationId,
    /// Where it is to stand.
    pub start: Start,
    /// Whose it is.
    pub author: Identity,
    /// The media type found in the bytes.
    pub media_type: String,
    /// How long it lasts, if known.
    pub duration_ms: Option<u64>,
    /// The bytes.
    pub body: Bytes,
    /// Their SHA-256, as the caller counted it.
    pub sha256: Digest,
    /// When the server received it.
    pub received: Millis,
    /// The caller's own name for this put, already bound to author and conversation; remembered for 24 hours.
    pub idempotency: Option<Digest>,
}

/// What a put did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Where the record stands.
    pub key: BiteKey,
    /// Its log entry; none when the same bytes of the same author stood there already.
    pub entry: Option<LogEntry>,
}

/// A bite that a worker gave up on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The key of the bite.
    pub key: BiteKey,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Millis,
}

/// A record that is not what was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorruptRecord {
    /// Its key, as far as it can be read.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// One step of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyPage {
    /// How many records were read.
    pub checked: u64,
    /// Those that are damaged.
    pub corrupt: Vec<CorruptRecord>,
    /// Where to go on; none at the end.
    pub next: Option<Vec<u8>>,
}

/// Bites, labels, log and cursors.
///
/// * A put is **create-only**: the same bytes by the same author at the same place answer without an entry; anything
///   else there is [`crate::ErrorKind::Conflict`], and nothing is overwritten.
/// * The record and its log entry are **one commit**. When `put` returns `Ok`, both survive `kill -9` and, where
///   [`Capability::durable`] says so, power loss.
/// * The log is **gap-free**: entries are numbered 1, 2, 3… in commit order, and one that is visible has every
///   earlier one visible before it.
/// * A `User` or `Transcription` record is stored only while its bite exists, else [`crate::ErrorKind::NotFound`].
/// * A read never waits for a writer, never returns bytes whose SHA-256 differs
///   ([`crate::ErrorKind::Corrupt`] instead), and sees every put that returned before it began.
/// * A full disk or map is [`crate::ErrorKind::Full`]: nothing is stored, reads go on, and writes resume by
///   themselves when there is space again.
/// * After a failed sync nothing is acknowledged any more until the store is opened anew; [`BiteStore::ready`] says so.
#[async_trait]
pub trait BiteStore: Send + Sync + std::fmt::Debug {
    /// What this backend can do.
    fn capability(&self) -> Capability;

    /// Stores a record and its log entry.
    ///
    /// With [`Start::Next`] the start is the first free one at or after the given time. With an idempotency name
    /// that was used within the last 24 hours the first put's record answers, if its bytes are the same, else
    /// [`crate::ErrorKind::Conflict`].
    async fn put(&self, bite: NewBite) -> Result<Put>;

    /// The record at this key. Bytes that are no longer those that were stored are never returned, but
    /// [`crate::ErrorKind::Corrupt`]; whether they match the digest that came with them is a question for
    /// [`BiteStore::verify`].
    async fn get(&self, key: &BiteKey) -> Result<Option<Bite>>;

    /// What is known about the record at this key, without reading its bytes.
    async fn head(&self, key: &BiteKey) -> Result<Option<BiteMeta>>;

    /// Deletes a bite with everything under the other labels of its place, and logs it. None when there was none.
    async fn delete(
        &self,
        conversation: &ConversationId,
        start: Millis,
        at: Millis,
    ) -> Result<Option<LogEntry>>;

    /// The starts in the range. Costs what lies in the page, whatever lies outside it.
    async fn scan(&self, label: Label, conversation: &ConversationId, range: ScanRange) -> Result<ScanPage>;

    /// As [`BiteStore::scan`], with what is known about each record; the first `range.limit()` of the range.
    async fn metas(
        &self,
        label: Label,
        conversation: &ConversationId,
        range: ScanRange,
    ) -> Result<Vec<(Millis, BiteMeta)>>;

    /// The entries behind `after`, ascending, at most `limit`.
    async fn log(&self, after: Seq, limit: usize) -> Result<Vec<LogEntry>>;

    /// The position of the last entry; 0 when there is none.
    async fn tail(&self) -> Result<Seq>;

    /// How far the worker group of this name has come; 0 for an unknown one.
    async fn cursor(&self, group: &str) -> Result<Seq>;

    /// Notes how far a worker group has come. Never moves it back. May become durable as late as the next commit or
    /// one second from now: workers are idempotent, so a crash repeats at most that.
    async fn advance(&self, group: &str, seq: Seq) -> Result<()>;

    /// Sets a bite aside with the reason, and logs [`crate::event::Event::Failed`]. None when the bite is gone.
    async fn park(&self, key: &BiteKey, reason: &str, at: Millis) -> Result<Option<LogEntry>>;

    /// Why this bite was set aside, if it was. A stored transcript ends it.
    async fn parked_at(&self, key: &BiteKey) -> Result<Option<Parked>>;

    /// The parked bites, at most `limit`, in key order.
    async fn parked(&self, limit: usize) -> Result<Vec<Parked>>;

    /// Reads up to `limit` records from `from` (the beginning when none) and compares each with its digest.
    async fn verify(&self, from: Option<Vec<u8>>, limit: usize) -> Result<VerifyPage>;

    /// Whether it can take writes now; the error says why not.
    async fn ready(&self) -> Result<()>;
}

/// Conveniences over any [`BiteStore`].
#[async_trait]
pub trait BiteStoreExt: BiteStore {
    /// Every entry behind `after` up to the tail as it is now, page by page, until `each` breaks.
    async fn replay(
        &self,
        mut after: Seq,
        each: &mut (dyn FnMut(LogEntry) -> ControlFlow<()> + Send),
    ) -> Result<Seq> {
        loop {
            let page = self.log(after, 1_000).await?;
            if page.is_empty() {
                return Ok(after);
            }
            for entry in page {
                after = entry.seq;
                if each(entry).is_break() {
                    return Ok(after);
                }
            }
        }
    }

    /// Every start of a conversation under one label.
    async fn starts(&self, label: Label, conversation: &ConversationId) -> Result<Vec<Millis>> {
        let mut all = Vec::new();
        let mut range = Some(ScanRange::all());
        while let Some(r) = range {
            let page = self.scan(label, conversation, r).await?;
            range = page.starts.last().filter(|_| page.continues(&r)).and_then(|last| r.after(*last));
            all.extend(page.starts);
        }
        Ok(all)
    }
}

impl<T: BiteStore + ?Sized> BiteStoreExt for T {}
