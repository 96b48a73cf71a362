//! The one thread of a process that writes: it commits whatever waits in one transaction, then answers each caller.
//!
//! While a commit syncs, callers queue; the next commit takes them all. After a commit that several shared, the writer
//! waits a moment for those whom it has just answered: who speaks in turns comes back at once, and without that moment
//! every caller's company would be split into two halves that sync in turns. It is a fraction of what a commit takes,
//! and a lone caller never waits. LMDB's write lock keeps the writers of several processes apart.

use super::ahead::Ahead;
use super::codec;
use super::env::Dbs;
use super::fault::{Abort, Fault, is_disk_full, is_full};
use super::write::{Memory, Write};
use beep_core::event::Seq;
use beep_core::{Error, ErrorKind, Result};
use heed::WithTls;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What one commit takes at most. More would only make each caller wait longer.
const BATCH_REQUESTS: usize = 512;
const BATCH_BYTES: usize = 16 << 20;
/// The longest that a batch is waited for, and which part of the last commit's time that is at most.
const GATHER: Duration = Duration::from_micros(500);
const GATHER_PART: u32 = 4;
/// Where more than so many share a commit, a longer file costs each of them less than writing zeros ahead would.
const FEW: usize = 4;
/// How late a cursor may become durable when nothing else is written.
const CURSOR_DELAY: Duration = Duration::from_secs(1);
/// How often readers of processes that died are cleared: until then the pages that they read are not used again.
const CLEAR_READERS: Duration = Duration::from_secs(10);
/// Room that puts leave free near the end of the map, because a delete needs pages before it frees any.
const RESERVE: usize = 256 << 10;

/// How much may wait.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) requests: usize,
    pub(super) bytes: usize,
}

/// The handle of the thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    limits: Limits,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Box<dyn Job>>,
    bytes: usize,
    /// How many waiting jobs wake the writer; 0 while it is awake.
    wake_at: usize,
    closing: bool,
    /// Set once: nothing is taken any more.
    poisoned: Option<Fault>,
    /// The last commit found no room.
    full: bool,
    cursors: HashMap<String, Cursor>,
    /// When a cursor that moved has to be on disk.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
