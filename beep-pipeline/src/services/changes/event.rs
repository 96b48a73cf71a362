//! A change as its readers get it: `{"type":"add|update|delete","data":"<object as JSON text>"}`.

use crate::outbound::Notice;
use beep_core::store::{Conversation, Membership};
use beep_core::{Error, Result};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'a str,
    data: &'a str,
}

/// What is left to say of what is gone.
#[derive(Serialize)]
struct Gone<'a> {
    id: &'a str,
}

/// A conversation as one of its members sees it, in the shape that clients know.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    id: &'a str,
    title: &'a str,
    picture: &'a str,
    pinned: bool,
}

impl<'a> Shown<'a> {
    pub(super) fn of(membership: &'a Membership) -> Self {
        Self::new(&membership.conversation, membership.pinned)
    }

    pub(super) fn new(conversation: &'a Conversation, pinned: bool) -> Self {
        let Conversation { id, title, picture } = conversation;
        Self { id: id.as_str(), title, picture, pinned }
    }
}

/// One object in all the ways in which it may be told: written once, however many read it.
#[derive(Debug)]
pub(super) struct Object {
    /// None when it is gone.
    pub(super) add: Option<Arc<Notice>>,
    /// None when it is gone.
    pub(super) update: Option<Arc<Notice>>,
    pub(super) delete: Arc<Notice>,
}

impl Object {
    pub(super) fn new(seq: u64, id: &str, object: Option<&impl Serialize>) -> Result<Self> {
        let (mut add, mut update) = (None, None);
        if let Some(object) = object {
            let data = text(object)?;
            add = Some(notice(seq, "add", &data)?);
            update = Some(notice(seq, "update", &data)?);
        }
        Ok(Self { add, update, delete: notice(seq, "delete", &text(&Gone { id })?)? })
    }

    pub(super) fn gone(seq: u64, id: &str) -> Result<Self> {
        Self::new(seq, id, None::<&()>)
    }

    pub(super) fn is_there(&self) -> bool {
        self.add.is_some()
    }
}

fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal("writing a change", e))
}

/// Without an id: nobody comes back with one, and how much changed in between is not everybody's to count.
fn notice(seq: u64, r#type: &str, data: &str) -> Result<Arc<Notice>> {
    let json = text(&Message { r#type, data })?;
    let frame = Bytes::from(format!("data: {json}\n\n"));
    Ok(Arc::new(Notice { seq, json, frame }))
}
