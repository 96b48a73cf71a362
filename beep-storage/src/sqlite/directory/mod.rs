//! The directory in SQLite: each call is one transaction of the functions beside this file.

mod changes;
mod conversations;
mod members;
mod sessions;
mod users;

use super::pool::{Database, commit};
use async_trait::async_trait;
use beep_core::Result;
use beep_core::bite::Digest;
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, Identity, SessionId, UserId};
use beep_core::store::{
    Capability, ChangeEntry, Conversation, ConversationPatch, Directory, Member, Membership, NewConversation,
    NewUser, Renewal, Role, Session, Standing, User, UserPatch,
};
use std::path::Path;

static SCHEMA: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite/directory");

/// A [`Directory`] in one SQLite file.
///
/// * Durable and shared: other processes may read and write the same file meanwhile.
/// * The last 100,000 changes are kept. Whoever asks for those behind an older position is answered
///   [`beep_core::ErrorKind::Invalid`] and begins anew from `last_change`; nothing is skipped silently.
#[derive(Clone, Debug)]
pub struct SqliteDirectory {
    db: Database,
}

impl SqliteDirectory {
    /// Opens or makes the file and brings its schema up to date. Its folder must exist.
    ///
    /// [`beep_core::ErrorKind::Unsupported`] when a newer version has written it.
    pub async fn open(path: &Path) -> Result<Self> {
        Ok(Self { db: Database::open(path, &SCHEMA).await? })
    }

    /// How many connections lie idle, writing and reading ones: for metrics and tests.
    pub fn idle_connections(&self) -> (usize, usize) {
        self.db.idle()
    }
}

#[async_trait]
impl Directory for SqliteDirectory {
    fn capability(&self) -> Capability {
        Capability::new(true, true)
    }

    async fn create_user(&self, user: NewUser) -> Result<User> {
        let mut tx = self.db.begin().await?;
        let created = users::create(&mut tx, user).await?;
        commit(tx).await?;
        Ok(created)
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>> {
        users::by_id(&mut *self.db.read().await?, id).await
    }

    async fn user_by_phone(&self, phone_number: &str) -> Result<Option<User>> {
        users::by_phone(&mut *self.db.read().await?, phone_number).await
    }

    async fn user_by_username(&self, username: &str) -> Result<Option<User>> {
        users::by_username(&mut *self.db.read().await?, username).await
    }

    async fn patch_user(&self, id: &UserId, patch: UserPatch) -> Result<User> {
        let mut tx = self.db.begin().await?;
        let patched = users::patch(&mut tx, id, patch).await?;
        commit(tx).await?;
        Ok(patched)
    }

    async fn delete_user(&self, id: &UserId) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let was_there = users::delete(&mut tx, id).await?;
        commit(tx).await?;
        Ok(was_there)
    }

    async fn users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<User>> {
        users::page(&mut *self.db.read().await?, after, limit).await
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Result<Conversation> {
        let mut tx = self.db.begin().await?;
        let created = conversations::create(&mut tx, conversation).await?;
        commit(tx).await?;
        Ok(created)
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>> {
        conversations::by_id(&mut *self.db.read().await?, id).await
    }

    async fn patch_conversation(
        &self,
        id: &ConversationId,
        patch: ConversationPatch,
    ) -> Result<Conversation> {
        let mut tx = self.db.begin().await?;
        let patched = conversations::patch(&mut tx, id, patch).await?;
        commit(tx).await?;
        Ok(patched)
    }

    async fn delete_conversation(&self, id: &ConversationId) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let was_there = conversations::delete(&mut tx, id).await?;
        commit(tx).await?;
        Ok(was_there)
    }

    async fn conversations(&self, after: Option<&ConversationId>, limit: usize) -> Result<Vec<Conversation>> {
        conversations::page(&mut *self.db.read().await?, after, limit).await
    }

    async fn put_member(&self, conversation: &ConversationId, user: &UserId, role: Role) -> Result<()> {
        let mut tx = self.db.begin().await?;
        members::put(&mut tx, conversation, user, role).await?;
        commit(tx).await
    }

    async fn remove_member(&self, conversation: &ConversationId, user: &UserId) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let was_there = members::remove(&mut tx, conversation, user).await?;
        commit(tx).await?;
        Ok(was_there)
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>> {
        members::of_conversation(&mut *self.db.read().await?, conversation).await
    }

    async fn role(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Role>> {
        members::role(&mut *self.db.read().await?, conversation, user).await
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        members::of_user(&mut *self.db.read().await?, user).await
    }

    async fn set_pinned(&self, conversation: &ConversationId, user: &UserId, pinned: bool) -> Result<()> {
        let mut tx = self.db.begin().await?;
        members::pin(&mut tx, conversation, user, pinned).await?;
        commit(tx).await
    }

    async fn set_last_heard(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        start: Millis,
    ) -> Result<()> {
        let mut tx = self.db.begin().await?;
        members::heard(&mut tx, conversation, user, start).await?;
        commit(tx).await
    }

    async fn put_contact(&self, owner: &UserId, contact: &UserId) -> Result<()> {
        let mut tx = self.db.begin().await?;
        users::put_contact(&mut tx, owner, contact).await?;
        commit(tx).await
    }

    async fn remove_contact(&self, owner: &UserId, contact: &UserId) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let was_there = users::remove_contact(&mut tx, owner, contact).await?;
        commit(tx).await?;
        Ok(was_there)
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<User>> {
        users::contacts(&mut *self.db.read().await?, owner).await
    }

    async fn put_session(&self, session: Session) -> Result<()> {
        let mut tx = self.db.begin().await?;
        sessions::put(&mut tx, &session).await?;
        commit(tx).await
    }

    async fn renew_session(
        &self,
        session: &SessionId,
        old: &Digest,
        new: &Digest,
        now: Millis,
        expires: Millis,
    ) -> Result<Renewal> {
        let mut tx = self.db.begin().await?;
        let renewal = sessions::renew(&mut tx, session, old, new, now, expires).await?;
        commit(tx).await?;
        Ok(renewal)
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<Session>> {
        sessions::of_user(&mut *self.db.read().await?, user).await
    }

    async fn end_session(&self, identity: &Identity) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let was_there = sessions::end(&mut tx, identity).await?;
        commit(tx).await?;
        Ok(was_there)
    }

    async fn standing(&self, identity: &Identity) -> Result<Standing> {
        let mut db = self.db.read().await?;
        // In a box of its own: after a restart thousands ask at once, and who waits for a connection needs no room yet
        // for what comes behind it.
        Box::pin(sessions::standing(&mut db, identity)).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<ChangeEntry>> {
        changes::behind(&mut *self.db.read().await?, after, limit).await
    }

    async fn last_change(&self) -> Result<u64> {
        changes::last(&mut *self.db.read().await?).await
    }

    async fn ready(&self) -> Result<()> {
        self.db.ready().await
    }
}
