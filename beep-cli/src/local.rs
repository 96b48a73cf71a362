//! An installation on this machine: its stores, and what commands ask of them first.

use crate::failure::{Failure, Result};
use crate::output::Output;
use beep_core::ErrorKind;
use beep_core::bite::{BiteKey, Label, MAX_PAGE, ScanRange};
use beep_core::clock::System;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{BiteStoreExt, Conversation, Stores, User};
use beep_pipeline::Beep;
use beep_pipeline::services::people::People;
use beep_storage::DataDir;
use std::cell::RefCell;
use std::sync::Arc;

/// Whether a data directory that is not there is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Yes.
    Make,
    /// No: a mistyped path must not leave an empty installation behind.
    Refuse,
}

/// Opens the stores, also while a server has them open.
pub async fn open(data: &DataDir, missing: Missing) -> Result<Stores> {
    if missing == Missing::Refuse && !data.path().is_dir() {
        return Err(no_directory(data));
    }
    // Where the server's variables put a store elsewhere, it is elsewhere for us as well.
    let odd = RefCell::new(None);
    let storage = data.storage_but(|name| {
        let variable = format!("BEEP_STORE_{}", name.to_uppercase());
        let url = std::env::var_os(&variable)?.into_string();
        url.map_err(|_| odd.replace(Some(variable))).ok()
    });
    // Elsewhere is not here.
    if let Some(variable) = odd.into_inner() {
        return Err(Failure::usage(format!("{variable} must be valid UTF-8")));
    }
    Ok(beep_storage::open(&storage, Arc::new(System)).await?)
}

/// What to say where there is no data directory.
pub fn no_directory(data: &DataDir) -> Failure {
    Failure::not_found(format!("there is no data directory {}", data.path().display()))
        .hint("say which with --data-dir D, or begin one with `beep-cli user create`")
}

/// The conversation, or what to do.
pub async fn conversation(stores: &Stores, id: &ConversationId) -> Result<Conversation> {
    stores.directory.conversation(id).await?.ok_or_else(|| {
        Failure::not_found(format!("there is no conversation {id}"))
            .hint("`beep-cli conversation create --title T --member U` makes one and prints its id")
    })
}

/// The user, or what to do.
pub async fn user(stores: &Stores, id: &UserId) -> Result<User> {
    stores.directory.user(id).await?.ok_or_else(|| {
        Failure::not_found(format!("there is no user {id}"))
            .hint("`beep-cli user create --phone N --first F` makes one and prints its id")
    })
}

/// For reading: a conversation that is in the directory, or of which recordings are left.
pub async fn readable(stores: &Stores, id: &ConversationId) -> Result<()> {
    match conversation(stores, id).await {
        Err(none) if none.code() == ErrorKind::NotFound.code() => {
            let left = stores.bites.scan(Label::Bite, id, ScanRange::new(0, u64::MAX, 1)?).await?;
            if left.starts.is_empty() { Err(none) } else { Ok(()) }
        }
        other => other.map(drop),
    }
}

/// Does something by the library's rules for people. The operator acts for the user whom they name as the asker.
pub async fn people<T>(
    stores: &Stores,
    work: impl AsyncFnOnce(People<'_>) -> beep_core::Result<T>,
) -> Result<T> {
    let beep = Beep::builder(stores.clone()).start().await?;
    let done = work(beep.people()).await;
    beep.shutdown().await;
    Ok(done?)
}

/// Erases a user with what they recorded, and waits until none of it can be found any more.
pub async fn erase(stores: &Stores, user: &UserId) -> Result<()> {
    let beep = Beep::builder(stores.clone()).start().await?;
    let erased = match beep.people().delete_user(user).await {
        Ok(()) => beep.settle().await,
        failed => failed,
    };
    beep.shutdown().await;
    Ok(erased?)
}

/// What somebody recorded.
pub struct Recordings {
    /// In the order of conversations and starts.
    pub keys: Vec<BiteKey>,
    /// How many recordings cannot be read, so that nobody knows whose they are.
    pub damaged: u64,
}

/// What this user recorded, also where they are no member any more.
pub async fn recordings(stores: &Stores, user: &UserId, out: &Output) -> Result<Recordings> {
    let bar = out.bar("looking for recordings", None);
    let mut found = Recordings { keys: Vec::new(), damaged: 0 };
    let mut after: Option<ConversationId> = None;
    loop {
        let page = stores.directory.conversations(after.as_ref(), MAX_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for conversation in &page {
            for start in stores.bites.starts(Label::Bite, &conversation.id).await? {
                let key = BiteKey::new(Label::Bite, conversation.id.clone(), start);
                match stores.bites.head(&key).await {
                    Ok(Some(meta)) if meta.author.user == *user => {
                        bar.inc(1);
                        found.keys.push(key);
                    }
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::Corrupt => found.damaged += 1,
                    Err(e) => return Err(e.into()),
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(found)
}
