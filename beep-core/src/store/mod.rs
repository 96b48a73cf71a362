//! What Beep keeps and where: one trait per kind of store, each with its guarantees; backends differ in speed only.

mod bites;
mod blobs;
mod directory;
mod ephemeral;
mod forward;
mod search;
mod session;

pub use bites::{BiteStore, BiteStoreExt, CorruptRecord, NewBite, Parked, Put, Start, VerifyPage};
pub use blobs::{Blob, BlobStore, NewBlob};
pub use directory::{
    Change, ChangeEntry, Conversation, ConversationPatch, Directory, Member, Membership, NewConversation,
    NewUser, Role, User, UserPatch,
};
pub use ephemeral::Ephemeral;
pub use search::{SearchCursor, SearchDocument, SearchHit, SearchIndex, SearchPage, SearchQuery};
pub use session::{Renewal, Session, Standing};

use std::sync::Arc;

/// What a backend can do; callers ask this instead of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// What was answered survives `kill -9` and power loss.
    pub durable: bool,
    /// Other processes may write to the same store while it is open.
    pub shared: bool,
    /// Those processes may run on other machines: workers have to agree on who does what.
    pub networked: bool,
}

impl Capability {
    /// A store on this machine.
    pub const fn new(durable: bool, shared: bool) -> Self {
        Self { durable, shared, networked: false }
    }

    /// A store that several machines reach over the network.
    pub const fn networked(durable: bool) -> Self {
        Self { durable, shared: true, networked: true }
    }
}

/// Every store of one installation.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Bites, what belongs to them, the log and the workers' cursors.
    pub bites: Arc<dyn BiteStore>,
    /// Users, conversations, members, contacts.
    pub directory: Arc<dyn Directory>,
    /// Full text of the transcripts.
    pub search: Arc<dyn SearchIndex>,
    /// Pictures.
    pub blobs: Arc<dyn BlobStore>,
    /// Values with an end date and counters.
    pub ephemeral: Arc<dyn Ephemeral>,
}
