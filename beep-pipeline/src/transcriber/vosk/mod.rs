//! The Vosk engine: offline speech recognition with a native library that is found at run time.
//!
//! Nothing native is needed to build or start. [`install()`] puts libvosk and the bundled model into a
//! [`SpeechHome`], [`add()`] a model of your own language, and [`VoskTranscriber::open`] uses them:
//!
//! ```no_run
//! use beep_core::transcriber::Transcriber;
//! use beep_pipeline::transcriber::vosk::{SpeechHome, VoskOptions, VoskTranscriber, install};
//!
//! # async fn example() -> beep_core::Result<()> {
//! let home = SpeechHome::new("data/speech");
//! install(&home, &mut |line| eprintln!("{line}"))?;
//! let vosk = VoskTranscriber::open(&home, VoskOptions::default())?;
//! let second_of_silence = vec![0; 16_000];
//! assert_eq!(vosk.transcribe(second_of_silence.into()).await?.text, "");
//! # Ok(())
//! # }
//! ```

mod add;
mod bundled;
mod decode;
mod engine;
mod home;
mod install;
mod libvosk;
mod pool;

pub use add::add;
pub use bundled::BUNDLED;
pub use engine::{VoskOptions, VoskTranscriber};
pub use home::{ModelInfo, SpeechHome, models, select};
pub use install::{Installed, install};
