//! Has every bite transcribed: several at once, the cursor behind the oldest unfinished one, failures retried and then
//! parked where an operator sees them.

use super::lease::{Leases, RENEWAL};
use super::{Follower, TRANSCRIBE};
use crate::audio::{self, AudioError};
use crate::bus::Bell;
use beep_core::bite::{Bite, BiteKey, BiteMeta, Digest, Label};
use beep_core::clock::Clock;
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::store::{BiteStore, NewBite, Put, Start};
use beep_core::transcriber::Transcriber;
use beep_core::transcript::Transcript;
use beep_core::{Error, ErrorKind, Result};
use futures_util::FutureExt;
use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often one bite is tried before it is parked.
pub const MAX_ATTEMPTS: u32 = 5;
/// The longest recording that is transcribed, in milliseconds: two hours. Longer ones are kept and parked.
pub const MAX_TRANSCRIBED_MS: u64 = 2 * 60 * 60 * 1_000;
/// How many seconds of sound all jobs together hold in memory (32 KB each): one recording of the longest kind, or many
/// of the usual ones.
const ROOM_S: usize = (MAX_TRANSCRIBED_MS / 1_000) as usize;
/// What a recording may be longer than its header says before it is decoded as if it had said nothing.
const SLACK_MS: u64 = 1_000;
/// The pause before a cursor that could not be noted is noted again.
const NOTE_AGAIN: Duration = Duration::from_secs(1);
/// How many bites that other nodes have in hand are remembered; behind more no further ones are begun.
const MAX_ELSEWHERE: usize = 10_000;
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct TranscribeWorker {
    bites: Arc<dyn BiteStore>,
    bell: Arc<Bell>,
    transcriber: Arc<dyn Transcriber>,
    clock: Arc<dyn Clock>,
    /// Where several nodes share the log, each bite is one node's.
    leases: Option<Leases>,
    /// Seconds of sound that may yet be held in memory.
    room: Arc<Semaphore>,
}

impl TranscribeWorker {
    pub(crate) fn new(
        bites: Arc<dyn BiteStore>,
        bell: Arc<Bell>,
        transcriber: Arc<dyn Transcriber>,
        clock: Arc<dyn Clock>,
        leases: Option<Leases>,
    ) -> Self {
        Self { bites, bell, transcriber, clock, leases, room: Arc::new(Semaphore::new(ROOM_S)) }
    }

    /// Runs until dropped.
    pub(crate) async fn run(self, mut follower: Follower) {
        // Twice the engine's width: one bite is decoded or stored while another is recognised.
        let width = self.transcriber.parallelism().max(1) * 2;
        let mut work = Work::default();
        let mut noted = true;
        loop {
            let entries = tokio::select! {
                entries = follower.next(), if work.elsewhere.len() < MAX_ELSEWHERE => entries,
                Some(done) = work.jobs.join_next() => {
                    work.finish(done);
                    noted = self.advance(&work).await;
                    continue;
                }
                // A node that died never finishes what it had in hand.
                () = tokio::time::sleep_until(work.look_again), if !work.elsewhere.is_empty() => {
                    work.look_again = Instant::now() + RENEWAL;
                    for (key, seq) in std::mem::take(&mut work.elsewhere) {
                        work.room(width).await;
                        work.begin(self.clone(), key, seq);
                    }
                    continue;
                }
                // Nothing may come for long that would note it by the way, and somebody may wait for the cursor.
                () = tokio::time::sleep(NOTE_AGAIN), if !noted => {
                    noted = self.advance(&work).await;
                    continue;
                }
            };
            for entry in entries {
                if entry.event.is_new_bite() && work.room(width).await {
                    self.advance(&work).await;
                }
                work.read = entry.seq;
                match entry.event {
                    Event::Stored { key, .. } if key.label == Label::Bite => {
                        work.unfinished.insert(entry.seq);
                        work.begin(self.clone(), key, entry.seq);
                    }
                    Event::Stored { key, .. } if key.label == Label::Transcription => work.ended(&key),
                    Event::Deleted { key, .. } | Event::Failed { key, .. } => work.ended(&key),
                    _ => {}
                }
            }
            noted = self.advance(&work).await;
        }
    }

    /// Notes how far everything is done; whether that worked.
    async fn advance(&self, work: &Work) -> bool {
        let position = work.unfinished.first().map_or(work.read, |first| first - 1);
        let noted = self.bites.advance(TRANSCRIBE, position).await;
        if let Err(e) = &noted {
            tracing::warn!(error = %e, "the transcription cursor could not be noted; trying again");
        }
        noted.is_ok()
    }

