//! Members: added, given roles, removed; and the rule that a conversation always has an owner.

use super::turns::turn;
use super::users::Profile;
use super::{People, denied};
use beep_core::auth::{Scope, Verified};
use beep_core::id::{ConversationId, UserId};
use beep_core::permission::Action;
use beep_core::store::{Member, Role};
use beep_core::{Error, ErrorKind, Result};
use serde::Serialize;

/// Somebody in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Participant {
    /// Who.
    #[serde(flatten)]
    pub profile: Profile,
    /// What they may do.
    pub role: Role,
}

impl People<'_> {
    /// The members, in user order.
    pub async fn members(&self, asker: &UserId, conversation: &ConversationId) -> Result<Vec<Participant>> {
        self.may(asker, conversation, Action::Listen).await?;
        let mut participants = Vec::new();
        for Member { user, role } in self.directory().members(conversation).await? {
            // None: deleted since the members were read.
            if let Some(user) = self.directory().user(&user).await? {
                participants.push(Participant { profile: Profile::with_number(user), role });
            }
        }
        Ok(participants)
    }

    /// Adds a member, as [`Role::Member`] unless a role is given, or gives one who is there another role. Without a
    /// role, somebody who is there stays what they are.
    ///
    /// * Members add members and listeners; admins also add admins; owners also owners.
    /// * Roles are changed by admins and owners, of those who are not above them, up to their own.
    ///
    /// [`ErrorKind::Denied`] otherwise, [`ErrorKind::NotFound`] for an unknown user, [`ErrorKind::Conflict`] when the
    /// last owner would cease to be one.
    pub async fn put_member(
        &self,
        asker: &UserId,
        conversation: &ConversationId,
        user: &UserId,
        role: Option<Role>,
    ) -> Result<()> {
        let _turn = turn(conversation).await;
        let own = self.may(asker, conversation, Action::Speak).await?;
        self.known(user).await?;
        // From the directory itself: what is decided here is written back.
        let present = self.directory().role(conversation, user).await?;
        let new = match (present, role) {
            (Some(_), None) => return Ok(()),
            (Some(present), Some(new)) if present == new => return Ok(()),
            (Some(present), Some(new)) => {
                if own < Action::Moderate.needs() || present > own || new > own {
                    return Err(denied("your role does not let you give this user this role"));
                }
                if present == Role::Owner {
                    self.another_owner(conversation, user).await?;
                }
                new
            }
            (None, new) => {
                let new = new.unwrap_or(Role::Member);
                if new > own {
                    return Err(denied("nobody may give a role above their own"));
                }
                new
            }
        };
        self.directory().put_member(conversation, user, new).await?;
        self.noticed().await;
        if present == Some(Role::Owner) {
            self.keep_an_owner(conversation).await?;
        }
        Ok(())
    }

    /// Ends a membership: one's own, or as an admin or owner that of somebody who is not above.
    ///
    /// [`ErrorKind::NotFound`] when they are no member, [`ErrorKind::Conflict`] for the last owner, who has to make
    /// somebody else owner or to delete the conversation.
    pub async fn remove_member(
        &self,
        asker: &UserId,
        conversation: &ConversationId,
        user: &UserId,
    ) -> Result<()> {
        let _turn = turn(conversation).await;
        let own = self.role(asker, conversation).await?;
        if asker != user && own < Action::Moderate.needs() {
            return Err(denied("only an admin or owner may remove others"));
        }
        let none = || Error::new(ErrorKind::NotFound, "this user is not in this conversation");
        let role = self.directory().role(conversation, user).await?.ok_or_else(none)?;
        if asker != user && role > own {
            return Err(denied("an admin cannot remove an owner"));
        }
        self.leave(conversation, user, role).await
    }

    /// Whether a user is in a conversation. Only the user, a service and an operator may ask.
    pub async fn is_member(
        &self,
        asker: &Verified,
        user: &UserId,
        conversation: &ConversationId,
    ) -> Result<bool> {
        if asker.identity.user != *user && !matches!(asker.scope, Scope::Service | Scope::Admin) {
            return Err(denied("only the user themselves, a service or an operator may ask this"));
        }
        Ok(self.gate.role(conversation, user).await?.is_some())
    }

    /// Ends a membership unless it is that of the last owner. Within the caller's turn.
    pub(super) async fn leave(&self, conversation: &ConversationId, user: &UserId, role: Role) -> Result<()> {
        if role == Role::Owner {
            self.another_owner(conversation, user).await?;
        }
        self.directory().remove_member(conversation, user).await?;
        self.noticed().await;
        if role == Role::Owner {
            self.keep_an_owner(conversation).await?;
        }
        Ok(())
    }

    /// [`ErrorKind::Conflict`] unless somebody besides this user owns the conversation.
    async fn another_owner(&self, conversation: &ConversationId, user: &UserId) -> Result<()> {
        let members = self.directory().members(conversation).await?;
        if members.iter().any(|m| m.role == Role::Owner && m.user != *user) {
            return Ok(());
        }
        let why = "the last owner cannot go: make somebody else owner, or delete the conversation";
        Err(Error::new(ErrorKind::Conflict, why))
    }

    /// Two owners who go at the same moment, by different processes, each see the other as the one who stays: then there
    /// is an heir after all.
    async fn keep_an_owner(&self, conversation: &ConversationId) -> Result<()> {
        let members = self.directory().members(conversation).await?;
        if members.iter().any(|m| m.role == Role::Owner) {
            return Ok(());
        }
        let Some(heir) = heir(&members) else { return Ok(()) };
        self.directory().put_member(conversation, &heir.user, Role::Owner).await?;
        self.noticed().await;
        Ok(())
    }
}

/// Who owns a conversation when its last owner is gone: the highest of the others, the first of them in user order.
pub(super) fn heir(members: &[Member]) -> Option<&Member> {
    let highest = members.iter().map(|m| m.role).max()?;
    members.iter().find(|m| m.role == highest)
}
