//! [`BiteStore`] in memory: one lock around plain maps, so that what it does can be seen at a glance.

use async_trait::async_trait;
use beep_core::bite::{Bite, BiteKey, BiteMeta, Digest, Label, ScanPage, ScanRange};
use beep_core::clock::Millis;
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::id::ConversationId;
use beep_core::store::{BiteStore, Capability, CorruptRecord, NewBite, Parked, Put, Start, VerifyPage};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

const DAY: Millis = 24 * 60 * 60 * 1_000;

/// Bites, log and cursors in memory. Not durable.
#[derive(Default)]
pub struct MemoryBites {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<Vec<u8>, (BiteMeta, Bytes)>,
    log: Vec<LogEntry>,
    cursors: HashMap<String, Seq>,
    parked: BTreeMap<Vec<u8>, Parked>,
    /// What the first put under each name did: when, with which bytes, where.
    puts: HashMap<Digest, (Millis, Digest, BiteKey)>,
}

impl fmt::Debug for MemoryBites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBites").finish_non_exhaustive()
    }
}

impl MemoryBites {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, at: Millis, event: Event) -> LogEntry {
        let entry = LogEntry { seq: self.log.len() as Seq + 1, at, event };
        self.log.push(entry.clone());
        entry
    }

    fn put(&mut self, new: NewBite) -> Result<Put> {
        let named = new.idempotency.and_then(|name| self.puts.get(&name));
        if let Some((received, sha256, key)) = named
            && received.abs_diff(new.received) < DAY
        {
            if *sha256 != new.sha256 {
                return Err(Error::new(ErrorKind::Conflict, "this idempotency key was used for other bytes"));
            }
            return Ok(Put { key: key.clone(), entry: None });
        }
        let at = |start| BiteKey::new(new.label, new.conversation.clone(), start);
        let key = match new.start {
            Start::At(start) => at(start),
            Start::Next(from) => {
                let taken = self.within(new.label, &new.conversation, from, Millis::MAX);
                let run =
                    (from..=Millis::MAX).zip(&taken).take_while(|(start, (there, _))| start == there).count()
                        as u64;
                let free = from.checked_add(run).map(at);
                free.ok_or_else(|| Error::new(ErrorKind::Conflict, "every start from there on is taken"))?
            }
        };
        let author = match new.label {
            Label::Bite => new.author.clone(),
            Label::User | Label::Transcription => {
                let bite = self.records.get(&key.labelled(Label::Bite).encode());
                bite.ok_or_else(|| Error::new(ErrorKind::NotFound, "no bite starts there"))?.0.author.clone()
            }
        };
        if let Some((meta, _)) = self.records.get(&key.encode()) {
            if meta.sha256 == new.sha256 && meta.author == new.author {
                return Ok(Put { key, entry: None });
            }
            return Err(Error::new(ErrorKind::Conflict, "another record stands there already"));
        }
        if new.label == Label::Transcription {
            self.parked.remove(&key.labelled(Label::Bite).encode());
        }
        if let Some(name) = new.idempotency {
            self.puts.insert(name, (new.received, new.sha256, key.clone()));
        }
        let meta = BiteMeta {
            author: new.author,
            media_type: new.media_type,
            duration_ms: new.duration_ms,
            bytes: new.body.len() as u64,
            sha256: new.sha256,
            received: new.received,
        };
        self.records.insert(key.encode(), (meta, new.body));
        let entry = self.append(new.received, Event::Stored { key: key.clone(), author });
        Ok(Put { key, entry: Some(entry) })
    }

    fn within(
        &self,
        label: Label,
        conversation: &ConversationId,
        from: Millis,
        to: Millis,
    ) -> Vec<(Millis, &BiteMeta)> {
        let key = |start| BiteKey::new(label, conversation.clone(), start).encode();
        let rows = self.records.range(key(from)..=key(to));
        rows.filter_map(|(key, (meta, _))| Some((BiteKey::decode(key).ok()?.start, meta))).collect()
    }
}

#[async_trait]
impl BiteStore for MemoryBites {
    fn capability(&self) -> Capability {
        Capability::new(false, false)
    }

    async fn put(&self, bite: NewBite) -> Result<Put> {
        self.state().put(bite)
    }

    async fn get(&self, key: &BiteKey) -> Result<Option<Bite>> {
        let found = self.state().records.get(&key.encode()).cloned();
        Ok(found.map(|(meta, body)| Bite { key: key.clone(), meta, body }))
    }

    async fn head(&self, key: &BiteKey) -> Result<Option<BiteMeta>> {
        Ok(self.state().records.get(&key.encode()).map(|(meta, _)| meta.clone()))
    }