    /// A bite that makes an engine panic must stop neither the others nor the cursor. Whether it is done: another node
    /// may have it in hand.
    async fn work_or_park(&self, key: &BiteKey) -> bool {
        let lease = match &self.leases {
            None => None,
            Some(leases) => {
                match leases.claim(&format!("transcribe:{}:{}", key.conversation, key.start)).await {
                    None => return false,
                    held => held,
                }
            }
        };
        if AssertUnwindSafe(self.work(key)).catch_unwind().await.is_err() {
            self.park(
                key,
                &Error::new(ErrorKind::Internal, "recognising this recording failed unexpectedly"),
                None,
            )
            .await;
        }
        if let Some(lease) = lease {
            lease.release().await;
        }
        true
    }

    /// Ends when the bite has a transcript, is parked or is gone.
    async fn work(&self, key: &BiteKey) {
        let transcription = key.labelled(Label::Transcription);
        match patiently("looking for a transcript", || self.bites.head(&transcription)).await {
            Ok(Some(_)) => return,
            Ok(None) => {}
            Err(e) => return self.park(key, &e, None).await,
        }
        let bite = match patiently("reading a bite", || self.bites.get(key)).await {
            Ok(Some(bite)) => bite,
            Ok(None) => return,
            Err(e) => return self.park(key, &e, None).await,
        };
        let recognised = self.recognise(&bite).await;
        // That took a while. What stands there now may have been said since, after this bite was deleted: its own job
        // transcribes it.
        match patiently("looking for a bite", || self.bites.head(key)).await {
            Ok(Some(meta)) if meta == bite.meta => {}
            Ok(_) => return,
            Err(e) => return self.park(key, &e, Some(&bite.meta)).await,
        }
        match recognised {
            Ok(transcript) => self.keep(&bite, &transcript).await,
            Err(e) => self.park(key, &e, Some(&bite.meta)).await,
        }
    }

