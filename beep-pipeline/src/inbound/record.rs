//! The one commit: a bite and its log entry together, then the bell.

use super::accept::{Accepted, accept, accept_attachment};
use crate::bus::Bell;
use crate::grants::require;
use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::clock::Millis;
use beep_core::event::Seq;
use beep_core::permission::{Action, Grant};
use beep_core::store::{BiteStore, NewBite, Start};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;

/// Up to here probing and hashing take well under a millisecond; what is larger must not hold up other requests.
const LOOK_HERE: usize = 256 << 10;

/// Something said, as it came in.
#[derive(Clone, Debug)]
pub struct Utterance {
    /// The bytes of the recording.
    pub body: Bytes,
    /// Where it is to stand.
    pub start: Start,
    /// The caller's own name for this attempt: the same name again answers the first one's record for 24 hours.
    pub idempotency_key: Option<String>,
}

impl Utterance {
    /// A recording that begins at `start`.
    pub fn new(body: impl Into<Bytes>, start: Start) -> Self {
        Self { body: body.into(), start, idempotency_key: None }
    }
}

/// What was recorded. It survives `kill -9` and power loss from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Where it stands.
    pub key: BiteKey,
    /// Its place in the log; none when the same bytes stood there already.
    pub seq: Option<Seq>,
    /// The media type found in the bytes.
    pub media_type: &'static str,
    /// How long it lasts, where that is cheap to know.
    pub duration_ms: Option<u64>,
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Digest,
}

pub(crate) async fn record(
    store: &dyn BiteStore,
    bell: &Bell,
    grant: &Grant,
    utterance: Utterance,
    max_bytes: usize,
    now: Millis,
) -> Result<Recorded> {
    require(grant, Action::Speak)?;
    let body = utterance.body;
    let accepted = if body.len() <= LOOK_HERE {
        accept(body, max_bytes)?
    } else {
        let looked = tokio::task::spawn_blocking(move || accept(body, max_bytes)).await;
        looked.map_err(|e| Error::internal("looking at a recording", e))??
    };
    let idempotency = utterance.idempotency_key.map(|name| idempotency_digest(grant, &name));
    commit(store, bell, grant, accepted, Label::Bite, utterance.start, idempotency, now).await
}

/// Attaches a record to a bite. Only its author may.
pub(crate) async fn attach(
    store: &dyn BiteStore,
    bell: &Bell,
    grant: &Grant,
    start: Millis,
    body: Bytes,
    now: Millis,
) -> Result<Recorded> {
    require(grant, Action::Speak)?;
    let accepted = accept_attachment(body)?;
    let bite = BiteKey::new(Label::Bite, grant.conversation().clone(), start);
    let meta =
        store.head(&bite).await?.ok_or_else(|| Error::new(ErrorKind::NotFound, "no bite starts there"))?;
    if meta.author.user != grant.identity().user {
        return Err(Error::new(ErrorKind::Denied, "only who said it may attach something to it"));
    }
    commit(store, bell, grant, accepted, Label::User, Start::At(start), None, now).await
}

#[allow(clippy::too_many_arguments)] // one call site each; a struct would only name them twice
async fn commit(
    store: &dyn BiteStore,
    bell: &Bell,
    grant: &Grant,
    accepted: Accepted,
    label: Label,
    start: Start,
    idempotency: Option<Digest>,
    now: Millis,
) -> Result<Recorded> {
    let Accepted { body, media_type, duration_ms, sha256 } = accepted;
    let bytes = body.len() as u64;
    let put = store
        .put(NewBite {
            label,
            conversation: grant.conversation().clone(),
            start,
            author: grant.identity().clone(),
            media_type: media_type.to_owned(),
            duration_ms,
            body,
            sha256,
            received: now,
            idempotency,
        })
        .await?;
    if let Some(entry) = &put.entry {
        bell.announce(entry).await;
    }
    Ok(Recorded { key: put.key, seq: put.entry.map(|e| e.seq), media_type, duration_ms, bytes, sha256 })
}

/// Two people who choose the same name, or one person in two conversations, must not meet.
fn idempotency_digest(grant: &Grant, name: &str) -> Digest {
    let identity = grant.identity();
    let parts = [identity.user.as_str(), identity.device.as_str(), grant.conversation().as_str(), name];
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    Digest::of(&bytes)
}
