//! Every test of this crate that shares a process, linked once.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod audio_damage;
mod audio_formats;
mod audio_support;
mod audio_wav;
mod login;
mod pipeline_chaos;
mod pipeline_grants;
mod pipeline_speech;
mod pipeline_support;
mod pipeline_workers;
mod sms;
mod speech_models;
mod speech_support;
mod speech_transcribe;