    /// Tries [`MAX_ATTEMPTS`] times with growing pauses, unless the error says that it will not get better.
    async fn recognise(&self, bite: &Bite) -> Result<Transcript> {
        let Some((samples, _room)) = self.samples(bite).await? else {
            // Nothing in it is nothing said.
            return Ok(Transcript { model: self.transcriber.model().to_owned(), ..Transcript::default() });
        };
        let mut pause = Duration::from_millis(200);
        for attempt in 1.. {
            let e = match self.transcriber.transcribe(samples.clone()).await {
                Ok(transcript) => return Ok(transcript),
                Err(e) => e,
            };
            if attempt >= MAX_ATTEMPTS || !e.is_temporary() {
                return Err(e);
            }
            tracing::warn!(key = %bite.key, attempt, error = %e, "transcription failed; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 4).min(MAX_PAUSE);
        }
        Err(Error::new(ErrorKind::Internal, "no attempt was made"))
    }

    /// The sound of a recording, none when there is none in it, and its part of the memory that all jobs share.
    async fn samples(&self, bite: &Bite) -> Result<Option<(Arc<[i16]>, OwnedSemaphorePermit)>> {
        let declared = bite.meta.duration_ms.map_or(MAX_TRANSCRIBED_MS, |ms| ms.saturating_add(SLACK_MS));
        let mut limit_ms = declared.min(MAX_TRANSCRIBED_MS);
        loop {
            let seconds = u32::try_from(limit_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
            let room = self.room.clone().acquire_many_owned(seconds).await;
            let room = room.map_err(|e| Error::internal("waiting for memory", e))?;
            let body = bite.body.clone();
            let decoded = tokio::task::spawn_blocking(move || audio::decode_16k(&body, limit_ms)).await;
            match decoded {
                Ok(Ok(pcm)) => return Ok(Some((pcm.samples.into(), room))),
                Ok(Err(AudioError::Invalid(_))) => return Ok(None),
                Ok(Err(AudioError::TooLong { .. })) if limit_ms < MAX_TRANSCRIBED_MS => {
                    limit_ms = MAX_TRANSCRIBED_MS;
                }
                Ok(Err(e)) => return Err(Error::new(ErrorKind::Invalid, e.to_string())),
                Err(e) => return Err(Error::internal("decoding the recording", e).permanent()),
            }
        }
    }

    /// Stores the transcript beside its bite.
    async fn keep(&self, bite: &Bite, transcript: &Transcript) {
        let body: bytes::Bytes = match serde_json::to_vec(transcript) {
            Ok(body) => body.into(),
            Err(e) => {
                return self
                    .park(&bite.key, &Error::internal("writing the transcript", e), Some(&bite.meta))
                    .await;
            }
        };
        let record = NewBite {
            label: Label::Transcription,
            conversation: bite.key.conversation.clone(),
            start: Start::At(bite.key.start),
            author: bite.meta.author.clone(),
            media_type: Transcript::MEDIA_TYPE.to_owned(),
            duration_ms: None,
            sha256: Digest::of(&body),
            body,
            received: self.clock.now(),
            idempotency: None,
        };
        match patiently("storing a transcript", || self.put_beside(bite, record.clone())).await {
            Ok(put) => {
                if let Some(entry) = &put.entry {
                    self.bell.announce(entry).await;
                }
            }
            // The bite was deleted meanwhile, or another worker was faster: there is nothing left to do.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
            Err(e) => self.park(&bite.key, &e, Some(&bite.meta)).await,
        }
    }

    /// Each try looks again: it may have been waited for long, and another bite may stand there now.
    async fn put_beside(&self, bite: &Bite, record: NewBite) -> Result<Put> {
        match self.bites.head(&bite.key).await? {
            Some(meta) if meta == bite.meta => self.bites.put(record).await,
            _ => Err(Error::new(ErrorKind::NotFound, "the bite is gone")),
        }
    }

    /// Another worker may have transcribed it meanwhile, and each try may be late: what stands there now may be another
    /// bite than the one that failed, if that one was read.
    async fn park_unless_done(
        &self,
        key: &BiteKey,
        reason: &str,
        failed: Option<&BiteMeta>,
    ) -> Result<Option<LogEntry>> {
        if let Some(failed) = failed {
            match self.bites.head(key).await {
                Ok(meta) if meta.as_ref() != Some(failed) => return Ok(None),
                Err(e) if e.kind() != ErrorKind::Corrupt => return Err(e),
                _ => {}
            }
        }
        match self.bites.head(&key.labelled(Label::Transcription)).await {
            Ok(Some(_)) => Ok(None),
            Err(e) if e.kind() != ErrorKind::Corrupt => Err(e),
            _ => self.bites.park(key, reason, self.clock.now()).await,
        }
    }

    async fn park(&self, key: &BiteKey, why: &Error, failed: Option<&BiteMeta>) {
        tracing::error!(%key, error = %why, "a bite could not be transcribed; it is parked");
        let reason = why.message();
        match patiently("parking a bite", || self.park_unless_done(key, reason, failed)).await {
            Ok(Some(entry)) => self.bell.announce(&entry).await,
            Ok(None) => {}
            Err(e) => tracing::error!(
                %key, error = %e, "a damaged bite could not even be parked and is left out; `verify` names it"
            ),
        }
    }
}

/// What is in hand.
struct Work {
    jobs: JoinSet<Done>,
    /// The entries that are neither done nor known to be done by another node.
    unfinished: BTreeSet<Seq>,
    /// Those of them that another node has in hand.
    elsewhere: HashMap<BiteKey, Seq>,
    look_again: Instant,
    /// Everything up to here was read.
    read: Seq,
}

/// A job that ended: its entry, and the bite where another node has it in hand.
struct Done {
    seq: Seq,
    elsewhere: Option<BiteKey>,
}

impl Default for Work {
    fn default() -> Self {
        let look_again = Instant::now() + RENEWAL;
        Self {
            jobs: JoinSet::new(),
            unfinished: BTreeSet::new(),
            elsewhere: HashMap::new(),
            look_again,
            read: 0,
        }
    }
}

impl Work {
    fn begin(&mut self, worker: TranscribeWorker, key: BiteKey, seq: Seq) {
        self.jobs.spawn(async move {
            let done = worker.work_or_park(&key).await;
            Done { seq, elsewhere: (!done).then_some(key) }
        });
    }

    /// Waits until fewer than `width` jobs run; whether any ended meanwhile.
    async fn room(&mut self, width: usize) -> bool {
        let full = self.jobs.len() >= width;
        while self.jobs.len() >= width {
            if let Some(done) = self.jobs.join_next().await {
                self.finish(done);
            }
        }
        full
    }

    fn finish(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done { seq, elsewhere: None }) => drop(self.unfinished.remove(&seq)),
            Ok(Done { seq, elsewhere: Some(key) }) => {
                // Two bites stood at one place: the earlier one was deleted before the later one came.
                let other = self.elsewhere.get(&key).copied().unwrap_or(seq);
                if other != seq {
                    self.unfinished.remove(&seq.min(other));
                }
                self.elsewhere.insert(key, seq.max(other));
            }
            // The cursor stays before it, so it is done again after the next start.
            Err(e) => {
                tracing::error!(error = %e, "a transcription job ended abnormally; its bite will be tried again")
            }
        }
    }

    /// The log tells that the bite of this place is transcribed, parked or gone, whichever node did that.
    fn ended(&mut self, key: &BiteKey) {
        if let Some(seq) = self.elsewhere.remove(&key.labelled(Label::Bite)) {
            self.unfinished.remove(&seq);
        }
    }
}

/// Calls the store until it answers. One that is away or full is not the bite's fault, so it is waited out, however long
/// that takes; only an answer about this very record ends it.
async fn patiently<T, F: Future<Output = Result<T>>>(doing: &str, call: impl Fn() -> F) -> Result<T> {
    let mut pause = Duration::from_millis(100);
    loop {
        match call().await {
            Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Internal) => {
                tracing::warn!(error = %e, "{doing} failed; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
            answer => return answer,
        }
    }
}
