//! The one task of a process that writes: it commits whatever waits in one call, then answers each caller.
//!
//! While a commit syncs, callers queue; the next one takes them all. A lone caller is served at once. The task ends when
//! nothing waits, and the next caller starts it again; its connection stays open in between. What happens when that
//! breaks stands in [`super::scribe`].

use super::batch::{Done, Job, Waves, Work};
use super::scribe::Scribe;
use beep_core::event::Seq;
use beep_core::{Error, ErrorKind, Result};
use sqlx::PgPool;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// What one commit takes at most. More would only make each caller wait longer.
const BATCH_REQUESTS: usize = 256;
const BATCH_BYTES: usize = 8 << 20;
/// How many items of one batch may have to follow each other: all nodes wait for that.
const BATCH_WAVES: i32 = 64;
/// What may wait. More is refused at once.
const QUEUE_REQUESTS: usize = 16 << 10;
const QUEUE_BYTES: usize = 256 << 20;
/// How late a cursor may become durable when nothing else is written.
const CURSOR_DELAY: Duration = Duration::from_millis(900);
/// How often the task lets others run, to see whether those whom it has just answered come back.
const GATHER: usize = 8;

/// The handle of the task.
#[derive(Clone)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Work, oneshot::Sender<Result<Done>>)>,
    bytes: usize,
    running: bool,
    /// What the task leaves for the next one.
    scribe: Option<Scribe>,
    /// The last commit found no room.
    full: bool,
    cursors: HashMap<String, Cursor>,
    /// When a cursor that moved has to be stored.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
struct Cursor {
    seq: Seq,
    stored: Seq,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    pub(super) fn new(pool: &PgPool) -> Self {
        let shared = Shared { pool: pool.clone(), state: Mutex::default(), wake: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Does this in the next commit and answers after it.
    pub(super) async fn run(&self, work: Work) -> Result<Done> {
        let (answer, answered) = oneshot::channel();
        {
            let (mut state, bytes) = (self.shared.state(), work.bytes());
            if state.queue.len() >= QUEUE_REQUESTS
                || state.bytes.saturating_add(bytes) > QUEUE_BYTES.max(bytes)
            {
                let sentence = "too many writes wait for the database: nothing was stored, try again";
                return Err(Error::new(ErrorKind::Unavailable, sentence));
            }
            state.bytes += bytes;
            state.queue.push_back((work, answer));
            self.start(state);
        }
        answered.await.map_err(|_| ended())?
    }

    /// Wakes the task, or begins one.
    fn start(&self, mut state: MutexGuard<'_, State>) {
        if state.running {
            drop(state);
            return self.shared.wake.notify_one();
        }
        state.running = true;
        let scribe = state.scribe.take();
        drop(state);
        tokio::spawn(write(self.shared.clone(), scribe));
    }

    pub(super) fn cursor(&self, group: &str) -> Seq {
        self.shared.state().cursors.get(group).map_or(0, |c| c.seq)
    }

    pub(super) fn advance(&self, group: &str, seq: Seq) {
        let mut state = self.shared.state();
        let cursor = state.cursors.entry(group.to_owned()).or_default();
        if seq <= cursor.seq {
            return;
        }
        cursor.seq = seq;
        if state.due.is_none() {
            state.due = Some(Instant::now() + CURSOR_DELAY);
            self.start(state);
        }
    }

    /// Whether the last commit found no room.
    pub(super) fn is_full(&self) -> bool {
        self.shared.state().full
    }

    pub(super) fn has_room(&self) {
        self.shared.state().full = false;
    }
}

fn ended() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the store was closed before it answered: whether it stored this is not known",
    )
}

/// The task. However it ends, nobody is left waiting and the next caller starts another.
async fn write(shared: Arc<Shared>, scribe: Option<Scribe>) {
    let mut ending = Ending { shared: shared.clone(), early: true };
    let mut scribe = match scribe.map_or_else(|| Scribe::new(&shared.pool), Ok) {
        Ok(scribe) => scribe,
        Err(error) => return tracing::error!(%error, "the writer of bites cannot begin"),
    };
    loop {
        let jobs = {
            let mut state = shared.state();
            let due = state.due;
            if !state.queue.is_empty() {
                Some(take(&mut state))
            } else if due.is_some_and(|due| due <= Instant::now()) {
                Some(Vec::new())
            } else if due.is_some() {
                None
            } else {
                state.scribe = Some(scribe);
                state.running = false;
                ending.early = false;
                return;
            }
        };
        match jobs {
            Some(jobs) => commit(&shared, &mut scribe, jobs).await,
            None => wait(&shared).await,
        }
    }
}

/// Until somebody comes or a cursor is due.
async fn wait(shared: &Shared) {
    let due = shared.state().due.unwrap_or_else(Instant::now);
    drop(tokio::time::timeout_at(due, shared.wake.notified()).await);
}

async fn commit(shared: &Shared, scribe: &mut Scribe, jobs: Vec<Job>) {
    let moved: Vec<(String, Seq)> = {
        let state = shared.state();
        let moved = state.cursors.iter().filter(|(_, c)| c.seq > c.stored);
        moved.map(|(group, c)| (group.clone(), c.seq)).collect()
    };
    let (count, only_cursors) = (jobs.len(), jobs.is_empty());
    let told = scribe.commit(jobs, &moved).await;
    {
        let mut state = shared.state();
        if !only_cursors || told.stored {
            state.full = told.full;
        }
        if told.stored {
            for (group, seq) in moved {
                if let Some(cursor) = state.cursors.get_mut(&group) {
                    cursor.stored = cursor.stored.max(seq);
                }
            }
        }
        // Those that moved meanwhile, or were not stored: their second begins now.
        let moved = state.cursors.values().any(|c| c.seq > c.stored);
        state.due = moved.then(|| Instant::now() + CURSOR_DELAY);
        if told.away {
            // Each of them would wait as long for the same answer.
            let queue = std::mem::take(&mut state.queue);
            state.bytes = 0;
            drop(state);
            for (_, answer) in queue {
                drop(answer.send(Err(super::scribe::away())));
            }
        }
    }
    if count > 1 {
        gather(shared, count).await;
    }
}

/// Lets those who were just answered come back, so that callers who speak in turns share a commit instead of falling
/// into two halves.
async fn gather(shared: &Shared, answered: usize) {
    for _ in 0..GATHER {
        if shared.state().queue.len() >= answered {
            break;
        }
        tokio::task::yield_now().await;
    }
}

/// A batch off the queue: in its order, up to what one commit takes.
fn take(state: &mut State) -> Vec<Job> {
    let (mut waves, mut jobs, mut bytes) = (Waves::default(), Vec::new(), 0);
    while let Some((work, _)) = state.queue.front() {
        let size = work.bytes();
        if jobs.len() >= BATCH_REQUESTS || (bytes + size > BATCH_BYTES && !jobs.is_empty()) {
            break;
        }
        let Some(wave) = waves.add(work, BATCH_WAVES) else { break };
        bytes += size;
        state.bytes = state.bytes.saturating_sub(size);
        if let Some((work, answer)) = state.queue.pop_front() {
            jobs.push(Job { work, wave, answer });
        }
    }
    jobs
}

/// What the task leaves when it ends before its time: a panic, or a runtime that shuts down.
struct Ending {
    shared: Arc<Shared>,
    early: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.early {
            return;
        }
        let mut state = self.shared.state();
        state.running = false;
        state.bytes = 0;
        drop(std::mem::take(&mut state.queue)); // each caller hears that the store was closed
    }
}
