//! The directory as a few maps behind one lock: simple enough to be believed.

use super::sessions::Sessions;
use crate::words::username_key;
use async_trait::async_trait;
use beep_core::bite::Digest;
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, Identity, SessionId, UserId};
use beep_core::store::{
    Capability, Change, ChangeEntry, Conversation, ConversationPatch, Directory, Member, Membership,
    NewConversation, NewUser, Renewal, Role, Session, Standing, User, UserPatch,
};
use beep_core::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A [`Directory`] in memory.
///
/// * Neither durable nor shared; keeps every change.
#[derive(Default)]
pub struct MemoryDirectory(Mutex<State>);

/// Not what it holds: numbers are nobody's business in a log.
impl std::fmt::Debug for MemoryDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryDirectory").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<UserId, User>,
    conversations: BTreeMap<ConversationId, Conversation>,
    members: BTreeMap<(ConversationId, UserId), Seat>,
    contacts: BTreeSet<(UserId, UserId)>,
    sessions: Sessions,
    deleted: BTreeSet<UserId>,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Seat {
    role: Role,
    pinned: bool,
    last_heard: Millis,
}

impl MemoryDirectory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every method checks before it changes anything, so a panic elsewhere leaves whole calls behind.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn conflict(sentence: &str) -> Error {
    Error::new(ErrorKind::Conflict, sentence)
}

impl State {
    fn known_user(&self, id: &UserId) -> Result<&User> {
        self.users
            .get(id)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such user").with("user", id))
    }

    fn known_conversation(&self, id: &ConversationId) -> Result<&Conversation> {
        self.conversations.get(id).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such conversation").with("conversation", id)
        })
    }

    fn seat(&mut self, conversation: &ConversationId, user: &UserId) -> Result<&mut Seat> {
        self.members.get_mut(&(conversation.clone(), user.clone())).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "this user is not in this conversation")
                .with("conversation", conversation)
                .with("user", user)
        })
    }

    fn name_is_free(&self, name: &str, except: Option<&UserId>) -> Result<()> {
        let holder = self.named(name).map(|u| &u.id);
        if holder.is_some() && holder != except { Err(conflict("this user name is taken")) } else { Ok(()) }
    }

    fn named(&self, name: &str) -> Option<&User> {
        let key = username_key(name)?;
        self.users.values().find(|u| u.username.as_deref().and_then(username_key).as_ref() == Some(&key))
    }

    fn note_session(&mut self, identity: &Identity) {
        self.changes.push(Change::Session(identity.user.clone(), identity.device.clone()));
    }

    fn end_memberships(&mut self, ends: impl Fn(&(ConversationId, UserId)) -> bool) {
        let ended: Vec<_> = self.members.keys().filter(|m| ends(m)).cloned().collect();
        for (conversation, user) in ended {
            self.members.remove(&(conversation.clone(), user.clone()));
            self.changes.push(Change::Member(conversation, user));
        }
    }
}

#[async_trait]
impl Directory for MemoryDirectory {
    fn capability(&self) -> Capability {
        Capability::new(false, false)
    }

