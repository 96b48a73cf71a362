//! The way out: tell whoever may hear, and answer questions.

mod mailbox;
mod notify;
mod query;

pub(crate) use mailbox::Mailbox;
pub use mailbox::{Delivery, MAX_QUEUED_BYTES, STALL};
pub(crate) use notify::Notifier;
pub use notify::{MAX_REPLAY, Notice, Reader};
pub use query::{Query, TranscriptState};