struct Cursor {
    seq: Seq,
    stored: Seq,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    pub(super) fn start(env: heed::Env<WithTls>, dbs: Dbs, limits: Limits) -> Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), limits });
        let page = env.unnamed_database_stat().page_size as usize;
        let file = env.try_clone_inner_file().map_err(|e| Error::internal("opening the data file", e))?;
        let ahead = Ahead::new(file, env.info().map_size as u64);
        let (memory, cleared) = (Memory::default(), Instant::now());
        let scribe = Scribe { env, dbs, page, shared: shared.clone(), memory, cleared, ahead };
        let thread = std::thread::Builder::new()
            .name("beep-writer".into())
            .spawn(move || scribe.run())
            .map_err(|e| Error::internal("starting the writer thread", e))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Does `work` in the next write transaction and answers after its commit.
    ///
    /// * `bytes` is about how much it adds; 0 for work that frees room, which may then use the reserve.
    /// * `work` may be called again when a transaction was lost, and must not write before it returns its own error.
    pub(super) async fn run<T, F>(&self, bytes: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Abort> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.push(Box::new(Task { work, bytes, outcome: None, answer }))?;
        answered.await.map_err(|_| closed())?
    }

    fn push(&self, job: Box<dyn Job>) -> Result<()> {
        let mut state = self.shared.state();
        if let Some(fault) = &state.poisoned {
            return Err(fault.error());
        }
        let Limits { requests, bytes } = self.shared.limits;
        if state.queue.len() >= requests || state.bytes.saturating_add(job.bytes()) > bytes.max(job.bytes()) {
            return Err(overloaded());
        }
        state.bytes += job.bytes();
        state.queue.push_back(job);
        let wake = state.wake_at > 0 && state.queue.len() >= state.wake_at;
        if wake {
            state.wake_at = 0;
        }
        drop(state);
        if wake {
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    pub(super) fn cursor(&self, group: &str) -> Seq {
        self.shared.state().cursors.get(group).map_or(0, |c| c.seq)
    }

    pub(super) fn advance(&self, group: &str, seq: Seq) -> Result<()> {
        let mut state = self.shared.state();
        if let Some(fault) = &state.poisoned {
            return Err(fault.error());
        }
        let cursor = state.cursors.entry(group.to_owned()).or_default();
        if seq <= cursor.seq {
            return Ok(());
        }
        cursor.seq = seq;
        if state.due.is_none() {
            state.due = Some(Instant::now() + CURSOR_DELAY);
            if std::mem::take(&mut state.wake_at) > 0 {
                self.shared.wake.notify_one();
            }
        }
        Ok(())
    }

    /// Whether writes are taken now. After one that found no room, tries another.
    pub(super) async fn ready(&self) -> Result<()> {
        let full = {
            let state = self.shared.state();
            if let Some(fault) = &state.poisoned {
                return Err(fault.error());
            }
            if state.queue.len() >= self.shared.limits.requests {
                return Err(overloaded());
            }
            state.full
        };
        if full {
            self.run(1, |write| Ok(write.put(write.dbs.notes, b"probe", &[0; 16])?)).await?;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread panicked");
        }
    }
}

fn overloaded() -> Error {
    Error::new(ErrorKind::Unavailable, "too many writes wait for the disk: nothing was stored, try again")
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the store was closed before it answered: reopen it").permanent()
}

/// A request in the queue.
trait Job: Send {
    fn bytes(&self) -> usize;
    /// Does the work and keeps its outcome; fails only where the transaction is lost.
    fn work(&mut self, write: &mut Write<'_>) -> Result<(), heed::Error>;
    /// Tells the caller, once the transaction ended.
    fn answer(self: Box<Self>, committed: Result<(), &Fault>);
}

struct Task<T, F> {
    work: F,
    bytes: usize,
    outcome: Option<Result<T>>,
    answer: oneshot::Sender<Result<T>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnMut(&mut Write<'_>) -> Result<T, Abort> + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn work(&mut self, write: &mut Write<'_>) -> Result<(), heed::Error> {
        self.outcome = Some(match (self.work)(write) {
            Ok(done) => Ok(done),
            Err(Abort::Own(error)) => Err(error),
            Err(Abort::Engine(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), &Fault>) {
        let answer = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(closed()),
            (Err(fault), _) => Err(fault.error()),
        };
        // The caller may have gone; the record is stored all the same.
        drop(self.answer.send(answer));
    }
}

/// The thread.
struct Scribe {
    env: heed::Env<WithTls>,
    dbs: Dbs,
    /// Bytes of a page.
    page: usize,
    shared: Arc<Shared>,
    memory: Memory,
    cleared: Instant,
    ahead: Ahead,
}

impl Scribe {
    fn run(mut self) {
        let shared = self.shared.clone();
        let _last_words = LastWords(&shared);
        while let Some(jobs) = self.next() {
            let (answered, begun) = (jobs.len(), Instant::now());
            self.commit(jobs);
            let took = begun.elapsed();
            if answered <= FEW {
                self.look_ahead();
            }
            if answered > 1 {
                self.gather(answered, took);
            }
        }
    }

    /// Makes room behind the used part of the file, while nobody waits for an answer.
    fn look_ahead(&mut self) {
        if !self.ahead.is_short(self.used()) {
            return;
        }
        // Under the write lock: other processes grow the file too, and must not do it where zeros are being written.
        let Ok(_lock) = self.env.write_txn() else { return };
        if let Err(error) = self.ahead.extend(self.used()) {
            tracing::debug!(%error, "no room could be added to the data file ahead of its use");
        }
    }

    /// How many bytes of the file the last commit reached.
    fn used(&self) -> u64 {
        (self.env.info().last_page_number as u64 + 1).saturating_mul(self.page as u64)
    }

    /// Waits until those who were just answered are back beside those who wait already, or a fraction of the time that
    /// the last commit took is over.
    fn gather(&self, answered: usize, took: Duration) {
        let until = Instant::now() + GATHER.min(took / GATHER_PART);
        let mut state = self.shared.state();
        let company = (state.queue.len() + answered).min(BATCH_REQUESTS);
        while state.queue.len() < company && state.bytes < BATCH_BYTES && !state.closing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.wake_at = company;
            state = self.shared.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.wake_at = 0;
    }

    /// What waits, up to a batch; an empty one when only cursors are due; none at the end.
    fn next(&mut self) -> Option<Vec<Box<dyn Job>>> {
        let mut state = self.shared.state();
        loop {
            if !state.queue.is_empty() {
                return Some(take(&mut state));
            }
            let now = Instant::now();
            let moved = state.due.is_some();
            if state.closing {
                return moved.then(Vec::new);
            }
            state.wake_at = 1;
            state = match state.due {
                Some(due) if due <= now => {
                    state.wake_at = 0;
                    return Some(Vec::new());
                }
                Some(due) => {
                    let waited = self.shared.wake.wait_timeout(state, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.wake_at = 0;
        }
    }

    /// Commits these together. When one of them has no room or meets a damaged page, the others are done without it.
    fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let fault = match self.attempt(&mut jobs) {
            Ok(()) => return jobs.into_iter().for_each(|job| job.answer(Ok(()))),
            Err(fault) => fault,
        };
        if jobs.is_empty() {
            // Only cursors: they wait for a better time, or are repeated by their workers after the next start.
            let mut state = self.shared.state();
            state.due = (!state.closing).then(|| Instant::now() + CURSOR_DELAY);
        } else if jobs.len() > 1 && fault.kind() != ErrorKind::Unavailable {
            let others = jobs.split_off(jobs.len() / 2);
            self.commit(jobs);
            self.commit(others);
        } else {
            jobs.into_iter().for_each(|job| job.answer(Err(&fault)));
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Fault> {
        if let Some(fault) = &self.shared.state().poisoned {
            return Err(fault.clone());
        }
        if self.cleared.elapsed() >= CLEAR_READERS {
            self.cleared = Instant::now();
            if let Err(error) = self.env.clear_stale_readers() {
                tracing::warn!(%error, "readers of processes that died could not be cleared");
            }
        }
        let bytes: usize = jobs.iter().map(|job| job.bytes()).sum();
        let txn = match self.env.write_txn() {
            Ok(txn) => txn,
            Err(error) => return Err(self.poison(error)),
        };
        let id = txn.id();
        // Taken out: where this transaction is lost, what it taught is forgotten with it.
        let mut memory = std::mem::take(&mut self.memory);
        if memory.next != Some(id) {
            memory = Memory::default(); // another process wrote, or our last transaction was empty or lost
        }
        let near = self.near_the_end(bytes);
        let mut write = Write { txn, dbs: self.dbs, memory, wrote: false };
        for job in jobs.iter_mut() {
            job.work(&mut write).map_err(|e| note_full(&self.shared, e))?;
        }
        let moved = if write.wrote || jobs.is_empty() { moved_cursors(&self.shared) } else { Vec::new() };
        for (group, seq) in &moved {
            keep_cursor(&mut write, group, *seq)?;
        }
        if bytes > 0 && near && write.wrote {
            leave_reserve(&mut write).map_err(|e| note_full(&self.shared, e))?;
        }
        let Write { txn, wrote, memory, .. } = write;
        if let Err(error) = txn.commit() {
            return Err(if self.has_no_room(&error) {
                self.shared.state().full = true;
                Fault::full()
            } else {
                self.poison(error)
            });
        }
        self.memory = Memory { next: wrote.then_some(id + 1), ..memory };
        let mut state = self.shared.state();
        state.full &= !wrote;
        for (group, seq) in moved {
            if let Some(cursor) = state.cursors.get_mut(&group) {
                cursor.stored = cursor.stored.max(seq);
            }
        }
        if state.cursors.values().all(|c| c.stored >= c.seq) {
            state.due = None;
        } else if wrote || jobs.is_empty() {
            // They moved on while this was syncing: their second begins now.
            state.due = Some(Instant::now() + CURSOR_DELAY);
        }
        Ok(())
    }

    /// Whether these bytes could use up the map. Free pages inside the file are not counted, so this errs to yes.
    fn near_the_end(&self, bytes: usize) -> bool {
        let coming = bytes.saturating_mul(3).saturating_add(16 * RESERVE) as u64;
        self.used().saturating_add(coming) > self.env.info().map_size as u64
    }

    /// LMDB tells a write that a full disk cut short as an I/O error: a write of our own tells the two apart.
    fn has_no_room(&self, error: &heed::Error) -> bool {
        if is_full(error) {
            return true;
        }
        let heed::Error::Io(_) = error else { return false };
        let path = self.env.path().join(format!("probe-{}", std::process::id()));
        let tried = std::fs::write(&path, [0u8; 64 << 10]);
        drop(std::fs::remove_file(&path));
        tried.is_err_and(|e| is_disk_full(&e))
    }

    /// Ends all writing: after a failed sync nobody knows what is on disk, and asking again would be told "fine".
    fn poison(&self, error: heed::Error) -> Fault {
        tracing::error!(%error, "the store takes no more writes until it is reopened");
        let fault = match error {
            heed::Error::Mdb(heed::MdbError::MapResized) => Fault::from(error),
            error => Fault::poisoned(&error),
        };
        self.shared.state().poisoned.get_or_insert(fault).clone()
    }
}

fn take(state: &mut State) -> Vec<Box<dyn Job>> {
    let mut jobs = Vec::with_capacity(state.queue.len().min(BATCH_REQUESTS));
    let mut bytes = 0;
    while let Some(job) = state.queue.front()
        && (jobs.is_empty() || (jobs.len() < BATCH_REQUESTS && bytes + job.bytes() <= BATCH_BYTES))
    {
        bytes += job.bytes();
        jobs.extend(state.queue.pop_front());
    }
    state.bytes -= bytes;
    jobs
}

fn note_full(shared: &Shared, error: heed::Error) -> Fault {
    let fault = Fault::from(error);
    if fault.kind() == ErrorKind::Full {
        shared.state().full = true;
    }
    fault
}

fn moved_cursors(shared: &Shared) -> Vec<(String, Seq)> {
    let state = shared.state();
    let moved = state.cursors.iter().filter(|(_, c)| c.seq > c.stored);
    moved.map(|(group, c)| (group.clone(), c.seq)).collect()
}

fn keep_cursor(write: &mut Write<'_>, group: &str, seq: Seq) -> Result<(), Fault> {
    let key = group.as_bytes();
    let stored = write.dbs.cursors.get(&write.txn, key)?;
    // A damaged cursor is replaced: the group's own position is what it should have said.
    let stored: Seq = stored.map_or(0, |v| codec::unseal(key, v).unwrap_or(0));
    if seq > stored {
        let value = codec::seal(key, &seq).map_err(|e| Fault::new(e.kind(), e.message()))?;
        write.put(write.dbs.cursors, key, &value)?;
    }
    Ok(())
}

/// Proves that the reserve is still there by taking it and giving it back.
fn leave_reserve(write: &mut Write<'_>) -> heed::Result<()> {
    let notes = write.dbs.notes;
    notes.put_reserved(&mut write.txn, b"reserve", RESERVE, |space| {
        space.fill_zeroes();
        Ok(())
    })?;
    notes.delete(&mut write.txn, b"reserve").map(drop)
}

/// However the thread ends, nobody is left waiting.
struct LastWords<'a>(&'a Shared);

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.poisoned.get_or_insert_with(|| {
            Fault::new(ErrorKind::Unavailable, "the store's writer ended: reopen the store")
        });
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        drop(queue); // each caller hears that the store was closed
    }
}
