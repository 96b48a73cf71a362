//! What turns samples into words.

use crate::Result;
use crate::transcript::Transcript;
use async_trait::async_trait;
use std::sync::Arc;

/// Samples per second that every transcriber is given.
pub const SAMPLE_RATE: u32 = 16_000;

/// A speech recogniser.
///
/// * Takes 16 kHz mono samples of any length; none or silence gives an empty text, not an error.
/// * Does not block the calling thread and keeps to [`Transcriber::parallelism`] by itself.
/// * The same samples give the same text.
/// * Dropping the future gives its place back.
#[async_trait]
pub trait Transcriber: Send + Sync + std::fmt::Debug {
    /// Engine and model, such as `vosk/model-digits`.
    fn model(&self) -> &str;

    /// How many bites it is worth giving it at once.
    fn parallelism(&self) -> usize;

    /// Recognises what is said.
    async fn transcribe(&self, samples: Arc<[i16]>) -> Result<Transcript>;
}