    async fn create_user(&self, user: NewUser) -> Result<User> {
        let mut state = self.state();
        let NewUser { id, username, first_name, last_name, phone_number } = user;
        if state.users.contains_key(&id) {
            return Err(conflict("this user id is taken"));
        }
        if state.deleted.contains(&id) {
            return Err(conflict("this user id belonged to somebody who was deleted"));
        }
        if state.users.values().any(|u| u.phone_number == phone_number) {
            return Err(conflict("this phone number belongs to another user"));
        }
        let username = username.filter(|name| username_key(name).is_some());
        if let Some(name) = &username {
            state.name_is_free(name, None)?;
        }
        let (bio, profile_pic) = (String::new(), String::new());
        let user = User { id: id.clone(), username, bio, profile_pic, first_name, last_name, phone_number };
        state.users.insert(id.clone(), user.clone());
        state.changes.push(Change::User(id));
        Ok(user)
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>> {
        Ok(self.state().users.get(id).cloned())
    }

    async fn user_by_phone(&self, phone_number: &str) -> Result<Option<User>> {
        Ok(self.state().users.values().find(|u| u.phone_number == phone_number).cloned())
    }

    async fn user_by_username(&self, username: &str) -> Result<Option<User>> {
        Ok(self.state().named(username).cloned())
    }

    async fn patch_user(&self, id: &UserId, patch: UserPatch) -> Result<User> {
        let mut state = self.state();
        let before = state.known_user(id)?.clone();
        let mut after = before.clone();
        if let Some(name) = patch.username {
            after.username = name.filter(|name| username_key(name).is_some());
        }
        if let Some(name) = &after.username {
            state.name_is_free(name, Some(id))?;
        }
        for (field, new) in [
            (&mut after.bio, patch.bio),
            (&mut after.profile_pic, patch.profile_pic),
            (&mut after.first_name, patch.first_name),
            (&mut after.last_name, patch.last_name),
        ] {
            if let Some(new) = new {
                *field = new;
            }
        }
        if after != before {
            state.users.insert(id.clone(), after.clone());
            state.changes.push(Change::User(id.clone()));
        }
        Ok(after)
    }

    async fn delete_user(&self, id: &UserId) -> Result<bool> {
        let mut state = self.state();
        if state.users.remove(id).is_none() {
            return Ok(false);
        }
        state.end_memberships(|(_, user)| user == id);
        let ended: Vec<_> = state.contacts.iter().filter(|(a, b)| a == id || b == id).cloned().collect();
        for (owner, contact) in ended {
            state.contacts.remove(&(owner.clone(), contact.clone()));
            state.changes.push(Change::Contact(owner, contact));
        }
        for session in state.sessions.of_user(id) {
            state.sessions.end(&session.identity);
            state.note_session(&session.identity);
        }
        state.deleted.insert(id.clone());
        state.changes.push(Change::User(id.clone()));
        Ok(true)
    }

    async fn users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<User>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self
            .state()
            .users
            .range::<UserId, _>((from, Bound::Unbounded))
            .take(limit)
            .map(|(_, u)| u.clone())
            .collect())
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Result<Conversation> {
        let mut state = self.state();
        let NewConversation { id, title, picture, owner } = conversation;
        state.known_user(&owner)?;
        if state.conversations.contains_key(&id) {
            return Err(conflict("this conversation id is taken"));
        }
        let conversation = Conversation { id: id.clone(), title, picture };
        state.conversations.insert(id.clone(), conversation.clone());
        state
            .members
            .insert((id.clone(), owner.clone()), Seat { role: Role::Owner, pinned: false, last_heard: 0 });
        state.changes.extend([Change::Conversation(id.clone()), Change::Member(id, owner)]);
        Ok(conversation)
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>> {
        Ok(self.state().conversations.get(id).cloned())
    }

    async fn patch_conversation(
        &self,
        id: &ConversationId,
        patch: ConversationPatch,
    ) -> Result<Conversation> {
        let mut state = self.state();
        let before = state.known_conversation(id)?.clone();
        let after = Conversation {
            id: id.clone(),
            title: patch.title.unwrap_or_else(|| before.title.clone()),
            picture: patch.picture.unwrap_or_else(|| before.picture.clone()),
        };
        if after != before {
            state.conversations.insert(id.clone(), after.clone());
            state.changes.push(Change::Conversation(id.clone()));
        }
        Ok(after)
    }

    async fn delete_conversation(&self, id: &ConversationId) -> Result<bool> {
        let mut state = self.state();
        if state.conversations.remove(id).is_none() {
            return Ok(false);
        }
        state.end_memberships(|(conversation, _)| conversation == id);
        state.changes.push(Change::Conversation(id.clone()));
        Ok(true)
    }

    async fn conversations(&self, after: Option<&ConversationId>, limit: usize) -> Result<Vec<Conversation>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let behind = state.conversations.range::<ConversationId, _>((from, Bound::Unbounded));
        Ok(behind.take(limit).map(|(_, c)| c.clone()).collect())
    }

    async fn put_member(&self, conversation: &ConversationId, user: &UserId, role: Role) -> Result<()> {
        let mut state = self.state();
        state.known_conversation(conversation)?;
        state.known_user(user)?;
        let key = (conversation.clone(), user.clone());
        match state.members.get_mut(&key) {
            Some(seat) if seat.role == role => return Ok(()),
            Some(seat) => seat.role = role,
            None => {
                state.members.insert(key, Seat { role, pinned: false, last_heard: 0 });
            }
        }
        state.changes.push(Change::Member(conversation.clone(), user.clone()));
        Ok(())
    }

