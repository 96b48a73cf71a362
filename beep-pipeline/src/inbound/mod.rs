//! The way in: accept, then record with a grant. The commit is the only point where something becomes true.

mod accept;
mod record;

pub use accept::{Accepted, MAX_ATTACHMENT, accept, accept_attachment};
pub use record::{Recorded, Utterance};
pub(crate) use record::{attach, record};
