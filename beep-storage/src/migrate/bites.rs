//! Records: follows the source's log and does at the target what each entry says, as far as it is still true.

use super::{Migration, Progress};
use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::id::Identity;
use beep_core::store::{BiteStore, NewBite, Start};
use beep_core::{ErrorKind, Result};
use futures_util::future::try_join_all;
use std::collections::HashSet;

/// Entries per step.
const PAGE: usize = 256;
/// Records under way at once: enough to share commits, and as many bodies in memory.
const AT_ONCE: usize = 16;

/// What became of a record.
enum Copied {
    Stored(u64),
    /// The same stood there already.
    There,
    /// It is not at the source any more: a later entry says so.
    Gone,
    Refused(ErrorKind, String),
}

impl Migration {
    pub(super) async fn follow_log(&mut self) -> Result<()> {
        let mut position = self.target.bites.cursor(&self.groups.bites).await?;
        loop {
            let entries = self.source.bites.log(position, PAGE).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            position = last.seq;
            let mut rest = entries.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(together(rest));
                self.apply(now).await?;
                rest = later;
            }
            self.note(position).await?;
            (self.watch)(Progress::Log(position, self.source.bites.tail().await?));
        }
    }

    /// The cursor stays before the first record that could not be moved, so that the next run names it again.
    async fn note(&self, position: Seq) -> Result<()> {
        let stuck = self.problems.values().filter_map(|p| p.seq).min();
        let done = stuck.map_or(position, |stuck| position.min(stuck - 1));
        self.target.bites.advance(&self.groups.bites, done).await
    }

    /// Entries of which the order among them does not matter.
    async fn apply(&mut self, entries: &[LogEntry]) -> Result<()> {
        if let [LogEntry { at, event: Event::Deleted { key, author }, seq }] = entries {
            return self.delete(key, author, *at, *seq).await;
        }
        if let [LogEntry { event: Event::Failed { key, .. }, .. }] = entries {
            return self.park(key).await;
        }
        let (source, target) = (&*self.source.bites, &*self.target.bites);
        let stored = entries.iter().filter(|e| matches!(e.event, Event::Stored { .. }));
        let copies = stored.map(async |entry| Ok((entry, copy(source, target, entry.event.key()).await?)));
        for (entry, copied) in try_join_all(copies).await? {
            let key = entry.event.key().to_string();
            match copied {
                Copied::Stored(bytes) => {
                    self.moved.records += 1;
                    self.moved.bytes += bytes;
                    self.problems.remove(&key);
                }
                Copied::There => drop(self.problems.remove(&key)),
                Copied::Gone => {}
                Copied::Refused(kind, reason) => self.problem(key, kind, reason, Some(entry.seq)),
            }
        }
        Ok(())
    }

    /// Deletes what was deleted at the source, unless the same was said there again since.
    async fn delete(&mut self, key: &BiteKey, author: &Identity, at: u64, seq: Seq) -> Result<()> {
        for label in Label::ALL {
            self.problems.remove(&key.labelled(label).to_string());
        }
        let there = match self.target.bites.head(key).await? {
            None => return Ok(()),
            Some(there) => there,
        };
        match self.source.bites.head(key).await {
            Ok(Some(here)) if here == there => return Ok(()),
            Ok(_) => {}
            // What stands there now is damaged, so it is not what was moved before.
            Err(e) if e.kind() == ErrorKind::Corrupt => {}
            Err(e) => return Err(e),
        }
        if there.author != *author {
            let reason = "the source deleted a bite here, but the target holds one of another author";
            self.problem(key.to_string(), ErrorKind::Conflict, reason, Some(seq));
            return Ok(());
        }
        if self.target.bites.delete(&key.conversation, key.start, at).await?.is_some() {
            self.moved.deleted += 1;
        }
        Ok(())
    }

    /// Sets a bite aside that is set aside at the source now.
    async fn park(&mut self, key: &BiteKey) -> Result<()> {
        let Some(parked) = self.source.bites.parked_at(key).await? else { return Ok(()) };
        if self.target.bites.parked_at(key).await?.as_ref() == Some(&parked) {
            return Ok(());
        }
        if self.target.bites.park(&parked.key, &parked.reason, parked.at).await?.is_some() {
            self.moved.parked += 1;
        }
        Ok(())
    }

    /// Moves the transcription cursor up to the oldest bite that still waits to be transcribed.
    pub(super) async fn settle_transcription(&self) -> Result<()> {
        let bites = &*self.target.bites;
        let before = bites.cursor(self.workers.transcribe).await?;
        let mut done = before;
        'pages: loop {
            let entries = bites.log(done, PAGE).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                if entry.event.is_new_bite() && waits(bites, entry.event.key()).await? {
                    break 'pages;
                }
                done = entry.seq;
            }
        }
        if done > before { bites.advance(self.workers.transcribe, done).await } else { Ok(()) }
    }
}

