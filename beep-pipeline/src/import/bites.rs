//! Recordings, and the records of users beside them, from a backup of the original's badger.

use super::Imported;
use super::badger::{self, Pair};
use crate::audio;
use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, Identity};
use beep_core::store::{NewBite, Put, Start, Stores};
use beep_core::{Error, ErrorKind, Result};
use futures_util::future::join_all;
use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Read, Seek};

/// Records stored at once: enough to share commits, and as many bodies in memory.
const AT_ONCE: usize = 16;

/// Takes over the recordings of a `badger backup`, of which the newest version of each key counts.
///
/// Their conversations must be there ([`super::import_people`] comes first): what was said in a conversation that was
/// deleted is skipped. `author` is whose they become. Bytes that are no audio that Beep knows are kept as
/// `application/octet-stream`. Starts stay; the time of arrival, which the original did not keep, is the start, or `now`
/// where that is earlier.
pub async fn import_bites(
    stores: &Stores,
    file: &mut (impl Read + Seek + Send),
    author: &Identity,
    now: Millis,
) -> Result<Imported> {
    let mut done = Imported::default();
    let mut newest: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut reader = BufReader::new(&mut *file);
    while let Some(pairs) = badger::next(&mut reader)? {
        for pair in pairs {
            let version = newest.entry(pair.key).or_insert(pair.version);
            *version = pair.version.max(*version);
        }
    }
    let mut import = Import { stores, author, now, newest, known: HashMap::new(), done: &mut done };
    // What belongs to a recording comes after it, however the backup is ordered.
    for label in [Label::Bite, Label::User] {
        file.rewind()
            .map_err(|e| Error::new(ErrorKind::Internal, "the backup cannot be read again").with_source(e))?;
        let mut reader = BufReader::new(&mut *file);
        while let Some(pairs) = badger::next(&mut reader)? {
            import.take(label, pairs).await?;
        }
    }
    Ok(done)
}

struct Import<'a> {
    stores: &'a Stores,
    author: &'a Identity,
    now: Millis,
    newest: HashMap<Vec<u8>, u64>,
    /// Conversations that were looked for, and whether they are there.
    known: HashMap<ConversationId, bool>,
    done: &'a mut Imported,
}

impl Import<'_> {
    async fn take(&mut self, label: Label, pairs: Vec<Pair>) -> Result<()> {
        let mut fit: Vec<(BiteKey, Pair)> = Vec::new();
        let mut seen = HashSet::new();
        for pair in pairs {
            let live = !pair.deleted && (pair.expires == 0 || pair.expires.saturating_mul(1_000) > self.now);
            if !live || self.newest.get(&pair.key) != Some(&pair.version) || !seen.insert(pair.key.clone()) {
                continue;
            }
            let Some(key) = parse(&pair.key) else {
                // Named once, not in each turn.
                if label == Label::Bite {
                    self.done
                        .skip(format!("\"{}\"", pair.key.escape_ascii()), "this is no key of a recording");
                }
                continue;
            };
            if key.label == label && self.fits(&key, &pair).await? {
                fit.push((key, pair));
            }
        }
        while !fit.is_empty() {
            let now: Vec<_> = fit.drain(..fit.len().min(AT_ONCE)).collect();
            let puts = now
                .into_iter()
                .map(async |(key, pair)| (key.clone(), pair.value.len(), self.put(key, pair).await));
            for (key, bytes, put) in join_all(puts).await {
                self.count(&key, bytes as u64, put)?;
            }
        }
        Ok(())
    }

    async fn fits(&mut self, key: &BiteKey, pair: &Pair) -> Result<bool> {
        if pair.value.is_empty() {
            self.done.skip(key.to_string(), "it is empty");
            return Ok(false);
        }
        let known = match self.known.get(&key.conversation) {
            Some(known) => *known,
            None => {
                let known = self.stores.directory.conversation(&key.conversation).await?.is_some();
                self.known.insert(key.conversation.clone(), known);
                known
            }
        };
        if !known {
            self.done.skip(
                key.to_string(),
                "there is no such conversation: it was deleted, or the dump is not imported yet",
            );
        }
        Ok(known)
    }

    async fn put(&self, key: BiteKey, pair: Pair) -> Result<Put> {
        let probed = (key.label == Label::Bite).then(|| audio::probe(&pair.value).ok()).flatten();
        let (media_type, duration_ms) = probed
            .map_or(("application/octet-stream", None), |probed| (probed.media_type, probed.duration_ms));
        let new = NewBite {
            label: key.label,
            conversation: key.conversation,
            start: Start::At(key.start),
            author: self.author.clone(),
            media_type: media_type.to_owned(),
            duration_ms,
            sha256: Digest::of(&pair.value),
            body: pair.value,
            received: key.start.min(self.now),
            idempotency: None,
        };
        self.stores.bites.put(new).await
    }

    fn count(&mut self, key: &BiteKey, bytes: u64, put: Result<Put>) -> Result<()> {
        match put {
            Ok(put) if put.entry.is_none() => self.done.already += 1,
            Ok(_) => {
                self.done.bytes += bytes;
                match key.label {
                    Label::Bite => self.done.bites += 1,
                    _ => self.done.attachments += 1,
                }
            }
            Err(e) => match e.kind() {
                ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::TooLarge | ErrorKind::Invalid => {
                    self.done.skip(key.to_string(), e.message());
                }
                _ => return Err(e),
            },
        }
        Ok(())
    }
}

/// The original's keys: label, `+`, conversation, `@`, start as 8 bytes, big-endian. Read by position: any of the last
/// eight may be an `@`, which the original got wrong.
fn parse(key: &[u8]) -> Option<BiteKey> {
    let (front, start) = key.split_last_chunk::<8>()?;
    let front = std::str::from_utf8(front.strip_suffix(b"@")?).ok()?;
    let (label, conversation) = front.split_once('+')?;
    let label = [Label::Bite, Label::User].into_iter().find(|l| l.as_str() == label)?;
    Some(BiteKey::new(label, ConversationId::parse(conversation).ok()?, Millis::from_be_bytes(*start)))
}
