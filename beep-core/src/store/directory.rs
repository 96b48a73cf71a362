//! Who there is, what they share and who may hear what.

use super::{Capability, Renewal, Session, Standing};
use crate::bite::Digest;
use crate::bus::Subscription;
use crate::clock::Millis;
use crate::id::{ConversationId, DeviceId, Identity, SessionId, UserId};
use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A person. `Debug` shows the id only: names and numbers are nobody's business in a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// A unique name of their choice.
    pub username: Option<String>,
    /// A line about themselves.
    pub bio: String,
    /// The stored name of their picture.
    pub profile_pic: String,
    /// First name; empty for somebody known only by number.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Phone number in E.164, unique.
    pub phone_number: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A person to be added. `Debug` shows the id only.
#[derive(Clone)]
pub struct NewUser {
    /// The id.
    pub id: UserId,
    /// A unique name, if chosen.
    pub username: Option<String>,
    /// First name; may be empty for somebody known only by number.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Phone number in E.164, unique.
    pub phone_number: String,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Changes to a person: only what is `Some` changes.
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    /// The unique name; `Some(None)` gives it up.
    pub username: Option<Option<String>>,
    /// The line about themselves.
    pub bio: Option<String>,
    /// The picture.
    pub profile_pic: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
}

/// What a member may do. Each role may do what the one below it may: owner, admin, member, listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Hears, but does not speak.
    Listener,
    /// Hears and speaks, adds members.
    Member,
    /// Also removes members and renames.
    Admin,
    /// Also deletes the conversation.
    Owner,
}

impl Role {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role that this word names.
    pub fn parse(text: &str) -> Result<Self> {
        [Self::Listener, Self::Member, Self::Admin, Self::Owner]
            .into_iter()
            .find(|r| r.as_str() == text)
            .ok_or_else(|| {
                Error::new(ErrorKind::Malformed, "a role must be `owner`, `admin`, `member` or `listener`")
            })
    }
}

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The id.
    pub id: ConversationId,
    /// Its title; may be empty.
    pub title: String,
    /// The stored name of its picture; may be empty.
    pub picture: String,
}

/// A conversation to be added.
#[derive(Clone, Debug)]
pub struct NewConversation {
    /// The id.
    pub id: ConversationId,
    /// Its title; may be empty.
    pub title: String,
    /// The stored name of its picture; may be empty.
    pub picture: String,
    /// Who becomes its owner and first member.
    pub owner: UserId,
}

/// Changes to a conversation: only what is `Some` changes.
#[derive(Clone, Debug, Default)]
pub struct ConversationPatch {
    /// The title.
    pub title: Option<String>,
    /// The picture.
    pub picture: Option<String>,
}

/// Somebody in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
}

/// A conversation as one of its members sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The conversation.
    pub conversation: Conversation,
    /// What this member may do.
    pub role: Role,
    /// Whether this member pinned it.
    pub pinned: bool,
    /// How far this member has listened; 0 when not at all.
    pub last_heard: Millis,
}

/// What changed, so that caches and streams can follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Change {
    /// A user was added, changed or deleted.
    User(UserId),
    /// A conversation was added, changed or deleted.
    Conversation(ConversationId),
    /// A member was added, got another role, pinned or unpinned the conversation, or went.
    Member(ConversationId, UserId),
    /// The second became or ceased to be a contact of the first.
    Contact(UserId, UserId),
    /// A session of this user on this device began or ended.
    Session(UserId, DeviceId),
}

/// A change with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEntry {
    /// Position, ascending in commit order.
    pub seq: u64,
    /// What changed.
    pub change: Change,
}

/// Users, conversations, members, contacts, pins, how far each has listened, and the devices they signed in on.
///
/// * Every call is one transaction: all of it or nothing.
/// * A taken phone number or user name is [`crate::ErrorKind::Conflict`] and changes nothing.
/// * What refers to an unknown user or conversation is [`crate::ErrorKind::NotFound`].
/// * Doing a thing twice (adding a member or contact, pinning) succeeds and changes nothing.
/// * Deleting a user ends their memberships, contacts and sessions; deleting a conversation ends its memberships.
/// * The id of a deleted user stays deleted: creating a user with it is a conflict. Number and name are free again.
/// * Every effective change is in `changes`, in the same transaction, whichever process made it.
#[async_trait]
pub trait Directory: Send + Sync + std::fmt::Debug {
    /// What this backend can do.
    fn capability(&self) -> Capability;

