//! Samples to words with one model: the only file that calls the `vosk` crate.
//!
//! libvosk dies of some arguments instead of refusing them: a sample rate outside 8 to 48 kHz, broken grammars, NLSML
//! results. None of them is reachable from here: the rate is fixed and there is no grammar.

use beep_core::transcriber::SAMPLE_RATE;
use beep_core::transcript::Word;
use beep_core::{Error, ErrorKind, Result};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use vosk::{CompleteResult, DecodingState, LogLevel, Model, Recognizer};

/// Half a second: short enough to notice an abandoned job and the end of a sentence, long enough to cost nothing.
const CHUNK: usize = SAMPLE_RATE as usize / 2;

/// Less than one feature frame (25 ms) cannot hold a word.
const SHORTEST: usize = SAMPLE_RATE as usize / 40;

/// A model that has proved that it recognises.
pub(super) struct LoadedModel {
    path: PathBuf,
    model: Model,
}

impl fmt::Debug for LoadedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LoadedModel").field(&self.path).finish()
    }
}

impl LoadedModel {
    /// Loads the model and tries it: a damaged graph shows only when a recogniser is made of it. libvosk must be loaded.
    pub(super) fn open(path: &Path) -> Result<Self> {
        super::add::check_files(path)?;
        vosk::set_log_level(LogLevel::Error);
        let invalid = |what: &str| Error::new(ErrorKind::Invalid, format!("{} {what}", path.display()));
        let broken = || invalid("is not a whole Vosk model: libvosk refused it; add it again");
        let name =
            path.to_str().ok_or_else(|| invalid("is not UTF-8, so libvosk cannot open it; move it"))?;
        let loaded = Self { model: Model::new(name).ok_or_else(broken)?, path: path.to_path_buf() };
        decode(&loaded, &[0; SAMPLE_RATE as usize / 2], || false).map_err(|e| broken().with_source(e))?;
        Ok(loaded)
    }
}

/// The words of the samples, or none once `abandoned` says so.
pub(super) fn decode(
    model: &LoadedModel,
    samples: &[i16],
    abandoned: impl Fn() -> bool,
) -> Result<Option<Vec<Word>>> {
    let mut words = Vec::new();
    if samples.len() < SHORTEST {
        return Ok(Some(words));
    }
    let failed = |what: &str| Error::new(ErrorKind::Internal, format!("libvosk failed to {what}"));
    let mut recognizer = Recognizer::new(&model.model, SAMPLE_RATE as f32)
        .ok_or_else(|| failed("make a recogniser").with("model", model.path.display()))?;
    recognizer.set_words(true);
    for chunk in samples.chunks(CHUNK) {
        if abandoned() {
            return Ok(None);
        }
        match recognizer.accept_waveform(chunk) {
            Ok(DecodingState::Running) => {}
            // The end of a sentence: long audio has many, and each has its own result.
            Ok(DecodingState::Finalized) => collect(&mut words, || recognizer.result())?,
            Ok(DecodingState::Failed) => return Err(failed("decode")),
            Err(e) => return Err(failed("take the samples").with_source(e)),
        }
    }
    collect(&mut words, || recognizer.final_result())?;
    Ok(Some(words))
}

/// Adds the words of one result. The crate panics on JSON that it cannot borrow from, such as an escaped character.
fn collect<'r>(words: &mut Vec<Word>, result: impl FnOnce() -> CompleteResult<'r>) -> Result<()> {
    let result = catch_unwind(AssertUnwindSafe(result))
        .map_err(|_| Error::new(ErrorKind::Internal, "libvosk gave a result that cannot be read"))?;
    let said = result.single().map(|r| r.result).unwrap_or_default();
    words.extend(said.into_iter().filter(|w| !is_marker(w.word)).map(|w| Word {
        word: w.word.to_owned(),
        start_ms: milliseconds(w.start),
        end_ms: milliseconds(w.end),
        confidence: w.conf.clamp(0.0, 1.0),
    }));
    Ok(())
}

/// Whether a model's word stands for something that was not understood or is no word: `[unk]`, `<unk>`, `[noise]`.
fn is_marker(word: &str) -> bool {
    (word.starts_with('[') && word.ends_with(']')) || (word.starts_with('<') && word.ends_with('>'))
}

/// Seconds to milliseconds; what is negative or not a number is the beginning.
fn milliseconds(seconds: f32) -> u64 {
    (f64::from(seconds) * 1000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use vosk::{CompleteResultSingle, Word as Heard};

    #[test]
    fn markers_are_left_out_and_times_are_milliseconds() {
        let heard = |word, start, end| Heard { conf: 1.01, start, end, word };
        let result = vec![heard("[unk]", 0.0, 0.3), heard("stop", 0.33, 0.81), heard("<unk>", 0.81, 1.0)];
        let single = CompleteResultSingle { speaker_info: None, result, text: "[unk] stop <unk>" };
        let mut words = Vec::new();
        collect(&mut words, || CompleteResult::Single(single)).unwrap();
        let stop = Word { word: "stop".to_owned(), start_ms: 330, end_ms: 810, confidence: 1.0 };
        assert_eq!(words, [stop]);
    }

    #[test]
    fn unreadable_result_is_an_error() {
        let error = collect(&mut Vec::new(), || panic!("Invalid JSON, on purpose")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