/// Whether a bite is there that has neither a transcript nor was set aside.
async fn waits(bites: &dyn BiteStore, key: &BiteKey) -> Result<bool> {
    let there = async |label| match bites.head(&key.labelled(label)).await {
        Err(e) if e.kind() == ErrorKind::Corrupt => Ok(true),
        head => head.map(|meta| meta.is_some()),
    };
    Ok(there(Label::Bite).await?
        && !there(Label::Transcription).await?
        && bites.parked_at(key).await?.is_none())
}

/// How many of the entries may be done at once: new records, each at a place of its own.
fn together(entries: &[LogEntry]) -> usize {
    let mut places = HashSet::new();
    let fit = entries.iter().take(AT_ONCE).take_while(|entry| {
        let key = entry.event.key();
        matches!(entry.event, Event::Stored { .. }) && places.insert((&key.conversation, key.start))
    });
    fit.count().max(1)
}

/// Puts one record into the target as it is at the source.
async fn copy(source: &dyn BiteStore, target: &dyn BiteStore, key: &BiteKey) -> Result<Copied> {
    let damaged = |why: &str| Copied::Refused(ErrorKind::Corrupt, format!("damaged at the source: {why}"));
    let bite = match source.get(key).await {
        Ok(Some(bite)) => bite,
        Ok(None) => return Ok(Copied::Gone),
        Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(damaged(e.message())),
        Err(e) => return Err(e),
    };
    if Digest::of(&bite.body) != bite.meta.sha256 {
        return Ok(damaged("its bytes do not match its SHA-256"));
    }
    if key.label != Label::Bite {
        // What belongs to one bite must not be put beside another that stands in its place.
        let place = key.labelled(Label::Bite);
        match (source.head(&place).await, target.head(&place).await) {
            (Ok(here), Ok(there)) if here.is_some() && here == there => {}
            (Err(e), _) | (_, Err(e)) if e.kind() != ErrorKind::Corrupt => return Err(e),
            _ => {
                let reason = "the bite that it belongs to is not at the target".to_owned();
                return Ok(Copied::Refused(ErrorKind::Conflict, reason));
            }
        }
    }
    let meta = bite.meta.clone();
    let put = target
        .put(NewBite {
            label: key.label,
            conversation: key.conversation.clone(),
            start: Start::At(key.start),
            author: bite.meta.author,
            media_type: bite.meta.media_type,
            duration_ms: bite.meta.duration_ms,
            body: bite.body,
            sha256: bite.meta.sha256,
            received: bite.meta.received,
            idempotency: None,
        })
        .await;
    match put {
        Ok(put) if put.entry.is_some() => Ok(Copied::Stored(meta.bytes)),
        Ok(_) => match target.head(key).await {
            Ok(Some(there)) if there == meta => Ok(Copied::There),
            Ok(None) => Ok(Copied::Gone),
            Ok(Some(_)) => {
                let reason =
                    "the target holds the same bytes here, but received at another time or of another type";
                Ok(Copied::Refused(ErrorKind::Conflict, reason.to_owned()))
            }
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                Ok(Copied::Refused(ErrorKind::Corrupt, format!("damaged at the target: {}", e.message())))
            }
            Err(e) => Err(e),
        },
        Err(e) if e.kind() == ErrorKind::Conflict => {
            Ok(Copied::Refused(ErrorKind::Conflict, "the target holds another record here".to_owned()))
        }
        // Deleted since it was looked at: a later entry says so.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Copied::Gone),
        Err(e) => Err(e),
    }
}
