//! What depends on whether this build has an engine for speech: opening it, and the work of `speech`.

use super::speech::Command;
use crate::failure::Result;
use crate::output::Output;
use beep_core::transcriber::Transcriber;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "transcribe-vosk")]
mod engine {
    use super::*;
    use beep_pipeline::transcriber::vosk::{self, ModelInfo, SpeechHome, VoskOptions, VoskTranscriber};
    use serde_json::{Value, json};

    pub fn open(speech: PathBuf, model: Option<String>) -> Result<Arc<dyn Transcriber>> {
        let options = VoskOptions { model, ..VoskOptions::default() };
        Ok(Arc::new(VoskTranscriber::open(&SpeechHome::new(speech), options)?))
    }

    pub fn speech(speech: PathBuf, command: Command, out: &Output) -> Result<()> {
        let home = SpeechHome::new(speech);
        match command {
            Command::Install => {
                let installed = vosk::install(&home, &mut |line| out.progress(line))?;
                if out.json() {
                    return out.object(&json!({
                        "library": installed.library,
                        "model": object(&installed.model),
                        "changed": installed.changed,
                    }));
                }
                let what = if installed.changed { "installed" } else { "already installed" };
                out.say(&format!("{what}: {} and {}", installed.library.display(), installed.model.name))
            }
            Command::Add { path } => {
                let model = vosk::add(&home, &path)?;
                out.made(&model.name, &object(&model))
            }
            Command::List => {
                let models = vosk::models(&home)?;
                if out.json() {
                    return out.lines(models.iter().map(|model| object(model).to_string()));
                }
                let origin = |model: &ModelInfo| if model.bundled { "bundled" } else { "added" }.to_owned();
                let row = |model: &ModelInfo| [model.name.clone(), model.language.clone(), origin(model)];
                out.table(&models.iter().map(row).collect::<Vec<_>>())
            }
        }
    }

    fn object(model: &ModelInfo) -> Value {
        json!({ "name": model.name, "language": model.language, "bundled": model.bundled, "path": model.path })
    }
}

#[cfg(not(feature = "transcribe-vosk"))]
mod engine {
    use super::*;
    use crate::failure::Failure;
    use beep_core::ErrorKind;

    fn none() -> Failure {
        Failure::new(ErrorKind::Unsupported.code(), "this build has no speech recognition")
            .hint("build it with the feature `transcribe-vosk`")
    }

    pub fn open(_speech: PathBuf, _model: Option<String>) -> Result<Arc<dyn Transcriber>> {
        Err(none())
    }

    pub fn speech(_speech: PathBuf, command: Command, _out: &Output) -> Result<()> {
        Err(match command {
            Command::Add { path } => none().about(&path.display().to_string()),
            Command::Install | Command::List => none(),
        })
    }
}

/// The recogniser with a model of the speech folder: the named one, else the one added last. Blocks.
pub fn open(speech: PathBuf, model: Option<String>) -> Result<Arc<dyn Transcriber>> {
    engine::open(speech, model)
}

/// Does the work of a `speech` command on this speech folder. Blocks.
pub fn speech(speech: PathBuf, command: Command, out: &Output) -> Result<()> {
    engine::speech(speech, command, out)
}
