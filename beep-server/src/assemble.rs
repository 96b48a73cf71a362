//! From the configuration to a running app: stores, tokens, transcriber, pipeline.

use crate::app::{App, Extras};
use crate::config::{Config, Legacy, Store};
use crate::cors;
use crate::sms;
use beep_core::auth::jwt::{Jwt, JwtConfig};
use beep_core::clock::{Clock, Entropy, System};
use beep_core::transcriber::Transcriber;
use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::Beep;
use beep_storage::{DataDir, StorageConfig};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the folder of keys is looked at.
const KEYS_LOOKED_AT: Duration = Duration::from_secs(1);

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
    cors::check(&config.http.cors_origins)?;
    let trusted_proxies = networks(&config.auth.trusted_proxies)?;
    let (sms, login) = (sms::sender(&config.login, clock.clone())?, sms::options(&config.login)?);
    let jwt = Arc::new(data.jwt(jwt, clock.clone(), entropy)?);
    tokio::spawn(follow_keys(data.clone(), Arc::downgrade(&jwt)));
    let stores = beep_storage::open(&storage(config, &data), clock.clone()).await?;
    let mut builder = Beep::builder(stores).clock(clock).max_body(config.http.max_body);
    if !config.bus.0.is_empty() {
        builder = builder.bus(beep_pipeline::bus::open(&config.bus.0).await?);
    }
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
    let extras = Extras { transcription_off, sms, login, trusted_proxies };
    let beep = builder.start().await?;
    if !config.legacy.url.0.is_empty() {
        bridge(&beep, &config.legacy).await?;
    }
    Ok(App::new(beep, jwt, config.http.clone(), extras))
}

/// Lets the original's services speak and listen, until this process ends.
#[cfg(feature = "legacy-subjects")]
async fn bridge(beep: &Beep, legacy: &Legacy) -> Result<()> {
    use beep_core::id::Identity;
    use beep_pipeline::bus::legacy::{LegacyBridge, LegacyOptions};
    let reader = match legacy.reader.as_str() {
        "" => None,
        user => Some(Identity { user: user.parse()?, device: "legacy".parse()? }),
    };
    let options = LegacyOptions { url: legacy.url.0.clone(), reader, announce: legacy.announce };
    let bridge = LegacyBridge::start(beep.clone(), options).await?;
    tokio::spawn(async move {
        let _open = bridge;
        std::future::pending::<()>().await;
    });
    Ok(())
}

#[cfg(not(feature = "legacy-subjects"))]
async fn bridge(_: &Beep, _: &Legacy) -> Result<()> {
    let sentence = "this build cannot speak with the original's services (legacy.url): build it with the feature \
                    `legacy-subjects`";
    Err(Error::new(ErrorKind::Unsupported, sentence))
}

/// Takes the keys over that come and go in the folder, as long as anybody needs them. What cannot be read changes
/// nothing, and is tried again.
async fn follow_keys(data: DataDir, jwt: Weak<Jwt>) {
    let (mut known, mut trouble) = (None, String::new());
    loop {
        // First the files, then what is in them: what changes in between is seen at the next look.
        let (data, held, seen) = (data.clone(), jwt.clone(), known.clone());
        let look = move || -> Result<_> {
            let files = data.key_files()?;
            let Some(jwt) = held.upgrade().filter(|_| seen.as_ref() != Some(&files)) else {
                return Ok(files);
            };
            let keys = data.stored_keys()?;
            let signing = keys.first().map(|(_, key)| key.kid().to_owned());
            jwt.replace_keys(keys.into_iter().map(|(_, key)| key).collect())?;
            tracing::info!(?signing, "the keys of tokens were read");
            Ok(files)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        match looked.unwrap_or_else(|e| Err(Error::internal("looking for keys", e))) {
            Ok(files) => (known, trouble) = (Some(files), String::new()),
            Err(e) if e.to_string() == trouble => {}
            Err(e) => {
                trouble = e.to_string();
                tracing::warn!(error = %e, "new keys of tokens cannot be read; the old ones go on");
            }
        }
        tokio::time::sleep(KEYS_LOOKED_AT).await;
        if jwt.strong_count() == 0 {
            return;
        }
    }
}

/// Addresses and networks with commas between.
fn networks(text: &str) -> Result<Vec<IpNet>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let address = part.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| part.parse()).map_err(|_| {
                let sentence =
                    format!("auth.trusted_proxies: `{part}` is no address and no network like 10.0.0.0/8");
                Error::new(ErrorKind::Invalid, sentence)
            })
        })
        .collect()
}

/// The embedded stores, but for those that the configuration puts elsewhere.
fn storage(config: &Config, data: &DataDir) -> StorageConfig {
    let Store { bites, directory, search, blobs, ephemeral, bodies } = &config.store;
    data.storage_but(|name| match name {
        "bites" => Some(bites.clone()),
        "directory" => Some(directory.clone()),
        "search" => Some(search.clone()),
        "blobs" => Some(blobs.clone()),
        "ephemeral" => Some(ephemeral.clone()),
        "bodies" => Some(bodies.clone()),
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
