//! Workers: each follows the log from its own durable cursor and may do an entry twice without harm.

mod follow;
mod index;
mod lease;
mod transcribe;

pub(crate) use follow::Follower;
pub(crate) use index::IndexWorker;
pub(crate) use lease::Leases;
pub(crate) use transcribe::TranscribeWorker;
pub use transcribe::{MAX_ATTEMPTS, MAX_TRANSCRIBED_MS};

/// The cursor of the transcription workers.
pub const TRANSCRIBE: &str = "transcribe";
/// The cursor of the workers that fill the search index.
pub const INDEX: &str = "index";
