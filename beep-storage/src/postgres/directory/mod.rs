//! The directory in PostgreSQL: each call is one transaction of the functions beside this file.

mod changes;
mod conversations;
mod members;
mod sessions;
mod users;

use super::Postgres;
use async_trait::async_trait;
use beep_core::Result;
use beep_core::bite::Digest;
use beep_core::bus::Subscription;
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, Identity, SessionId, UserId};
use beep_core::store::{
    Capability, ChangeEntry, Conversation, ConversationPatch, Directory, Member, Membership, NewConversation,
    NewUser, Renewal, Role, Session, Standing, User, UserPatch,
};

/// A [`Directory`] in a PostgreSQL schema, for any number of nodes.
///
/// * Durable, shared and reached over the network.
/// * Positions of changes have no gaps: one that is seen tells that all before it can be seen. The bell tells the position.
/// * At least the last 100,000 changes are kept. Whoever asks for those behind an older position is answered
///   [`beep_core::ErrorKind::Invalid`] and begins anew from `last_change`; nothing is skipped silently.
/// * No call takes longer than 5 s. Transactions that meet each other are begun again inside.
#[derive(Clone, Debug)]
pub struct PostgresDirectory {
    postgres: Postgres,
}

impl PostgresDirectory {
    /// The directory of this database.
    pub fn new(postgres: &Postgres) -> Self {
        Self { postgres: postgres.clone() }
    }
}

/// `LIMIT` as Postgres takes it.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl Directory for PostgresDirectory {
    fn capability(&self) -> Capability {
        Capability::networked(true)
    }

    async fn create_user(&self, user: NewUser) -> Result<User> {
        transact!(self.postgres, |tx| users::create(tx, &user))
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>> {
        within!(self.postgres, |db| users::by_id(db, id))
    }

    async fn user_by_phone(&self, phone_number: &str) -> Result<Option<User>> {
        within!(self.postgres, |db| users::by_phone(db, phone_number))
    }

    async fn user_by_username(&self, username: &str) -> Result<Option<User>> {
        within!(self.postgres, |db| users::by_username(db, username))
    }

    async fn patch_user(&self, id: &UserId, patch: UserPatch) -> Result<User> {
        transact!(self.postgres, |tx| users::patch(tx, id, &patch))
    }

    async fn delete_user(&self, id: &UserId) -> Result<bool> {
        transact!(self.postgres, |tx| users::delete(tx, id))
    }

    async fn users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<User>> {
        within!(self.postgres, |db| users::page(db, after, limit))
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Result<Conversation> {
        transact!(self.postgres, |tx| conversations::create(tx, &conversation))
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>> {
        within!(self.postgres, |db| conversations::by_id(db, id))
    }

    async fn patch_conversation(
        &self,
        id: &ConversationId,
        patch: ConversationPatch,
    ) -> Result<Conversation> {
        transact!(self.postgres, |tx| conversations::patch(tx, id, &patch))
    }

    async fn delete_conversation(&self, id: &ConversationId) -> Result<bool> {
        transact!(self.postgres, |tx| conversations::delete(tx, id))
    }

    async fn conversations(&self, after: Option<&ConversationId>, limit: usize) -> Result<Vec<Conversation>> {
        within!(self.postgres, |db| conversations::page(db, after, limit))
    }

    async fn put_member(&self, conversation: &ConversationId, user: &UserId, role: Role) -> Result<()> {
        transact!(self.postgres, |tx| members::put(tx, conversation, user, role))
    }

    async fn remove_member(&self, conversation: &ConversationId, user: &UserId) -> Result<bool> {
        transact!(self.postgres, |tx| members::remove(tx, conversation, user))
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>> {
        within!(self.postgres, |db| members::of_conversation(db, conversation))
    }

    async fn role(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Role>> {
        within!(self.postgres, |db| members::role(db, conversation, user))
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        within!(self.postgres, |db| members::of_user(db, user))
    }

    async fn set_pinned(&self, conversation: &ConversationId, user: &UserId, pinned: bool) -> Result<()> {
        transact!(self.postgres, |tx| members::pin(tx, conversation, user, pinned))
    }

    async fn set_last_heard(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        start: Millis,
    ) -> Result<()> {
        within!(self.postgres, |db| members::heard(db, conversation, user, start))
    }

    async fn put_contact(&self, owner: &UserId, contact: &UserId) -> Result<()> {
        transact!(self.postgres, |tx| users::put_contact(tx, owner, contact))
    }

    async fn remove_contact(&self, owner: &UserId, contact: &UserId) -> Result<bool> {
        transact!(self.postgres, |tx| users::remove_contact(tx, owner, contact))
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<User>> {
        within!(self.postgres, |db| users::contacts(db, owner))
    }

    async fn put_session(&self, session: Session) -> Result<()> {
        transact!(self.postgres, |tx| sessions::put(tx, &session))
    }

    async fn renew_session(
        &self,
        session: &SessionId,
        old: &Digest,
        new: &Digest,
        now: Millis,
        expires: Millis,
    ) -> Result<Renewal> {
        let renewed = within!(self.postgres, |db| sessions::renew(db, session, old, new, now, expires))?;
        match renewed {
            Some(renewal) => Ok(renewal),
            None => transact!(self.postgres, |tx| sessions::refuse(tx, session, old, now)),
        }
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<Session>> {
        within!(self.postgres, |db| sessions::of_user(db, user))
    }

    async fn end_session(&self, identity: &Identity) -> Result<bool> {
        transact!(self.postgres, |tx| sessions::end(tx, identity))
    }

    async fn standing(&self, identity: &Identity) -> Result<Standing> {
        within!(self.postgres, |db| sessions::standing(db, identity))
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<ChangeEntry>> {
        within!(self.postgres, |db| changes::behind(db, after, limit))
    }

    async fn last_change(&self) -> Result<u64> {
        within!(self.postgres, |db| changes::last(db))
    }

    async fn bell(&self) -> Result<Option<Box<dyn Subscription>>> {
        Ok(Some(Box::new(self.postgres.bells().bell().await?)))
    }

    async fn ready(&self) -> Result<()> {
        self.postgres.ready().await
    }
}
