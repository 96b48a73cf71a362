//! Every test of this crate that shares a process, linked once.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod audio_damage;
mod audio_formats;
mod audio_support;
mod audio_wav;
#[cfg(feature = "legacy-subjects")]
mod bus_legacy;
mod bus_memory;
#[cfg(feature = "bus-nats")]
mod bus_nats;
mod import;
mod login;
mod login_time;
mod people_races;
mod pipeline_chaos;
mod pipeline_connect;
mod pipeline_grants;
mod pipeline_late;
mod pipeline_nodes;
mod pipeline_speech;
mod pipeline_support;
mod pipeline_workers;
#[cfg(feature = "bus-nats")]
mod redis_login;
mod services;
mod sms;
mod speech_models;
mod speech_support;
mod speech_transcribe;
