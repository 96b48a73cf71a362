//! What stands on one side, as a comparison reads it.

use super::verify::Verification;
use beep_core::bite::{BiteKey, BiteMeta, Digest, Label, MAX_PAGE, ScanRange};
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{BiteStore, Stores};
use beep_core::{ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Titles and pictures.
pub(super) async fn conversations(stores: &Stores) -> Result<BTreeMap<ConversationId, String>> {
    let mut all = BTreeMap::new();
    let mut after = None;
    loop {
        let page = stores.directory.conversations(after.as_ref(), MAX_PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.id.clone());
        all.extend(page.into_iter().map(|c| (c.id, format!("{}\0{}", c.title, c.picture))));
    }
}

pub(super) async fn users(stores: &Stores) -> Result<BTreeSet<UserId>> {
    let mut all = BTreeSet::new();
    let mut after = None;
    loop {
        let page = stores.directory.users(after.as_ref(), MAX_PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.id.clone());
        all.extend(page.into_iter().map(|user| user.id));
    }
}

/// What the directory holds about a user, line by line.
pub(super) async fn about(stores: &Stores, id: &UserId) -> Result<BTreeMap<String, String>> {
    let mut rows = BTreeMap::new();
    let directory = &stores.directory;
    if let Some(u) = directory.user(id).await? {
        let looks = [&u.bio, &u.profile_pic, &u.first_name, &u.last_name, &u.phone_number];
        rows.insert(format!("user {id}"), format!("{:?} {looks:?}", u.username));
    }
    for seat in directory.memberships(id).await? {
        let held = format!("{} {} {}", seat.role.as_str(), seat.pinned, seat.last_heard);
        rows.insert(format!("member {id} of {}", seat.conversation.id), held);
    }
    for contact in directory.contacts(id).await? {
        rows.insert(format!("contact {} of {id}", contact.id), String::new());
    }
    for s in directory.sessions(id).await? {
        let held = format!("{} {} {} {} {}", s.id, s.refresh, s.created, s.refreshed, s.expires);
        rows.insert(format!("session of {id} on {}", s.identity.device), held);
    }
    Ok(rows)
}

pub(super) async fn pictures(stores: &Stores, owner: &UserId) -> Result<BTreeMap<String, (Digest, u64)>> {
    let mut all = BTreeMap::new();
    for name in stores.blobs.owned_by(owner).await? {
        let what = match stores.blobs.get(&name).await {
            Ok(Some(b)) => {
                let text =
                    format!("{name}\0{owner}\0{}\0{}\0{}", b.media_type, b.received, Digest::of(&b.body));
                (Digest::of(text.as_bytes()), b.body.len() as u64)
            }
            Ok(None) => continue,
            Err(e) if e.kind() == ErrorKind::Corrupt => (Digest([0; 32]), 0),
            Err(e) => return Err(e),
        };
        all.insert(name, what);
    }
    Ok(all)
}

/// Of everything that is known about a record. Ids have no NUL in them, and the key says its own length.
pub(super) fn digest(key: &BiteKey, meta: &BiteMeta) -> Digest {
    let mut bytes = key.encode();
    bytes.extend_from_slice(&meta.sha256.0);
    bytes.extend_from_slice(&meta.received.to_be_bytes());
    bytes.extend_from_slice(&meta.bytes.to_be_bytes());
    bytes.extend_from_slice(format!("{}\0{}\0", meta.author.user, meta.author.device).as_bytes());
    bytes.extend_from_slice(format!("{:?}\0{}", meta.duration_ms, meta.media_type).as_bytes());
    Digest::of(&bytes)
}

/// The records of one label of a conversation, page by page.
pub(super) struct Rows<'a> {
    bites: &'a dyn BiteStore,
    label: Label,
    conversation: &'a ConversationId,
    page: VecDeque<(Millis, BiteMeta)>,
    range: Option<ScanRange>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(bites: &'a dyn BiteStore, label: Label, conversation: &'a ConversationId) -> Self {
        Self { bites, label, conversation, page: VecDeque::new(), range: Some(ScanRange::all()) }
    }

    pub(super) async fn next(&mut self, found: &mut Verification) -> Result<Option<(Millis, BiteMeta)>> {
        if self.page.is_empty()
            && let Some(range) = self.range.take()
        {
            match self.bites.metas(self.label, self.conversation, range).await {
                Ok(page) => {
                    let full = page.last().filter(|_| page.len() >= range.limit());
                    self.range = full.and_then(|(last, _)| range.after(*last));
                    self.page = page.into();
                }
                Err(e) if e.kind() == ErrorKind::Corrupt => {
                    found.differs(
                        format!("{}/{}", self.label, self.conversation),
                        "damaged: `verify` names the records",
                    );
                }
                Err(e) => return Err(e),
            }
        }
        Ok(self.page.pop_front())
    }
}
