//! What may be done with people, conversations, members and contacts: every call takes who asks and checks everything.

mod contacts;
mod conversations;
mod erase;
mod members;
mod rules;
mod turns;
mod users;

pub use contacts::MAX_ADDED;
pub use conversations::{MAX_UNHEARD, Overview};
pub use members::Participant;
pub(super) use rules::check_patch;
pub use users::{MAX_LOOKUPS, NewPerson, Profile};

use crate::bus::Bell;
use crate::services::changes::Changes;
use beep_core::clock::{Clock, Entropy};
use beep_core::id::{ConversationId, UserId};
use beep_core::permission::{Action, Gate};
use beep_core::store::{Directory, Role, Stores, User};
use beep_core::{Error, ErrorKind, Result};

/// The people of an installation and what they share.
///
/// * To somebody who is not in a conversation, every call answers [`ErrorKind::NotFound`], whether or not there is one.
///   A member whose role does not allow the call gets [`ErrorKind::Denied`].
/// * Calls that change a conversation or its members take turns: in this process a check of a role holds until what it
///   allowed is done.
/// * When a call that changes a membership returns, this process goes by the change. Others follow within 100 ms.
/// * [`ErrorKind::Malformed`] is what cannot be read, [`ErrorKind::Invalid`] what can but must not be, such as a name
///   that is too long.
#[derive(Clone, Copy, Debug)]
pub struct People<'a> {
    pub(crate) stores: &'a Stores,
    pub(crate) gate: &'a Gate,
    pub(crate) bell: &'a Bell,
    pub(crate) changes: &'a Changes,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) entropy: &'a dyn Entropy,
}

impl People<'_> {
    fn directory(&self) -> &dyn Directory {
        &*self.stores.directory
    }

    /// The user of this id, who must be there.
    async fn known(&self, id: &UserId) -> Result<User> {
        self.directory().user(id).await?.ok_or_else(no_user)
    }

    /// The role of a member; a stranger is not told whether there is such a conversation.
    async fn role(&self, asker: &UserId, conversation: &ConversationId) -> Result<Role> {
        self.gate.role(conversation, asker).await?.ok_or_else(no_conversation)
    }

    /// The role of a member who may do this there.
    async fn may(&self, asker: &UserId, conversation: &ConversationId, action: Action) -> Result<Role> {
        let role = self.role(asker, conversation).await?;
        if role < action.needs() {
            return Err(denied("your role in this conversation does not allow that"));
        }
        Ok(role)
    }

    /// Lets the gate see a change of memberships before it is answered.
    async fn noticed(&self) {
        self.changes.ring();
        if let Err(e) = self.gate.follow().await {
            // The gate has forgotten everything that it knew, so it goes by nothing old either.
            tracing::warn!(error = %e, "a change of members was made, and the gate could not read it");
        }
    }
}

fn no_user() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such user")
}

pub(super) fn no_conversation() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such conversation among yours")
}

fn denied(why: &str) -> Error {
    Error::new(ErrorKind::Denied, why)
}
