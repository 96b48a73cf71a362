//! What was said, as text with times.

use serde::{Deserialize, Serialize};

/// One recognised word. Times count from the beginning of the bite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word.
    pub word: String,
    /// Where it begins, in milliseconds.
    pub start_ms: u64,
    /// Where it ends, in milliseconds.
    pub end_ms: u64,
    /// How sure the engine is, from 0 to 1.
    pub confidence: f32,
}

/// The transcript of one bite, as stored under [`crate::bite::Label::Transcription`] and sent as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// The words with single spaces between; empty when nothing was recognised.
    pub text: String,
    /// Each word with its time.
    pub words: Vec<Word>,
    /// BCP 47 language of the model, `und` when unknown.
    pub language: String,
    /// Engine and model, such as `vosk/model-digits`.
    pub model: String,
}

impl Transcript {
    /// The media type under which transcripts are stored.
    pub const MEDIA_TYPE: &'static str = "application/json";
}
