//! An installation on this machine: its stores, and what commands ask of them first.

use crate::failure::{Failure, Result};
use beep_core::ErrorKind;
use beep_core::bite::{Label, ScanRange};
use beep_core::clock::System;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{Conversation, Stores, User};
use beep_storage::DataDir;
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
        let message = format!("there is no data directory {}", data.path().display());
        return Err(Failure::not_found(message)
            .hint("say which with --data-dir D, or begin one with `beep-cli user create`"));
    }
    // Where the server's variables put a store elsewhere, it is elsewhere for us as well.
    let storage = data.storage_but(|name| std::env::var(format!("BEEP_STORE_{}", name.to_uppercase())).ok());
    Ok(beep_storage::open(&storage, Arc::new(System)).await?)
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