    async fn delete(
        &self,
        conversation: &ConversationId,
        start: Millis,
        at: Millis,
    ) -> Result<Option<LogEntry>> {
        let key = BiteKey::new(Label::Bite, conversation.clone(), start);
        let mut state = self.state();
        let Some((meta, _)) = state.records.get(&key.encode()).cloned() else { return Ok(None) };
        for label in Label::ALL {
            state.records.remove(&key.labelled(label).encode());
        }
        state.parked.remove(&key.encode());
        Ok(Some(state.append(at, Event::Deleted { key, author: meta.author })))
    }

    async fn scan(&self, label: Label, conversation: &ConversationId, range: ScanRange) -> Result<ScanPage> {
        let state = self.state();
        let all = state.within(label, conversation, 0, Millis::MAX);
        let all = || all.iter().map(|(start, _)| *start);
        let starts: Vec<_> =
            all().filter(|s| (range.from()..=range.to()).contains(s)).take(range.limit()).collect();
        let last = starts.last().copied().filter(|_| starts.len() == range.limit()).unwrap_or(range.to());
        Ok(ScanPage { previous: all().rfind(|s| *s < range.from()), next: all().find(|s| *s > last), starts })
    }

    async fn metas(
        &self,
        label: Label,
        conversation: &ConversationId,
        range: ScanRange,
    ) -> Result<Vec<(Millis, BiteMeta)>> {
        let state = self.state();
        let rows = state.within(label, conversation, range.from(), range.to());
        Ok(rows.into_iter().take(range.limit()).map(|(start, meta)| (start, meta.clone())).collect())
    }

    async fn log(&self, after: Seq, limit: usize) -> Result<Vec<LogEntry>> {
        Ok(self.state().log.iter().filter(|e| e.seq > after).take(limit).cloned().collect())
    }

    async fn tail(&self) -> Result<Seq> {
        Ok(self.state().log.len() as Seq)
    }

    async fn cursor(&self, group: &str) -> Result<Seq> {
        Ok(self.state().cursors.get(group_name(group)?).copied().unwrap_or(0))
    }

    async fn advance(&self, group: &str, seq: Seq) -> Result<()> {
        let mut state = self.state();
        let cursor = state.cursors.entry(group_name(group)?.to_owned()).or_default();
        *cursor = seq.max(*cursor);
        Ok(())
    }

    async fn park(&self, key: &BiteKey, reason: &str, at: Millis) -> Result<Option<LogEntry>> {
        let key = key.labelled(Label::Bite);
        let mut state = self.state();
        let Some((meta, _)) = state.records.get(&key.encode()).cloned() else { return Ok(None) };
        let parked = Parked { key: key.clone(), reason: reason.to_owned(), at };
        state.parked.insert(key.encode(), parked);
        let event = Event::Failed { key, author: meta.author, reason: reason.to_owned() };
        Ok(Some(state.append(at, event)))
    }

    async fn parked_at(&self, key: &BiteKey) -> Result<Option<Parked>> {
        Ok(self.state().parked.get(&key.labelled(Label::Bite).encode()).cloned())
    }

    async fn parked(&self, limit: usize) -> Result<Vec<Parked>> {
        Ok(self.state().parked.values().take(limit).cloned().collect())
    }

    async fn verify(&self, from: Option<Vec<u8>>, limit: usize) -> Result<VerifyPage> {
        let state = self.state();
        let behind = from.map_or(Bound::Unbounded, Bound::Excluded);
        let rows: Vec<_> = state.records.range((behind, Bound::Unbounded)).take(limit.max(1) + 1).collect();
        let read = &rows[..rows.len().min(limit.max(1))];
        let corrupt = read.iter().filter(|(_, (meta, body))| Digest::of(body) != meta.sha256);
        let corrupt = corrupt.map(|(key, _)| CorruptRecord {
            key: BiteKey::decode(key).map_or_else(|_| key.escape_ascii().to_string(), |key| key.to_string()),
            reason: "its bytes do not match its digest".to_owned(),
        });
        let next = read.last().filter(|_| rows.len() > read.len()).map(|(key, _)| (*key).clone());
        Ok(VerifyPage { checked: read.len() as u64, corrupt: corrupt.collect(), next })
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }
}

fn group_name(group: &str) -> Result<&str> {
    if (1..=256).contains(&group.len()) {
        return Ok(group);
    }
    Err(Error::new(ErrorKind::Malformed, "the name of a worker group must be 1 to 256 bytes long"))
}
