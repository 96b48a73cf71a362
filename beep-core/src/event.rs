//! What the ordered log of a bite store records: every change, once, in commit order.

use crate::bite::{BiteKey, Label};
use crate::clock::Millis;
use crate::id::Identity;
use serde::{Deserialize, Serialize};

/// A position in the log. The first entry is 1; 0 stands before everything.
pub type Seq = u64;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// A record was stored: a bite, something attached to it, or its transcript.
    Stored {
        /// Its key.
        key: BiteKey,
        /// Whose bite it is or belongs to.
        author: Identity,
    },
    /// A bite and what belonged to it was deleted.
    Deleted {
        /// The key of the bite.
        key: BiteKey,
        /// Whose bite it was.
        author: Identity,
    },
    /// A worker gave up on a bite; it is parked.
    Failed {
        /// The key of the bite.
        key: BiteKey,
        /// Whose bite it is.
        author: Identity,
        /// One sentence for the author.
        reason: String,
    },
}

impl Event {
    /// The key that it is about.
    pub fn key(&self) -> &BiteKey {
        match self {
            Self::Stored { key, .. } | Self::Deleted { key, .. } | Self::Failed { key, .. } => key,
        }
    }

    /// Whose bite it is about.
    pub fn author(&self) -> &Identity {
        match self {
            Self::Stored { author, .. } | Self::Deleted { author, .. } | Self::Failed { author, .. } => {
                author
            }
        }
    }

    /// Whether a new bite was stored.
    pub fn is_new_bite(&self) -> bool {
        matches!(self, Self::Stored { key, .. } if key.label == Label::Bite)
    }
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its position.
    pub seq: Seq,
    /// When it was committed, by the clock of the server that did.
    pub at: Millis,
    /// What happened.
    pub event: Event,
}
