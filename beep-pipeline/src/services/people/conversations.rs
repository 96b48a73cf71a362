//! Conversations: made, named, pinned, listened to and ended.

use super::rules::check_looks;
use super::turns::turn;
use super::{People, no_conversation};
use beep_core::Result;
use beep_core::bite::{Label, MAX_PAGE, ScanRange};
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, UserId};
use beep_core::permission::Action;
use beep_core::store::{ConversationPatch, Membership, NewConversation, Role};

/// Unheard bites are counted up to here, and more are told as so many: one page of a scan, so that a list of
/// conversations costs the same however much was said since.
pub const MAX_UNHEARD: usize = MAX_PAGE;

/// A conversation as one of its members sees it, with what was said there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The conversation and the asker's place in it.
    pub membership: Membership,
    /// The start of the newest bite.
    pub last_bite: Option<Millis>,
    /// How many bites are newer than what the asker has heard, at most [`MAX_UNHEARD`].
    pub unheard: usize,
}

impl People<'_> {
    /// Makes a conversation; the asker is its owner and first member.
    pub async fn create_conversation(
        &self,
        asker: &UserId,
        title: String,
        picture: String,
    ) -> Result<Membership> {
        check_looks(Some(&title), Some(&picture))?;
        let id = ConversationId::random(self.entropy)?;
        let new = NewConversation { id, title, picture, owner: asker.clone() };
        let conversation = self.directory().create_conversation(new).await?;
        self.noticed().await;
        Ok(Membership { conversation, role: Role::Owner, pinned: false, last_heard: 0 })
    }

    /// The conversations of the asker, in id order.
    pub async fn conversations(&self, asker: &UserId) -> Result<Vec<Overview>> {
        let mut all = Vec::new();
        for membership in self.directory().memberships(asker).await? {
            all.push(self.overview(membership).await?);
        }
        Ok(all)
    }

    /// One conversation of the asker.
    pub async fn conversation(&self, asker: &UserId, id: &ConversationId) -> Result<Overview> {
        self.may(asker, id, Action::Listen).await?;
        self.overview(self.membership(asker, id).await?).await
    }

    /// Changes what the patch names; for owner and admins.
    pub async fn patch_conversation(
        &self,
        asker: &UserId,
        id: &ConversationId,
        patch: ConversationPatch,
    ) -> Result<Membership> {
        let _turn = turn(id).await;
        self.may(asker, id, Action::Moderate).await?;
        check_looks(patch.title.as_deref(), patch.picture.as_deref())?;
        let conversation = self.directory().patch_conversation(id, patch).await?;
        self.changes.ring();
        Ok(Membership { conversation, ..self.membership(asker, id).await? })
    }

    /// An owner ends the conversation for all, with everything said there; any other member leaves it. What was
    /// interrupted goes on when it is called again.
    pub async fn delete_conversation(&self, asker: &UserId, id: &ConversationId) -> Result<()> {
        let turn = turn(id).await;
        match self.role(asker, id).await? {
            Role::Owner => {
                drop(turn); // thousands of bites may have to go, and nobody else can bring the conversation back
                self.erase_conversation(id).await
            }
            role => self.leave(id, asker, role).await,
        }
    }

    /// Pins or unpins a conversation for the asker.
    pub async fn set_pinned(&self, asker: &UserId, id: &ConversationId, pinned: bool) -> Result<()> {
        self.may(asker, id, Action::Listen).await?;
        self.directory().set_pinned(id, asker, pinned).await?;
        self.changes.ring();
        Ok(())
    }

    /// Notes how far the asker has listened, and answers what stands now: it never moves back.
    pub async fn set_last_heard(&self, asker: &UserId, id: &ConversationId, start: Millis) -> Result<Millis> {
        self.may(asker, id, Action::Listen).await?;
        self.directory().set_last_heard(id, asker, start).await?;
        Ok(self.membership(asker, id).await?.last_heard)
    }

    /// How far the asker has listened; 0 when not at all.
    pub async fn last_heard(&self, asker: &UserId, id: &ConversationId) -> Result<Millis> {
        self.may(asker, id, Action::Listen).await?;
        Ok(self.membership(asker, id).await?.last_heard)
    }

    async fn membership(&self, asker: &UserId, id: &ConversationId) -> Result<Membership> {
        let memberships = self.directory().memberships(asker).await?;
        memberships.into_iter().find(|m| m.conversation.id == *id).ok_or_else(no_conversation)
    }

    async fn overview(&self, membership: Membership) -> Result<Overview> {
        let (bites, id) = (&self.stores.bites, &membership.conversation.id);
        let end = bites.scan(Label::Bite, id, ScanRange::new(Millis::MAX, Millis::MAX, 1)?).await?;
        let last_bite = end.starts.last().copied().or(end.previous);
        let unheard = match membership.last_heard.checked_add(1) {
            Some(from) if last_bite.is_some_and(|last| last >= from) => {
                let range = ScanRange::new(from, Millis::MAX, MAX_UNHEARD)?;
                bites.scan(Label::Bite, id, range).await?.starts.len()
            }
            _ => 0,
        };
        Ok(Overview { membership, last_bite, unheard })
    }
}
