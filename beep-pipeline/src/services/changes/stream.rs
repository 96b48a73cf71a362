//! One connected stream: what its reader has been told, and what a change is to them: news, another look or an end.

use super::event::Object;
use crate::outbound::{Mailbox, Notice};
use beep_core::auth::Verified;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{Conversation, Membership, Role};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A conversation as it was told: enough to see that it looks as before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Looks {
    sum: u64,
    pinned: bool,
}

impl Looks {
    pub(super) fn of(membership: &Membership) -> Self {
        Self { sum: sum(&membership.conversation), pinned: membership.pinned }
    }
}

fn sum(conversation: &Conversation) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&conversation.title, &conversation.picture).hash(&mut hasher);
    hasher.finish()
}

/// What a reader has been told. It holds ids and no objects, and never more of them than the lists that its reader may
/// get.
#[derive(Debug)]
pub(super) enum Known {
    /// Users, and which of them are contacts: for the others a conversation must be shared.
    Users {
        contacts: HashSet<UserId>,
        told: HashSet<UserId>,
    },
    Contacts(HashSet<UserId>),
    Conversations(HashMap<ConversationId, Looks>),
    Members(ConversationId, HashMap<UserId, Role>),
}

/// The conversations of one user and who else is in them, as the directory has it now.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) members: HashMap<ConversationId, HashMap<UserId, Role>>,
}

impl Places {
    /// Whether this user is in one of them.
    pub(super) fn have(&self, user: &UserId) -> bool {
        self.members.values().any(|members| members.contains_key(user))
    }

    /// Everybody in them.
    pub(super) fn everybody(&self) -> HashSet<UserId> {
        self.members.values().flat_map(|members| members.keys().cloned()).collect()
    }
}

/// Its methods answer whether the stream goes on.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) token: Arc<Verified>,
    /// The last change before it began: what its reader has been told holds that one already.
    pub(super) after: u64,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) known: Known,
}

impl Stream {
    pub(super) fn reader(&self) -> &UserId {
        &self.token.identity.user
    }

    pub(super) fn is_of_users(&self) -> bool {
        matches!(self.known, Known::Users { .. })
    }

    pub(super) fn is_of_members(&self, conversation: &ConversationId) -> bool {
        matches!(&self.known, Known::Members(own, _) if own == conversation)
    }

    /// Whether this user is to the reader more than a name never heard.
    pub(super) fn knows(&self, user: &UserId) -> bool {
        match &self.known {
            Known::Users { told, .. } => told.contains(user) || self.reader() == user,
            Known::Contacts(told) => told.contains(user),
            Known::Conversations(_) => false,
            Known::Members(_, told) => told.contains_key(user),
        }
    }

    /// A user was added, changed or deleted.
    pub(super) fn user(
        &mut self,
        user: &UserId,
        object: &Object,
        places: &Places,
        participants: &HashMap<ConversationId, Object>,
    ) -> bool {
        let Self { token, mailbox, known, .. } = self;
        let me = &token.identity.user;
        match known {
            Known::Users { contacts, told } => {
                let sees = me == user || contacts.contains(user) || places.have(me);
                shift(told, mailbox, user, sees, true, object)
            }
            Known::Contacts(told) => {
                let sees = told.contains(user);
                shift(told, mailbox, user, sees, true, object)
            }
            Known::Conversations(_) => true,
            Known::Members(conversation, told) => {
                let seats = places.members.get(conversation).filter(|seats| seats.contains_key(me));
                // Whoever is out by now is told so by a change of their own, which is still to come.
                let (Some(seats), Some(object)) = (seats, participants.get(conversation)) else {
                    return true;
                };
                match (told.get_mut(user), seats.get(user)) {
                    (Some(old), Some(new)) => {
                        *old = *new;
                        push(mailbox, object.update.as_ref())
                    }
                    _ => true,
                }
            }
        }
    }

