//! The configuration: one struct; a file, then `BEEP_…` variables, then flags, each over the one before.

use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::services::login::Limits;
use beep_storage::StorageConfig;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::time::Duration;
use toml::{Table, Value};

/// Everything that can be set. An empty text means "not set".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of the installation.
    pub data_dir: String,
    /// The address to listen on.
    pub listen: Listen,
    /// Where the stores are.
    pub store: Store,
    /// How the servers of an installation hear of each other: `nats://host:4222`; each looks at the log unless set.
    pub bus: Secret,
    /// The original's services on the same NATS.
    pub legacy: Legacy,
    /// Limits of the HTTP edge.
    pub http: Http,
    /// Tokens.
    pub auth: Auth,
    /// Signing in by phone.
    pub login: Login,
    /// Speech recognition.
    pub transcribe: Transcribe,
    /// The server's own log.
    pub log: Log,
}

/// An address and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Listen(pub String);

impl Default for Listen {
    fn default() -> Self {
        Self("127.0.0.1:8080".into())
    }
}

/// Where the stores are; each a URL such as `heed:/srv/beep/bites`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Bites, log and cursors.
    pub bites: String,
    /// Users, conversations, members.
    pub directory: String,
    /// Full text.
    pub search: String,
    /// Pictures.
    pub blobs: String,
    /// Codes, limits, presence.
    pub ephemeral: String,
    /// Where `postgres:` puts bytes that are too many for a row: an object store; into its rows unless set.
    pub bodies: String,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        StorageConfig::from(self.clone()).fmt(f)
    }
}

impl From<Store> for StorageConfig {
    fn from(Store { bites, directory, search, blobs, ephemeral, bodies }: Store) -> Self {
        Self { bites, directory, search, blobs, ephemeral, bodies }
    }
}

/// The original's services on the same NATS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Legacy {
    /// Their NATS: `nats://host:4222`; nobody is listened to unless set.
    pub url: Secret,
    /// The user as whom they read, since their requests name nobody; they may not read unless set.
    pub reader: String,
    /// Whether this server tells their `subscribe` what was stored: exactly one of several should.
    pub announce: bool,
}

impl Default for Legacy {
    fn default() -> Self {
        Self { url: Secret::default(), reader: String::new(), announce: true }
    }
}

/// Limits of the HTTP edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The most bytes of one bite.
    pub max_body: usize,
    /// The most bytes of bodies in memory at once; more are answered 503 before they are read.
    pub max_bodies: usize,
    /// The most connections; more are answered 503 and closed.
    pub max_connections: usize,
    /// Seconds that a request head, or the wait for the next one, may take.
    pub header_timeout_s: u64,
    /// Seconds that a body may take.
    pub body_timeout_s: u64,
    /// Seconds that a client may refuse to take what is sent.
    pub write_timeout_s: u64,
    /// Seconds that requests under way get when the server stops.
    pub drain_timeout_s: u64,
    /// The web pages that may read answers: exact origins with commas between (`https://app.example.com`); none unless
    /// set.
    pub cors_origins: String,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_body: 10 << 20,
            max_bodies: 256 << 20,
            max_connections: 20_000,
            header_timeout_s: 10,
            body_timeout_s: 60,
            write_timeout_s: 10,
            drain_timeout_s: 10,
            cors_origins: String::new(),
        }
    }
}

impl Http {
    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_s)
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }

    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_secs(self.write_timeout_s)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout_s)
    }
}

/// Tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The `iss` of tokens.
    pub issuer: String,
    /// The `aud` of tokens.
    pub audience: String,
    /// Hours that a token is good.
    pub token_hours: u64,
    /// The gateways whose `X-User-Claim` and `X-Forwarded-For` are believed: addresses and networks with commas between
    /// (`10.0.0.0/8, ::1`); nobody's unless set.
    pub trusted_proxies: String,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            issuer: "beep".into(),
            audience: "beep".into(),
            token_hours: 30 * 24,
            trusted_proxies: String::new(),
        }
    }
}

/// A text that `Debug` does not show.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "not set" } else { "set" })
    }
}

/// Signing in by phone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// Who sends codes: `twilio`, `webhook`, or `console`, which prints them and is for development, on the loopback
    /// only; nobody unless set.
    pub sms: String,
    /// A second address and port for the login routes, at its root, as the original had (1837); none unless set.
    pub listen: String,
    /// The countries whose numbers get codes (`SG, DE`); all unless set.
    pub countries: String,
    /// Numbers with a fixed code that is never sent, for tests and app reviews, each until a day:
    /// `+15550100001=123456@2027-01-31`, with commas between.
    pub test_numbers: Secret,
    /// Seconds between two codes to one number.
    pub pause_s: u64,
    /// Codes to one number in an hour.
    pub max_per_number_hour: u64,
    /// Codes to one number in a day.
    pub max_per_number_day: u64,
    /// Codes asked for from one address in an hour.
    pub max_per_address_hour: u64,
    /// Codes asked for from one network (/24, /48) in an hour.
    pub max_per_network_hour: u64,
    /// Where `webhook` posts `{"to","text"}`.
    pub webhook_url: Secret,
    /// What it signs them with.
    pub webhook_secret: Secret,
    /// The account of `twilio`.
    pub twilio_sid: String,
    /// Its token.
    pub twilio_token: Secret,
    /// The number or messaging service (`MG…`) that it sends from.
    pub twilio_from: String,
    /// Where its API is.
    pub twilio_url: String,
}