    /// Adds a user.
    async fn create_user(&self, user: NewUser) -> Result<User>;
    /// The user of this id.
    async fn user(&self, id: &UserId) -> Result<Option<User>>;
    /// The user with this number, in E.164.
    async fn user_by_phone(&self, phone_number: &str) -> Result<Option<User>>;
    /// The user of this name.
    async fn user_by_username(&self, username: &str) -> Result<Option<User>>;
    /// Changes what the patch names.
    async fn patch_user(&self, id: &UserId, patch: UserPatch) -> Result<User>;
    /// Deletes a user; whether there was one.
    async fn delete_user(&self, id: &UserId) -> Result<bool>;
    /// Users in id order behind `after`, at most `limit`.
    async fn users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<User>>;

    /// Adds a conversation with its owner as the first member. A taken id is a conflict.
    async fn create_conversation(&self, conversation: NewConversation) -> Result<Conversation>;
    /// The conversation of this id.
    async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>>;
    /// Changes what the patch names.
    async fn patch_conversation(&self, id: &ConversationId, patch: ConversationPatch)
    -> Result<Conversation>;
    /// Deletes a conversation; whether there was one. Its bites are the caller's to delete.
    async fn delete_conversation(&self, id: &ConversationId) -> Result<bool>;
    /// Conversations in id order behind `after`, at most `limit`.
    async fn conversations(&self, after: Option<&ConversationId>, limit: usize) -> Result<Vec<Conversation>>;

    /// Adds a member or changes their role.
    async fn put_member(&self, conversation: &ConversationId, user: &UserId, role: Role) -> Result<()>;
    /// Ends a membership; whether there was one.
    async fn remove_member(&self, conversation: &ConversationId, user: &UserId) -> Result<bool>;
    /// The members in user order. Empty for an unknown conversation.
    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>>;
    /// The role of this user there; none when not a member.
    async fn role(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Role>>;
    /// The conversations of this user, in id order.
    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>>;

    /// Pins or unpins a conversation for a member; [`crate::ErrorKind::NotFound`] for others.
    async fn set_pinned(&self, conversation: &ConversationId, user: &UserId, pinned: bool) -> Result<()>;
    /// Notes how far a member has listened. Never moves back; [`crate::ErrorKind::NotFound`] for others.
    async fn set_last_heard(&self, conversation: &ConversationId, user: &UserId, start: Millis)
    -> Result<()>;

    /// Makes `contact` a contact of `owner`.
    async fn put_contact(&self, owner: &UserId, contact: &UserId) -> Result<()>;
    /// Ends that; whether it was so.
    async fn remove_contact(&self, owner: &UserId, contact: &UserId) -> Result<bool>;
    /// The contacts of this user, in id order.
    async fn contacts(&self, owner: &UserId) -> Result<Vec<User>>;

    /// Begins a session. One that the device had before is over.
    async fn put_session(&self, session: Session) -> Result<()>;
    /// Gives the session the refresh token `new` and the end date `expires` if `old` is the good one and `now` lies before
    /// its end: of several that come with the same one, exactly one is renewed. With another `old` the session is ended.
    async fn renew_session(
        &self,
        session: &SessionId,
        old: &Digest,
        new: &Digest,
        now: Millis,
        expires: Millis,
    ) -> Result<Renewal>;
    /// The sessions of this user, in device order.
    async fn sessions(&self, user: &UserId) -> Result<Vec<Session>>;
    /// Ends the session of this device; whether there was one.
    async fn end_session(&self, identity: &Identity) -> Result<bool>;
    /// What a token of this user on this device has to be compared with.
    async fn standing(&self, identity: &Identity) -> Result<Standing>;

    /// The changes behind `after`, ascending, at most `limit`. [`crate::ErrorKind::Invalid`] when some of them are no
    /// longer kept: whoever follows forgets what it knows and begins at the newest.
    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<ChangeEntry>>;
    /// The position of the last change; 0 when there is none.
    async fn last_change(&self) -> Result<u64>;

    /// Rings when `changes` may have grown, wherever that happened, and with [`crate::bus::Signal::Gap`] when rings may
    /// have been missed. None where nothing rings: whoever follows has to look by itself, often.
    async fn bell(&self) -> Result<Option<Box<dyn Subscription>>> {
        Ok(None)
    }

    /// Whether it answers now; the error says why not.
    async fn ready(&self) -> Result<()>;
}
