//! Where NATS is and what is ours there, from one URL.

use async_nats::{ConnectOptions, ServerAddr};
use beep_core::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::time::Duration;

/// How long one connection or one answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What a `nats://` or `tls://` URL says:
/// `nats://[user:password@]host[:4222][,host…][?stream=…&prefix=…&replicas=…&creds=…&ca=…]`.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    pub(crate) servers: Vec<ServerAddr>,
    pub(crate) stream: String,
    pub(crate) prefix: String,
    pub(crate) replicas: usize,
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
}

impl NatsOptions {
    /// Reads the URL; [`ErrorKind::Malformed`] when it is none.
    ///
    /// * `stream` (`BEEP_LOG`) and `prefix` (`beep`, what its subjects begin with) are an installation's own: two on
    ///   one server differ in both.
    /// * `replicas` (1): how many servers of a NATS cluster keep the stream.
    /// * `creds`: a file with a NATS user's credentials. `ca`: a file with the certificates to trust, for `tls://`.
    ///
    /// ```
    /// use beep_pipeline::bus::nats::NatsOptions;
    /// assert!(NatsOptions::parse("nats://a:4222,b:4222?stream=CREW&prefix=crew").is_ok());
    /// assert!(NatsOptions::parse("nats://a?stream=two.words").is_err());
    /// ```
    pub fn parse(url: &str) -> Result<Self> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let Some((scheme @ ("nats" | "tls"), hosts)) = place.split_once("://") else {
            return Err(malformed("the URL of a NATS server begins with `nats://` or `tls://`"));
        };
        let server = |host: &str| -> Result<ServerAddr> {
            let host = host.trim_end_matches('/');
            if host.is_empty() {
                return Err(malformed("a URL of NATS lacks a host: write `nats://<host>`"));
            }
            format!("{scheme}://{host}").parse().map_err(|e: std::io::Error| {
                malformed("a host in the URL of NATS cannot be read").with_source(e)
            })
        };
        let mut options = Self {
            servers: hosts.split(',').map(server).collect::<Result<_>>()?,
            stream: "BEEP_LOG".into(),
            prefix: "beep".into(),
            replicas: 1,
            credentials: None,
            ca: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("stream", name)) if token(name) => options.stream = name.to_owned(),
                Some(("prefix", name)) if name.split('.').all(token) => options.prefix = name.to_owned(),
                Some(("replicas", number @ ("1" | "3" | "5"))) => {
                    options.replicas = usize::from(number.as_bytes()[0] - b'0');
                }
                Some(("creds", file)) if !file.is_empty() => options.credentials = Some(file.into()),
                Some(("ca", file)) if !file.is_empty() => options.ca = Some(file.into()),
                _ => {
                    return Err(malformed(&format!(
                        "`{pair}` is no option of a `nats:` bus: write `stream=<name>`, `prefix=<name>`, \
                         `replicas=<1, 3 or 5>`, `creds=<file>` or `ca=<file>`"
                    )));
                }
            }
        }
        Ok(options)
    }

    /// What our subjects begin with.
    pub(crate) fn subjects(&self) -> String {
        format!("{}.log", self.prefix)
    }

    /// How to connect: give up soon, since whoever asked tries again and says what is wrong.
    pub(crate) async fn connecting(&self) -> Result<ConnectOptions> {
        let mut options = ConnectOptions::new()
            .name("beep")
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(PATIENCE)
            .max_reconnects(1);
        if let Some(file) = &self.ca {
            options = options.add_root_certificates(file.clone());
        }
        if let Some(file) = &self.credentials {
            options = options.credentials_file(file).await.map_err(|e| {
                Error::new(ErrorKind::Unavailable, "the credentials for NATS cannot be read")
                    .with("file", file.display())
                    .with_source(e)
            })?;
        }
        Ok(options)
    }
}

fn malformed(sentence: &str) -> Error {
    Error::new(ErrorKind::Malformed, sentence)
}

/// A word of a subject or the name of a stream, as every version of NATS takes them.
fn token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
