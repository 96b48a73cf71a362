//! The one gate: asks the directory, remembers the answer until it changes, and mints the proof of permission.

use super::memo::Memo;
use crate::auth::Verified;
use crate::event::Seq;
use crate::id::{ConversationId, DeviceId, Identity, UserId};
use crate::store::{Change, Directory, Role, Standing};
use crate::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What somebody wants to do in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Hear bites, read transcripts, search, see members.
    Listen,
    /// Record bites.
    Speak,
    /// Delete what others said, remove members, rename.
    Moderate,
}

impl Action {
    /// The lowest role that may.
    pub const fn needs(self) -> Role {
        match self {
            Self::Listen => Role::Listener,
            Self::Speak => Role::Member,
            Self::Moderate => Role::Admin,
        }
    }
}

/// Proof that somebody may do something in a conversation. Only a [`Gate`] mints one.
#[derive(Clone, Debug)]
pub struct Grant {
    identity: Identity,
    conversation: ConversationId,
    action: Action,
    role: Role,
}

impl Grant {
    /// Who may.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where.
    pub fn conversation(&self) -> &ConversationId {
        &self.conversation
    }

    /// What.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Whether the holder may also do this there.
    pub fn allows(&self, action: Action) -> bool {
        self.role >= action.needs()
    }
}

const SHARDS: usize = 16;
/// Audiences kept per shard; a full shard is emptied, which costs a directory read each and never a wrong answer.
const AUDIENCES: usize = 16_384;

type Audience = Arc<[UserId]>;

#[derive(Debug, Default)]
struct Shard {
    roles: Memo<ConversationId, UserId, Option<Role>>,
    audiences: HashMap<ConversationId, Audience>,
    standings: Memo<UserId, DeviceId, Standing>,
}

/// Decides from the directory. Any error on the way means denied.
///
/// * An answer is remembered until [`Gate::follow`] sees a change of that membership or session; the pipeline calls it
///   many times a second, so somebody removed or signed out by any process is out within 100 ms.
/// * When the changes cannot be read, everything remembered is forgotten.
#[derive(Debug)]
pub struct Gate {
    directory: Arc<dyn Directory>,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// Counts evictions: an answer read before one is not remembered after it.
    generation: AtomicU64,
    seen: AtomicU64,
}

