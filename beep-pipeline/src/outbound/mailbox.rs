//! The bounded queue of one connection: a reader that does not read is cut off, and nobody waits for it.

use super::Notice;
use beep_core::event::Seq;
use beep_core::id::ConversationId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The most bytes that wait for one reader.
pub const MAX_QUEUED_BYTES: usize = 256 * 1024;
/// How long something may wait for a reader before it is cut off.
pub const STALL: Duration = Duration::from_secs(5);

/// What comes out of a mailbox.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Something happened.
    Notice(Arc<Notice>),
    /// What came before is no longer kept, or too much: start over from what the store has now.
    Reset(Seq),
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Delivery>,
    bytes: usize,
    oldest: Option<Instant>,
    closed: bool,
}

/// What is yet to be read by one connection of a user.
#[derive(Debug)]
pub(crate) struct Mailbox {
    only: Option<ConversationId>,
    state: Mutex<State>,
    filled: Notify,
}

impl Mailbox {
    pub(crate) fn new(only: Option<ConversationId>) -> Self {
        Self { only, state: Mutex::default(), filled: Notify::new() }
    }

    pub(crate) fn wants(&self, conversation: &ConversationId) -> bool {
        self.only.as_ref().is_none_or(|only| only == conversation)
    }

    /// Puts a notice in; false when the reader is cut off now or was before.
    pub(crate) fn push(&self, notice: &Arc<Notice>) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.bytes += notice.weight();
        if state.bytes > MAX_QUEUED_BYTES || state.oldest.is_some_and(|t| t.elapsed() > STALL) {
            self.shut(&mut state);
            return false;
        }
        state.oldest.get_or_insert_with(Instant::now);
        state.queue.push_back(Delivery::Notice(notice.clone()));
        drop(state);
        self.filled.notify_one();
        true
    }

    /// Cuts the reader off if something has waited for longer than [`STALL`]; false when cut off.
    pub(crate) fn sweep(&self) -> bool {
        let mut state = self.lock();
        if !state.closed && state.oldest.is_some_and(|t| t.elapsed() > STALL) {
            self.shut(&mut state);
        }
        !state.closed
    }

    /// Ends the stream.
    pub(crate) fn close(&self) {
        self.shut(&mut self.lock());
    }

    fn shut(&self, state: &mut State) {
        // What is dropped here is still in the log: the reader comes back with the last id that it saw.
        *state = State { closed: true, ..State::default() };
        self.filled.notify_one();
    }

    /// Everything that waits; none when the reader was cut off. Waits until there is something.
    pub(crate) async fn drain(&self) -> Option<VecDeque<Delivery>> {
        loop {
            {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                if !state.queue.is_empty() {
                    state.bytes = 0;
                    state.oldest = None;
                    return Some(std::mem::take(&mut state.queue));
                }
            }
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
