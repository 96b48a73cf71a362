//! Engines that turn samples into words, one module each behind its feature.
//!
//! Every engine implements [`beep_core::transcriber::Transcriber`].

#[cfg(feature = "transcribe-vosk")]
pub mod vosk;
