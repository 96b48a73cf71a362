//! One user, conversation, member, contact or session: the target's is made what the source's is.

use super::Migration;
use super::people::gone_is_fine;
use beep_core::bite::Digest;
use beep_core::id::{ConversationId, Identity, UserId};
use beep_core::store::{
    Change, Conversation, ConversationPatch, Member, NewConversation, NewUser, Role, User, UserPatch,
};
use beep_core::{Error, ErrorKind, Result};

/// What may be done to what is at the target already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Only add to it: it may be somebody else's.
    Add,
    /// Make it equal: the source says that it changed since the move began.
    Follow,
}

/// What begins the phone number of a user who is made only to be deleted.
const NOBODY: &str = "migrating:";

/// What people are told it is.
pub(super) fn key(change: &Change) -> String {
    match change {
        Change::User(user) => format!("user {user}"),
        Change::Conversation(conversation) => format!("conversation {conversation}"),
        Change::Member(conversation, user) => format!("member {user} of {conversation}"),
        Change::Contact(owner, contact) => format!("contact {contact} of {owner}"),
        Change::Session(user, device) => format!("session of {user} on {device}"),
        other => format!("{other:?}"),
    }
}

impl Migration {
    pub(super) async fn sync(&mut self, change: &Change, mode: Mode) -> Result<()> {
        let done = match change {
            Change::User(user) => self.user(user, mode).await,
            Change::Conversation(conversation) => self.conversation(conversation, mode).await,
            Change::Member(conversation, user) => self.member(conversation, user, mode).await,
            Change::Contact(owner, contact) => self.contact(owner, contact).await,
            Change::Session(user, device) => {
                self.session(&Identity { user: user.clone(), device: device.clone() }).await
            }
            other => Err(Error::new(ErrorKind::Unsupported, "this version cannot move such a change")
                .with("change", format!("{other:?}"))
                .permanent()),
        };
        match done {
            Ok(()) => drop(self.problems.remove(&key(change))),
            Err(e)
                if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Unsupported) =>
            {
                self.problem(key(change), e.kind(), e.message(), None);
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    async fn user(&mut self, id: &UserId, mode: Mode) -> Result<()> {
        let (here, there) = (self.source.directory.user(id).await?, self.target.directory.user(id).await?);
        match (here, there) {
            (Some(here), None) => self.add_user(&here, mode).await,
            (Some(here), Some(there)) => self.change_user(&here, &there, mode).await,
            (None, Some(_)) if mode == Mode::Follow => {
                for name in self.target.blobs.owned_by(id).await? {
                    self.target.blobs.delete(&name).await?;
                }
                self.target.directory.delete_user(id).await.map(drop)
            }
            // Made and deleted between two looks: the id must not become free all the same.
            (None, None) if mode == Mode::Follow => self.bury(id).await,
            (None, _) => Ok(()),
        }
    }

    async fn add_user(&mut self, here: &User, mode: Mode) -> Result<()> {
        if mode == Mode::Follow {
            self.free_username(here).await?;
        }
        let made = self.target.directory.create_user(NewUser {
            id: here.id.clone(),
            username: here.username.clone(),
            first_name: here.first_name.clone(),
            last_name: here.last_name.clone(),
            phone_number: here.phone_number.clone(),
        });
        let there = made.await?;
        self.moved.users += 1;
        self.change_user(here, &there, Mode::Add).await
    }

    async fn change_user(&mut self, here: &User, there: &User, mode: Mode) -> Result<()> {
        if here.phone_number != there.phone_number {
            return Err(differs("another phone number"));
        }
        // Empty is what a user has who was made the moment before this process was killed.
        let may = |there: &str| mode == Mode::Follow || there.is_empty();
        let mut patch = UserPatch::default();
        for (here, there, new) in [
            (&here.bio, &there.bio, &mut patch.bio),
            (&here.profile_pic, &there.profile_pic, &mut patch.profile_pic),
            (&here.first_name, &there.first_name, &mut patch.first_name),
            (&here.last_name, &there.last_name, &mut patch.last_name),
        ] {
            match here == there {
                true => {}
                false if may(there) => *new = Some(here.clone()),
                false => return Err(differs("other names, bio or picture")),
            }
        }
        if here.username != there.username {
            if mode == Mode::Add {
                return Err(differs("another user name"));
            }
            self.free_username(here).await?;
            patch.username = Some(here.username.clone());
        }
        self.target.directory.patch_user(&here.id, patch).await.map(drop)
    }

    /// Takes a user name from whoever still has it at the target and gave it up at the source since.
    async fn free_username(&self, here: &User) -> Result<()> {
        let Some(name) = &here.username else { return Ok(()) };
        let Some(holder) = self.target.directory.user_by_username(name).await? else { return Ok(()) };
        let source = self.source.directory.user(&holder.id).await?;
        if holder.id != here.id && source.is_some_and(|s| s.username != holder.username) {
            let patch = UserPatch { username: Some(None), ..UserPatch::default() };
            self.target.directory.patch_user(&holder.id, patch).await?;
        }
        Ok(())
    }

    /// Makes and deletes a user of this id, so that nobody gets it.
    async fn bury(&self, id: &UserId) -> Result<()> {
        let directory = &self.target.directory;
        let phone_number = format!("{NOBODY}{id}");
        let made = directory.create_user(NewUser {
            id: id.clone(),
            username: None,
            first_name: String::new(),
            last_name: String::new(),
            phone_number: phone_number.clone(),
        });
        match made.await {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Conflict => {}
            Err(e) => return Err(e),
        }
        // Also one that was left by a process that was killed here.
        match directory.user(id).await? {
            Some(user) if user.phone_number == phone_number => directory.delete_user(id).await.map(drop),
            _ => Ok(()),
        }
    }

    async fn conversation(&mut self, id: &ConversationId, mode: Mode) -> Result<()> {
        let here = self.source.directory.conversation(id).await?;
        let there = self.target.directory.conversation(id).await?;
        match (here, there) {
            (Some(here), None) => self.add_conversation(&here, mode).await?,
            (Some(here), Some(there)) if here == there => {}
            (Some(here), Some(_)) if mode == Mode::Follow => {
                let patch = ConversationPatch { title: Some(here.title), picture: Some(here.picture) };
                self.target.directory.patch_conversation(id, patch).await?;
            }
            (Some(_), Some(_)) => return Err(differs("another title or picture")),
            (None, there) => {
                if there.is_some() && mode == Mode::Follow {
                    self.target.directory.delete_conversation(id).await?;
                }
                return Ok(());
            }
        }
        self.members(id, mode).await
    }

    async fn add_conversation(&mut self, here: &Conversation, mode: Mode) -> Result<()> {
        let members = self.source.directory.members(&here.id).await?;
        let first = members.iter().max_by_key(|m| m.role == Role::Owner).map(|m| m.user.clone());
        let nobody = nobody(&here.id)?;
        let owner = match &first {
            Some(user) => {
                self.need_user(user, mode).await?;
                user
            }
            None => {
                // Whoever makes a conversation is in it, and goes from it with their account.
                let (first_name, last_name) = (String::new(), String::new());
                let phone_number = format!("{NOBODY}{nobody}");
                let id = nobody.clone();
                let new = NewUser { id, username: None, first_name, last_name, phone_number };
                if self.target.directory.user(&nobody).await?.is_none() {
                    self.target.directory.create_user(new).await?;
                }
                &nobody
            }
        };
        self.target
            .directory
            .create_conversation(NewConversation {
                id: here.id.clone(),
                title: here.title.clone(),
                picture: here.picture.clone(),
                owner: owner.clone(),
            })
            .await?;
        self.moved.conversations += 1;
        Ok(())
    }

    /// All members of a conversation.
    async fn members(&mut self, id: &ConversationId, mode: Mode) -> Result<()> {
        let nobody = nobody(id)?;
        if self.target.directory.role(id, &nobody).await?.is_some() {
            self.target.directory.delete_user(&nobody).await?;
        }
        let here = self.source.directory.members(id).await?;
        let there = self.target.directory.members(id).await?;
        for Member { user, .. } in &here {
            self.sync_member(id, user, mode).await?;
        }
        for Member { user, .. } in there {
            if !here.iter().any(|m| m.user == user) {
                self.sync_member(id, &user, mode).await?;
            }
        }
        Ok(())
    }

    /// As [`Migration::sync`] does it; named here because that one calls us.
    async fn sync_member(&mut self, id: &ConversationId, user: &UserId, mode: Mode) -> Result<()> {
        let key = key(&Change::Member(id.clone(), user.clone()));
        match self.member(id, user, mode).await {
            Ok(()) => drop(self.problems.remove(&key)),
            Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                self.problem(key, e.kind(), e.message(), None);
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    async fn member(&mut self, id: &ConversationId, user: &UserId, mode: Mode) -> Result<()> {
        let here = self.source.directory.role(id, user).await?;
        let there = self.target.directory.role(id, user).await?;
        match (here, there) {
            (Some(role), there) if there != Some(role) => {
                if there.is_some() && mode == Mode::Add && !self.alone(id).await? {
                    return Err(differs("another role"));
                }
                self.need_user(user, mode).await?;
                self.target.directory.put_member(id, user, role).await?;
            }
            (None, Some(_)) if mode == Mode::Follow => {
                self.target.directory.remove_member(id, user).await?;
            }
            (None, Some(_)) => return Err(differs("a member whom the source does not have")),
            _ => {}
        }
        if here.is_none() || mode == Mode::Add {
            return Ok(());
        }
        let seats = self.source.directory.memberships(user).await?;
        match seats.into_iter().find(|s| s.conversation.id == *id) {
            Some(seat) => gone_is_fine(self.target.directory.set_pinned(id, user, seat.pinned).await),
            None => Ok(()),
        }
    }

    /// Whether a conversation at the target has one member: as it was made, before this process was killed.
    async fn alone(&self, id: &ConversationId) -> Result<bool> {
        Ok(self.target.directory.members(id).await?.len() == 1)
    }

    async fn contact(&mut self, owner: &UserId, contact: &UserId) -> Result<()> {
        // Also where one of them is gone.
        if self.source.directory.contacts(owner).await?.iter().any(|c| c.id == *contact) {
            self.need_user(owner, Mode::Follow).await?;
            self.need_user(contact, Mode::Follow).await?;
            return self.target.directory.put_contact(owner, contact).await;
        }
        self.target.directory.remove_contact(owner, contact).await.map(drop)
    }

    async fn session(&mut self, identity: &Identity) -> Result<()> {
        let own = self.source.directory.sessions(&identity.user).await?;
        let Some(session) = own.into_iter().find(|s| s.identity == *identity) else {
            return self.target.directory.end_session(identity).await.map(drop);
        };
        self.need_user(&identity.user, Mode::Follow).await?;
        let there = self.target.directory.sessions(&identity.user).await?;
        match there.iter().find(|s| s.identity == *identity) {
            Some(same) if *same == session => return Ok(()),
            Some(newer) if newer.refreshed > session.refreshed => {
                return Err(differs("a newer session of this device"));
            }
            _ => {}
        }
        self.target.directory.put_session(session).await?;
        self.moved.sessions += 1;
        Ok(())
    }

    /// A user who was made behind the change that is being followed may be needed before their own change comes.
    async fn need_user(&mut self, id: &UserId, mode: Mode) -> Result<()> {
        if self.target.directory.user(id).await?.is_none()
            && let Some(here) = self.source.directory.user(id).await?
        {
            self.add_user(&here, mode).await?;
        }
        Ok(())
    }
}

fn differs(what: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("the target has {what}"))
}

/// Who makes a conversation in which nobody is left: deleted at once, so each such conversation has its own.
fn nobody(id: &ConversationId) -> Result<UserId> {
    let digest = Digest::of(id.as_str().as_bytes()).to_string();
    UserId::parse(&format!("migrating-{}", &digest[..40]))
}