    /// A member of this conversation came, changed or went: for a stream of its members.
    pub(super) fn member(&mut self, user: &UserId, seats: &HashMap<UserId, Role>, object: &Object) -> bool {
        let Self { token, mailbox, known, .. } = self;
        let Known::Members(_, told) = known else { return true };
        // Before anything else: what happens behind their back is not theirs to hear.
        if !seats.contains_key(&token.identity.user) {
            return false;
        }
        match (told.get(user).copied(), seats.get(user).copied().filter(|_| object.is_there())) {
            (None, Some(role)) => {
                told.insert(user.clone(), role);
                push(mailbox, object.add.as_ref())
            }
            (Some(old), Some(new)) if old != new => {
                told.insert(user.clone(), new);
                push(mailbox, object.update.as_ref())
            }
            (Some(_), None) => {
                told.remove(user);
                mailbox.push(&object.delete)
            }
            _ => true,
        }
    }

    /// Somebody else came to, or went from, where the reader of a stream of users may be.
    pub(super) fn companion(&mut self, user: &UserId, object: &Object, places: &Places) -> bool {
        let Self { token, mailbox, known, .. } = self;
        let Known::Users { contacts, told } = known else { return true };
        let sees = contacts.contains(user) || places.have(&token.identity.user);
        shift(told, mailbox, user, sees, false, object)
    }

    /// Somebody became or ceased to be a contact of the reader of a stream of contacts.
    pub(super) fn contact(&mut self, contact: &UserId, is_one: bool, object: &Object) -> bool {
        let Known::Contacts(told) = &mut self.known else { return true };
        shift(told, &self.mailbox, contact, is_one, false, object)
    }

    /// The reader came to a conversation, left it or pinned it.
    pub(super) fn membership(
        &mut self,
        conversation: &ConversationId,
        looks: Option<Looks>,
        object: &Object,
    ) -> bool {
        let Known::Conversations(told) = &mut self.known else { return true };
        match (told.get(conversation).copied(), looks) {
            (None, Some(looks)) => {
                told.insert(conversation.clone(), looks);
                push(&self.mailbox, object.add.as_ref())
            }
            (Some(old), Some(new)) if old != new => {
                told.insert(conversation.clone(), new);
                push(&self.mailbox, object.update.as_ref())
            }
            (Some(_), None) => {
                told.remove(conversation);
                self.mailbox.push(&object.delete)
            }
            _ => true,
        }
    }

    /// A conversation was added, changed or deleted; `objects` are how those see it who did not pin it, and who did.
    pub(super) fn conversation(
        &mut self,
        id: &ConversationId,
        found: Option<&Conversation>,
        seats: &HashMap<UserId, Role>,
        objects: &[Object; 2],
    ) -> bool {
        let Self { token, mailbox, known, .. } = self;
        let within = seats.contains_key(&token.identity.user);
        match known {
            Known::Users { .. } | Known::Contacts(_) => true,
            Known::Members(own, _) => own != id || within,
            Known::Conversations(told) => match (told.get_mut(id), found.filter(|_| within)) {
                (None, _) => true,
                (Some(looks), Some(conversation)) => {
                    let now = sum(conversation);
                    if looks.sum == now {
                        return true;
                    }
                    looks.sum = now;
                    push(mailbox, objects[usize::from(looks.pinned)].update.as_ref())
                }
                (Some(_), None) => {
                    told.remove(id);
                    mailbox.push(&objects[0].delete)
                }
            },
        }
    }
}

/// Tells of a user whom the reader sees from now on, no longer, or still.
pub(super) fn shift(
    told: &mut HashSet<UserId>,
    mailbox: &Mailbox,
    user: &UserId,
    sees: bool,
    changed: bool,
    object: &Object,
) -> bool {
    match (told.contains(user), sees && object.is_there()) {
        (false, true) => {
            told.insert(user.clone());
            push(mailbox, object.add.as_ref())
        }
        (true, false) => {
            told.remove(user);
            mailbox.push(&object.delete)
        }
        (true, true) if changed => push(mailbox, object.update.as_ref()),
        _ => true,
    }
}

fn push(mailbox: &Mailbox, notice: Option<&Arc<Notice>>) -> bool {
    notice.is_none_or(|notice| mailbox.push(notice))
}
