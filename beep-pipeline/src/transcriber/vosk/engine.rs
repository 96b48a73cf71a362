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

#[cfg(test)]
mod tests {
    use super::*;
    use vosk::{DecodingState, Model, Recognizer};

    /// CPU seconds of this process so far, in steps of 10 ms.
    fn cpu() -> f64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |n: usize| fields[n].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / 100.0
    }

    /// What any program that calls Vosk has to do.
    fn bare(model: &Model, samples: &[i16]) -> usize {
        let mut recognizer = Recognizer::new(model, 16_000.0).unwrap();
        recognizer.set_words(true);
        let mut words = 0;
        for chunk in samples.chunks(4_000) {
            if recognizer.accept_waveform(chunk).unwrap() == DecodingState::Finalized {
                words += recognizer.result().single().unwrap().result.len();
            }
        }
        words + recognizer.final_result().single().unwrap().result.len()
    }

    /// `cargo test --release -p beep-pipeline --lib -- --ignored --nocapture cpu_compared`, with $VOSK_LIB set.
    #[tokio::test]
    #[ignore = "a measurement"]
    async fn cpu_compared_with_bare_vosk() {
        let dir = tempfile::tempdir().unwrap();
        let home = SpeechHome::new(dir.path());
        let options = VoskOptions { threads: 1, ..VoskOptions::default() };
        let beep = VoskTranscriber::open(&home, options).unwrap();
        let path = select(&home, None).unwrap().path;
        let model = Model::new(path.to_str().unwrap()).unwrap();
        let clips = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("speech/clips");
        let wavs = std::fs::read_dir(clips).unwrap().map(|e| e.unwrap().path());
        let mut bites: Vec<Arc<[i16]>> = wavs
            .filter(|path| path.extension().is_some_and(|e| e == "wav"))
            .map(|path| {
                let bytes = std::fs::read(path).unwrap();
                bytes[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
            })
            .collect();
        bites.push(bites.iter().flat_map(|bite| bite.iter().copied()).collect());

        let (mut ours, mut theirs) = (0.0, 0.0);
        for _ in 0..15 {
            // In turns, so that a machine that slows down slows down both.
            let begun = cpu();
            for _ in 0..10 {
                for bite in &bites {
                    beep.transcribe(Arc::clone(bite)).await.unwrap();
                }
            }
            let between = cpu();
            let mut words = 0;
            for _ in 0..10 {
                words += bites.iter().map(|bite| bare(&model, bite)).sum::<usize>();
            }
            assert!(words > 0);
            ours += between - begun;
            theirs += cpu() - between;
        }
        println!(
            "goal=transcribe-cpu-ratio value={:.3} limit=1.05 ({ours:.2} s / {theirs:.2} s)",
            ours / theirs
        );
    }
}
