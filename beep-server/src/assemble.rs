//! From the configuration to a running app: stores, tokens, transcriber, pipeline.

use crate::app::App;
use crate::config::{Config, Store};
use beep_core::Result;
use beep_core::auth::jwt::JwtConfig;
use beep_core::clock::{Clock, Entropy, System};
use beep_core::transcriber::Transcriber;
use beep_pipeline::Beep;
use beep_storage::{DataDir, StorageConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The installation that the configuration names.
pub fn data_dir(config: &Config) -> DataDir {
    if config.data_dir.is_empty() { DataDir::default_location() } else { DataDir::new(&config.data_dir) }
}

/// Opens everything and starts the pipeline. Nothing listens yet.
pub async fn assemble(config: &Config) -> Result<App> {
    let data = data_dir(config);
    let clock: Arc<dyn Clock> = Arc::new(System);
    let entropy: Arc<dyn Entropy> = Arc::new(System);
    let jwt = JwtConfig {
        issuer: config.auth.issuer.clone(),
        audience: config.auth.audience.clone(),
        lifetime: Duration::from_secs(config.auth.token_hours.saturating_mul(3_600)),
        ..JwtConfig::default()
    };
    let jwt = Arc::new(data.jwt(jwt, clock.clone(), entropy)?);
    let stores = beep_storage::open(&storage(config, &data), clock.clone()).await?;
    let mut builder = Beep::builder(stores).clock(clock).max_body(config.http.max_body);
    let transcription_off = match transcriber(config, &data) {
        Ok(transcriber) => {
            tracing::info!(model = transcriber.model(), "transcription is on");
            builder = builder.transcriber(transcriber);
            None
        }
        Err(reason) => {
            tracing::warn!("transcription is off: {reason}");
            Some(reason)
        }
    };
    Ok(App::new(builder.start().await?, jwt, config.http.clone(), transcription_off))
}

/// The embedded stores, but for those that the configuration puts elsewhere.
fn storage(config: &Config, data: &DataDir) -> StorageConfig {
    let Store { bites, directory, search, blobs, ephemeral } = &config.store;
    data.storage_but(|name| match name {
        "bites" => Some(bites.clone()),
        "directory" => Some(directory.clone()),
        "search" => Some(search.clone()),
        "blobs" => Some(blobs.clone()),
        "ephemeral" => Some(ephemeral.clone()),
        _ => None,
    })
}

/// The folder of libvosk and the models.
pub fn speech_dir(config: &Config, data: &DataDir) -> PathBuf {
    if config.transcribe.dir.is_empty() { data.speech() } else { PathBuf::from(&config.transcribe.dir) }
}

#[cfg(feature = "transcribe-vosk")]
fn transcriber(config: &Config, data: &DataDir) -> Result<Arc<dyn Transcriber>, String> {
    use beep_pipeline::transcriber::vosk::{SpeechHome, VoskOptions, VoskTranscriber};
    let settings = &config.transcribe;
    if !settings.enabled {
        return Err("the configuration says so (transcribe.enabled)".into());
    }
    let set = |text: &String| (!text.is_empty()).then(|| text.clone());
    let options = VoskOptions {
        model: set(&settings.model),
        lib: set(&settings.library).map(PathBuf::from),
        threads: settings.threads,
    };
    match VoskTranscriber::open(&SpeechHome::new(speech_dir(config, data)), options) {
        Ok(transcriber) => Ok(Arc::new(transcriber)),
        Err(e) => Err(e.to_string()),
    }
}

#[cfg(not(feature = "transcribe-vosk"))]
fn transcriber(_: &Config, _: &DataDir) -> Result<Arc<dyn Transcriber>, String> {
    Err("this build has no transcriber: build it with the feature `transcribe-vosk`".into())
}
