//! Erasing a conversation or an account with what was said: page by page, and begun again where it was interrupted.

use super::People;
use super::members::heir;
use super::turns::turn;
use beep_core::bite::{BiteKey, Label, MAX_PAGE, ScanRange};
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{Member, Role};
use beep_core::{ErrorKind, Result};
use futures_util::future::try_join_all;

/// Bites deleted at once: enough to share commits, few beside what the store's queue takes from everybody else.
const AT_ONCE: usize = 32;

impl People<'_> {
    /// Erases the asker's account: what they recorded, everywhere, with transcripts and search entries; their files;
    /// the conversations in which they were alone; then themselves. Where they were the last owner, the highest of
    /// the others becomes owner.
    ///
    /// The account goes last: while anything is left, calling again goes on with it.
    pub async fn delete_user(&self, asker: &UserId) -> Result<()> {
        self.known(asker).await?;
        // Out of every conversation first, so that nothing new is recorded behind the sweep.
        for membership in self.directory().memberships(asker).await? {
            self.withdraw(asker, &membership.conversation.id).await?;
        }
        // Everywhere: they may have spoken in conversations that they left since.
        let mut after = None;
        loop {
            let page = self.directory().conversations(after.as_ref(), MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for conversation in page {
                self.erase_bites(&conversation.id, Some(asker)).await?;
            }
        }
        let blobs = &self.stores.blobs;
        for name in blobs.owned_by(asker).await? {
            blobs.delete(&name).await?;
        }
        self.directory().delete_user(asker).await?;
        self.noticed().await;
        Ok(())
    }

    /// Takes a user out of a conversation, which gets another owner where it needs one, or ends where nobody is left.
    async fn withdraw(&self, user: &UserId, conversation: &ConversationId) -> Result<()> {
        let turn = turn(conversation).await;
        let mut others = self.directory().members(conversation).await?;
        others.retain(|m| m.user != *user);
        let Some(Member { user: heir, role }) = heir(&others) else {
            drop(turn);
            return self.erase_conversation(conversation).await;
        };
        // Before the owner is gone: whoever is interrupted here leaves two owners, never none.
        if *role != Role::Owner {
            let was = self.directory().role(conversation, user).await?;
            if was == Some(Role::Owner) {
                self.directory().put_member(conversation, heir, Role::Owner).await?;
            }
        }
        self.directory().remove_member(conversation, user).await?;
        self.noticed().await;
        Ok(())
    }

    /// Deletes a conversation with everything said there.
    ///
    /// The bites go first: were the conversation gone, nobody could ask for the rest to be deleted.
    pub(super) async fn erase_conversation(&self, conversation: &ConversationId) -> Result<()> {
        self.erase_bites(conversation, None).await?;
        self.directory().delete_conversation(conversation).await?;
        self.noticed().await;
        // What was still said meanwhile; from here on nobody may speak there.
        self.erase_bites(conversation, None).await
    }

    /// Deletes the bites of a conversation, or of one author in it, with what belongs to them.
    async fn erase_bites(&self, conversation: &ConversationId, author: Option<&UserId>) -> Result<()> {
        let mut range = Some(ScanRange::all());
        while let Some(r) = range {
            let page = self.stores.bites.scan(Label::Bite, conversation, r).await?;
            range = page.starts.last().filter(|_| page.continues(&r)).and_then(|last| r.after(*last));
            for starts in page.starts.chunks(AT_ONCE) {
                try_join_all(starts.iter().map(|start| self.erase_bite(conversation, *start, author)))
                    .await?;
                // A store in memory answers without ever waiting, and others want this thread as well.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn erase_bite(
        &self,
        conversation: &ConversationId,
        start: Millis,
        author: Option<&UserId>,
    ) -> Result<()> {
        let bites = &self.stores.bites;
        let erased = async {
            if let Some(author) = author {
                let key = BiteKey::new(Label::Bite, conversation.clone(), start);
                if bites.head(&key).await?.is_none_or(|meta| meta.author.user != *author) {
                    return Ok(None);
                }
            }
            bites.delete(conversation, start, self.clock.now()).await
        };
        match erased.await {
            Ok(Some(entry)) => self.bell.announce(&entry).await,
            Ok(None) => {}
            // Whose it is cannot be read. It must not keep everything else from being erased.
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                tracing::error!(%conversation, start, error = %e, "a damaged bite cannot be erased; `verify` names it");
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }
}