impl Gate {
    /// A gate over this directory. Call [`Gate::follow`] from then on.
    pub fn new(directory: Arc<dyn Directory>) -> Self {
        Self {
            directory,
            shards: Default::default(),
            hasher: RandomState::new(),
            generation: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    /// Whether whoever this token was issued to may still come with it: nobody deleted them, and the session that it
    /// belongs to, if any, goes on. [`ErrorKind::Unauthenticated`] otherwise, in the words of any other bad token.
    pub async fn admit(&self, token: &Verified) -> Result<()> {
        let Identity { user, device } = &token.identity;
        let remembered = self.shard(user).standings.get(user, device).map(|standing| holds(token, standing));
        let holds = match remembered {
            Some(holds) => holds,
            None => {
                let generation = self.generation.load(Ordering::SeqCst);
                let standing = self.directory.standing(&token.identity).await.map_err(unknown)?;
                let holds = holds(token, &standing);
                let mut shard = self.shard(user);
                if self.generation.load(Ordering::SeqCst) == generation {
                    shard.standings.keep(user, device.clone(), standing);
                }
                holds
            }
        };
        if holds {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unauthenticated, "this token is not valid: sign in again"))
    }

    /// The proof that this user may do this there; [`ErrorKind::Denied`] otherwise, also for unknown conversations.
    pub async fn check(
        &self,
        who: &Identity,
        conversation: &ConversationId,
        action: Action,
    ) -> Result<Grant> {
        match self.role(conversation, &who.user).await? {
            Some(role) if role >= action.needs() => {
                Ok(Grant { identity: who.clone(), conversation: conversation.clone(), action, role })
            }
            _ => Err(Error::new(
                ErrorKind::Denied,
                "you are not a member of this conversation, or may not do this there",
            )),
        }
    }

    /// The proof for whoever already holds the data directory: the offline tool and embedders, never a server route.
    pub fn operator(conversation: &ConversationId, identity: Identity, action: Action) -> Grant {
        Grant { identity, conversation: conversation.clone(), action, role: Role::Owner }
    }

    /// Who an operator is when nobody is named.
    pub fn operator_identity() -> Result<Identity> {
        Ok(Identity { user: UserId::parse("operator")?, device: DeviceId::parse("beep-cli")? })
    }

    /// The role of this user there.
    pub async fn role(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Role>> {
        if let Some(role) = self.shard(conversation).roles.get(conversation, user) {
            return Ok(*role);
        }
        let generation = self.generation.load(Ordering::SeqCst);
        let role = self.directory.role(conversation, user).await.map_err(unknown)?;
        let mut shard = self.shard(conversation);
        if self.generation.load(Ordering::SeqCst) == generation {
            shard.roles.keep(conversation, user.clone(), role);
        }
        Ok(role)
    }

    /// Everybody who may hear this conversation.
    pub async fn audience(&self, conversation: &ConversationId) -> Result<Audience> {
        if let Some(audience) = self.shard(conversation).audiences.get(conversation) {
            return Ok(audience.clone());
        }
        let generation = self.generation.load(Ordering::SeqCst);
        let members = self.directory.members(conversation).await.map_err(unknown)?;
        let audience: Audience = members.into_iter().map(|m| m.user).collect();
        let mut shard = self.shard(conversation);
        if self.generation.load(Ordering::SeqCst) == generation {
            if shard.audiences.len() >= AUDIENCES {
                shard.audiences.clear();
            }
            shard.audiences.insert(conversation.clone(), audience.clone());
        }
        Ok(audience)
    }

    /// The conversations that this user may hear.
    pub async fn hears(&self, user: &UserId) -> Result<Vec<ConversationId>> {
        let memberships = self.directory.memberships(user).await.map_err(unknown)?;
        Ok(memberships.into_iter().map(|m| m.conversation.id).collect())
    }

    /// Begins to follow: what changed before is not remembered anyway.
    pub async fn begin(&self) -> Result<()> {
        self.forget();
        let last = self.directory.last_change().await?;
        self.seen.store(last, Ordering::SeqCst);
        // What was looked up meanwhile may be older than `last`, and nothing up to there is followed any more.
        self.forget();
        Ok(())
    }

    /// Reads what changed and forgets the answers that it touches. On an error it forgets everything, and whoever waits
    /// for a change of their own must ask again.
    pub async fn follow(&self) -> Result<Vec<Change>> {
        let mut changed = Vec::new();
        loop {
            let after: Seq = self.seen.load(Ordering::SeqCst);
            let page = match self.directory.changes(after, 1_000).await {
                Ok(page) => page,
                Err(e) => {
                    self.forget();
                    return Err(e);
                }
            };
            let Some(last) = page.last().map(|e| e.seq) else { return Ok(changed) };
            self.generation.fetch_add(1, Ordering::SeqCst);
            for entry in page {
                self.evict(&entry.change);
                changed.push(entry.change);
            }
            self.seen.store(last, Ordering::SeqCst);
        }
    }

    /// The last change that it knows of, whoever called [`Gate::follow`].
    pub fn followed(&self) -> Seq {
        self.seen.load(Ordering::SeqCst)
    }

    fn evict(&self, change: &Change) {
        match change {
            Change::Member(conversation, user) => {
                let mut shard = self.shard(conversation);
                shard.roles.forget(conversation, user);
                shard.audiences.remove(conversation);
            }
            Change::Conversation(conversation) => {
                let mut shard = self.shard(conversation);
                shard.roles.forget_all(conversation);
                shard.audiences.remove(conversation);
            }
            Change::Session(user, device) => self.shard(user).standings.forget(user, device),
            Change::User(user) => self.shard(user).standings.forget_all(user),
            Change::Contact(..) => {}
        }
    }

    fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        for shard in &self.shards {
            *lock(shard) = Shard::default();
        }
    }

    fn shard(&self, of: &impl Hash) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(of) as usize % SHARDS])
    }
}

fn holds(token: &Verified, standing: &Standing) -> bool {
    !standing.deleted && (token.session.is_none() || token.session == standing.session)
}

/// A panic while a shard was locked leaves a consistent map behind: every change to one is a single call.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown(e: Error) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "whether you may do this cannot be told now: the directory does not answer",
    )
    .with_source(e)
}
