//! [`VoskTranscriber`]: one model in memory, decoding on a bounded pool.

use super::decode::{LoadedModel, decode};
use super::home::{ModelInfo, SpeechHome, select};
use super::libvosk;
use super::pool::Pool;
use async_trait::async_trait;
use beep_core::transcriber::Transcriber;
use beep_core::transcript::Transcript;
use beep_core::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// What may be chosen about the engine. The default chooses everything by itself.
#[derive(Clone, Debug, Default)]
pub struct VoskOptions {
    /// Name of a model in the speech folder; none: see [`select`].
    pub model: Option<String>,
    /// The libvosk to use, a file or a folder; none: `$VOSK_LIB`, `<speech>/lib`, beside the program, its `lib`, its
    /// `../lib`, the system.
    pub lib: Option<PathBuf>,
    /// How many bites are decoded at once, each on one thread; 0: one less than the cores, at least one.
    pub threads: usize,
}

/// A [`Transcriber`] on libvosk.
///
/// * The model is loaded once and shared; each bite has a recogniser of its own.
/// * Decoding runs on blocking threads, so many at once as the options say; the rest waits in order.
/// * A word that the model marks as unknown (`[unk]`, `<unk>`) is in neither the text nor the words: what was said
///   there is not known, and a marker would be found by search.
/// * Needs a tokio runtime.
#[derive(Debug)]
pub struct VoskTranscriber {
    name: String,
    language: String,
    model: Arc<LoadedModel>,
    pool: Pool,
}

impl VoskTranscriber {
    /// Finds libvosk, selects and loads the model. Blocks for as long as loading takes: 20 ms for the bundled model,
    /// seconds for a large one.
    ///
    /// Errors say what to do: [`ErrorKind::Unavailable`] without libvosk (try again after an install),
    /// [`ErrorKind::NotFound`] without such a model, [`ErrorKind::Invalid`] for one that does not load.
    pub fn open(home: &SpeechHome, options: VoskOptions) -> Result<Self> {
        libvosk::load(home, options.lib.as_deref())?;
        let ModelInfo { name, path, language, .. } = select(home, options.model.as_deref())?;
        let model = Arc::new(LoadedModel::open(&path)?);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if options.threads == 0 { (cores - 1).max(1) } else { options.threads };
        Ok(Self { name: format!("vosk/{name}"), language, model, pool: Pool::new(threads) })
    }
}

#[async_trait]
impl Transcriber for VoskTranscriber {
    fn model(&self) -> &str {
        &self.name
    }

    fn parallelism(&self) -> usize {
        self.pool.places()
    }

    async fn transcribe(&self, samples: Arc<[i16]>) -> Result<Transcript> {
        let model = Arc::clone(&self.model);
        let words = self.pool.run(move |abandoned| decode(&model, &samples, || abandoned.is_set())).await??;
        let words = words.ok_or_else(|| Error::new(ErrorKind::Internal, "decoding was abandoned"))?;
        let text = words.iter().map(|w| w.word.as_str()).collect::<Vec<_>>().join(" ");
        Ok(Transcript { text, words, language: self.language.clone(), model: self.name.clone() })
    }
}
