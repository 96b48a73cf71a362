//! One at a time: what is checked about a conversation's members still holds when it is acted upon.

use beep_core::id::ConversationId;
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::{Mutex, MutexGuard};

/// Conversations that share a turn wait for each other now and then, which costs them a few directory calls.
const TURNS: usize = 64;

/// Of the process, not of a pipeline: two of them may stand on one directory.
static ALL: [Mutex<()>; TURNS] = [const { Mutex::const_new(()) }; TURNS];

/// Whose turn it is to change who is in this conversation, until the guard is dropped.
///
/// The directory has no call that checks a role and writes in one transaction. Within this process nobody comes between
/// the two; another process still may, which is why a conversation without an owner is mended afterwards.
pub(super) async fn turn(conversation: &ConversationId) -> MutexGuard<'static, ()> {
    let mut hasher = DefaultHasher::new();
    conversation.hash(&mut hasher);
    ALL[(hasher.finish() % TURNS as u64) as usize].lock().await
}