impl Default for Login {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            sms: String::new(),
            listen: String::new(),
            countries: String::new(),
            test_numbers: Secret::default(),
            pause_s: limits.pause.as_secs(),
            max_per_number_hour: limits.number_hour,
            max_per_number_day: limits.number_day,
            max_per_address_hour: limits.address_hour,
            max_per_network_hour: limits.network_hour,
            webhook_url: Secret::default(),
            webhook_secret: Secret::default(),
            twilio_sid: String::new(),
            twilio_token: Secret::default(),
            twilio_from: String::new(),
            twilio_url: "https://api.twilio.com".into(),
        }
    }
}

/// Speech recognition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transcribe {
    /// Whether bites are transcribed here.
    pub enabled: bool,
    /// The folder of libvosk and models.
    pub dir: String,
    /// The model's name; the one added last unless set.
    pub model: String,
    /// libvosk's file; looked for unless set.
    pub library: String,
    /// Bites recognised at once; 0 leaves one core free.
    pub threads: usize,
}

impl Default for Transcribe {
    fn default() -> Self {
        Self { enabled: true, dir: String::new(), model: String::new(), library: String::new(), threads: 0 }
    }
}

/// The server's own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged, as `info` or `beep_server=debug,info`.
    pub filter: String,
    /// `auto` (text on a terminal, else JSON), `text` or `json`.
    pub format: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: "auto".into() }
    }
}

impl Config {
    /// Reads the file (when one is named), then the variables, then the flags (dotted names).
    ///
    /// [`ErrorKind::Invalid`] names the key or line that is wrong.
    pub fn load(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self> {
        let invalid = |what: String| Error::new(ErrorKind::Invalid, what);
        let mut table =
            Table::try_from(Self::default()).map_err(|e| Error::internal("listing the settings", e))?;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| invalid(format!("the configuration {} cannot be read: {e}", path.display())))?;
            let given: Table = text
                .parse()
                .map_err(|e| invalid(format!("the configuration {} is wrong: {e}", path.display())))?;
            merge(&mut table, given);
        }
        let keys: Vec<String> = Self::keys();
        for (name, value) in variables {
            let Some(key) = keys.iter().find(|key| variable(key) == name) else { continue };
            set(&mut table, key, &value).map_err(|e| invalid(format!("{name}: {e}")))?;
        }
        for (key, value) in flags {
            set(&mut table, key, value).map_err(|e| invalid(format!("{key}: {e}")))?;
        }
        table.try_into().map_err(|e| invalid(format!("the configuration is wrong: {e}")))
    }

    /// The dotted name of every setting. The variable of `http.max_body` is `BEEP_HTTP_MAX_BODY`.
    pub fn keys() -> Vec<String> {
        let Ok(table) = Table::try_from(Self::default()) else { return Vec::new() };
        let mut keys = Vec::new();
        for (name, value) in &table {
            match value {
                Value::Table(inner) => keys.extend(inner.keys().map(|key| format!("{name}.{key}"))),
                _ => keys.push(name.clone()),
            }
        }
        keys
    }
}

/// The variable of a setting.
fn variable(key: &str) -> String {
    format!("BEEP_{}", key.replace('.', "_").to_uppercase())
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Sets a key from text, in the type that the default has.
fn set(table: &mut Table, key: &str, text: &str) -> Result<(), String> {
    let mut parts = key.split('.');
    let mut value = parts.next().and_then(|part| table.get_mut(part));
    for part in parts {
        value = value.and_then(|v| v.get_mut(part));
    }
    let slot = value.ok_or("there is no such setting")?;
    *slot = match slot {
        Value::Integer(_) => Value::Integer(text.parse().map_err(|_| "must be a whole number")?),
        Value::Boolean(_) => Value::Boolean(text.parse().map_err(|_| "must be `true` or `false`")?),
        _ => Value::String(text.to_owned()),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: Option<&str>, variables: &[(&str, &str)], flags: &[(&str, String)]) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("beep.toml");
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
        }
        let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Config::load(file.map(|_| path.as_path()), variables, flags)
    }

    #[test]
    fn flags_win_over_variables_over_the_file() {
        let file = "listen = '0.0.0.0:1'\n[http]\nmax_body = 5\nbody_timeout_s = 6\n[auth]\nissuer = 'f'\n";
        let variables =
            [("BEEP_HTTP_MAX_BODY", "7"), ("BEEP_AUTH_ISSUER", "v"), ("BEEP_TRANSCRIBE_ENABLED", "false")];
        let config = load(Some(file), &variables, &[("auth.issuer", "flag".into())]).unwrap();
        assert_eq!(config.listen.0, "0.0.0.0:1");
        assert_eq!(
            (config.http.max_body, config.http.body_timeout_s, config.http.header_timeout_s),
            (7, 6, 10)
        );
        assert_eq!(config.auth.issuer, "flag");
        assert!(!config.transcribe.enabled);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (file, variables, named) in [
            (Some("lisen = 'x'"), vec![], "lisen"),
            (Some("[http]\nmax_body = 'x'"), vec![], "max_body"),
            (Some("= 3"), vec![], "beep.toml"),
            (None, vec![("BEEP_HTTP_MAX_BODY", "much")], "BEEP_HTTP_MAX_BODY"),
            (None, vec![("BEEP_TRANSCRIBE_ENABLED", "maybe")], "BEEP_TRANSCRIBE_ENABLED"),
        ] {
            let error = load(file, &variables, &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn every_setting_can_be_a_variable() {
        let keys = Config::keys();
        assert!(keys.contains(&"http.max_body".to_owned()) && keys.contains(&"data_dir".to_owned()));
        for key in keys {
            let value = if key.contains("max")
                || key.ends_with("_s")
                || key.ends_with("hours")
                || key.ends_with("threads")
            {
                "3"
            } else {
                "true"
            };
            let changed = load(None, &[(&variable(&key), value)], &[]).unwrap();
            let expected = load(None, &[], &[(&key, value.to_owned())]).unwrap();
            assert_eq!(changed, expected, "{key}");
        }
    }
}
