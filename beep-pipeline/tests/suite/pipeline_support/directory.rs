//! A directory that can be away, or no longer keep its old changes.

use async_trait::async_trait;
use beep_core::bite::Digest;
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, Identity, SessionId, UserId};
use beep_core::store::{
    Capability, ChangeEntry, Conversation, ConversationPatch, Directory, Member, Membership, NewConversation,
    NewUser, Renewal, Role, Session, Standing, User, UserPatch,
};
use beep_core::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Passes everything on while it is there.
#[derive(Debug)]
pub struct Moody {
    inner: Arc<dyn Directory>,
    pub away: AtomicBool,
    /// Changes before this one are no longer kept.
    pub kept_from: AtomicU64,
}

impl Moody {
    pub fn new(inner: Arc<dyn Directory>) -> Arc<Self> {
        Arc::new(Self { inner, away: AtomicBool::new(false), kept_from: AtomicU64::new(0) })
    }

    fn there(&self) -> Result<&dyn Directory> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the directory is away"));
        }
        Ok(&*self.inner)
    }
}

#[async_trait]
impl Directory for Moody {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.there()?.create_user(user).await
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>> {
        self.there()?.user(id).await
    }

    async fn user_by_phone(&self, phone_number: &str) -> Result<Option<User>> {
        self.there()?.user_by_phone(phone_number).await
    }

    async fn user_by_username(&self, username: &str) -> Result<Option<User>> {
        self.there()?.user_by_username(username).await
    }

    async fn patch_user(&self, id: &UserId, patch: UserPatch) -> Result<User> {
        self.there()?.patch_user(id, patch).await
    }

    async fn delete_user(&self, id: &UserId) -> Result<bool> {
        self.there()?.delete_user(id).await
    }

    async fn users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<User>> {
        self.there()?.users(after, limit).await
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Result<Conversation> {
        self.there()?.create_conversation(conversation).await
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>> {
        self.there()?.conversation(id).await
    }

    async fn patch_conversation(
        &self,
        id: &ConversationId,
        patch: ConversationPatch,
    ) -> Result<Conversation> {
        self.there()?.patch_conversation(id, patch).await
    }

    async fn delete_conversation(&self, id: &ConversationId) -> Result<bool> {
        self.there()?.delete_conversation(id).await
    }

    async fn conversations(&self, after: Option<&ConversationId>, limit: usize) -> Result<Vec<Conversation>> {
        self.there()?.conversations(after, limit).await
    }

    async fn put_member(&self, conversation: &ConversationId, user: &UserId, role: Role) -> Result<()> {
        self.there()?.put_member(conversation, user, role).await
    }

    async fn remove_member(&self, conversation: &ConversationId, user: &UserId) -> Result<bool> {
        self.there()?.remove_member(conversation, user).await
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>> {
        self.there()?.members(conversation).await
    }

    async fn role(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Role>> {
        self.there()?.role(conversation, user).await
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        self.there()?.memberships(user).await
    }

    async fn set_pinned(&self, conversation: &ConversationId, user: &UserId, pinned: bool) -> Result<()> {
        self.there()?.set_pinned(conversation, user, pinned).await
    }

    async fn set_last_heard(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        start: Millis,
    ) -> Result<()> {
        self.there()?.set_last_heard(conversation, user, start).await
    }

    async fn put_contact(&self, owner: &UserId, contact: &UserId) -> Result<()> {
        self.there()?.put_contact(owner, contact).await
    }

    async fn remove_contact(&self, owner: &UserId, contact: &UserId) -> Result<bool> {
        self.there()?.remove_contact(owner, contact).await
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<User>> {
        self.there()?.contacts(owner).await
    }

    async fn put_session(&self, session: Session) -> Result<()> {
        self.there()?.put_session(session).await
    }

    async fn renew_session(
        &self,
        session: &SessionId,
        old: &Digest,
        new: &Digest,
        now: Millis,
        expires: Millis,
    ) -> Result<Renewal> {
        self.there()?.renew_session(session, old, new, now, expires).await
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<Session>> {
        self.there()?.sessions(user).await
    }

    async fn end_session(&self, identity: &Identity) -> Result<bool> {
        self.there()?.end_session(identity).await
    }

    async fn standing(&self, identity: &Identity) -> Result<Standing> {
        self.there()?.standing(identity).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<ChangeEntry>> {
        if after + 1 < self.kept_from.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Invalid, "changes that old are no longer kept"));
        }
        self.there()?.changes(after, limit).await
    }

    async fn last_change(&self) -> Result<u64> {
        self.there()?.last_change().await
    }

    async fn ready(&self) -> Result<()> {
        self.there()?.ready().await
    }
}