    async fn remove_member(&self, conversation: &ConversationId, user: &UserId) -> Result<bool> {
        let mut state = self.state();
        let was_there = state.members.remove(&(conversation.clone(), user.clone())).is_some();
        if was_there {
            state.changes.push(Change::Member(conversation.clone(), user.clone()));
        }
        Ok(was_there)
    }

    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>> {
        let state = self.state();
        let own = state.members.iter().filter(|((c, _), _)| c == conversation);
        Ok(own.map(|((_, user), seat)| Member { user: user.clone(), role: seat.role }).collect())
    }

    async fn role(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Role>> {
        Ok(self.state().members.get(&(conversation.clone(), user.clone())).map(|seat| seat.role))
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        let state = self.state();
        let own = state.members.iter().filter(|((_, u), _)| u == user);
        own.map(|((conversation, _), seat)| {
            Ok(Membership {
                conversation: state.known_conversation(conversation)?.clone(),
                role: seat.role,
                pinned: seat.pinned,
                last_heard: seat.last_heard,
            })
        })
        .collect()
    }

    async fn set_pinned(&self, conversation: &ConversationId, user: &UserId, pinned: bool) -> Result<()> {
        let mut state = self.state();
        let seat = state.seat(conversation, user)?;
        if seat.pinned != pinned {
            seat.pinned = pinned;
            state.changes.push(Change::Member(conversation.clone(), user.clone()));
        }
        Ok(())
    }

    async fn set_last_heard(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        start: Millis,
    ) -> Result<()> {
        let mut state = self.state();
        let seat = state.seat(conversation, user)?;
        seat.last_heard = seat.last_heard.max(start);
        Ok(())
    }

    async fn put_contact(&self, owner: &UserId, contact: &UserId) -> Result<()> {
        let mut state = self.state();
        state.known_user(owner)?;
        state.known_user(contact)?;
        if state.contacts.insert((owner.clone(), contact.clone())) {
            state.changes.push(Change::Contact(owner.clone(), contact.clone()));
        }
        Ok(())
    }

    async fn remove_contact(&self, owner: &UserId, contact: &UserId) -> Result<bool> {
        let mut state = self.state();
        let was_so = state.contacts.remove(&(owner.clone(), contact.clone()));
        if was_so {
            state.changes.push(Change::Contact(owner.clone(), contact.clone()));
        }
        Ok(was_so)
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<User>> {
        let state = self.state();
        let own = state.contacts.iter().filter(|(o, _)| o == owner);
        own.map(|(_, contact)| state.known_user(contact).cloned()).collect()
    }

    async fn put_session(&self, session: Session) -> Result<()> {
        let mut state = self.state();
        state.known_user(&session.identity.user)?;
        if state.sessions.put(&session)? {
            state.note_session(&session.identity);
        }
        Ok(())
    }

    async fn renew_session(
        &self,
        session: &SessionId,
        old: &Digest,
        new: &Digest,
        now: Millis,
        expires: Millis,
    ) -> Result<Renewal> {
        let mut state = self.state();
        let renewal = state.sessions.renew(session, old, new, now, expires);
        if let Renewal::Reused(identity) = &renewal {
            state.note_session(identity);
        }
        Ok(renewal)
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<Session>> {
        Ok(self.state().sessions.of_user(user))
    }

    async fn end_session(&self, identity: &Identity) -> Result<bool> {
        let mut state = self.state();
        let was_there = state.sessions.end(identity);
        if was_there {
            state.note_session(identity);
        }
        Ok(was_there)
    }

    async fn standing(&self, identity: &Identity) -> Result<Standing> {
        let state = self.state();
        let session = state.sessions.of_device(identity).map(|s| s.id.clone());
        Ok(Standing { deleted: state.deleted.contains(&identity.user), session })
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<ChangeEntry>> {
        let state = self.state();
        let numbered = state.changes.iter().zip(1u64..).filter(|(_, seq)| *seq > after);
        Ok(numbered.take(limit).map(|(change, seq)| ChangeEntry { seq, change: change.clone() }).collect())
    }

    async fn last_change(&self) -> Result<u64> {
        Ok(self.state().changes.len() as u64)
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }
}
