//! From a URL to a server, a database and a prefix for keys.

use beep_core::{Error, ErrorKind, Result};
use redis::{Client, IntoConnectionInfo as _, ProtocolVersion};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// What keys begin with unless the URL says otherwise.
const PREFIX: &str = "beep:";

/// Where the values are.
pub(super) struct Place {
    pub(super) client: Client,
    /// What all keys begin with.
    pub(super) prefix: String,
    /// Host, port and database: what errors may show.
    pub(super) shown: String,
    /// What they must not.
    password: Option<String>,
}

impl Place {
    /// [`ErrorKind::Malformed`] without a word of the URL: anything in it may be a part of the password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let mut url = redis::parse_redis_url(url)
            .filter(|url| matches!(url.scheme(), "redis" | "rediss") && url.fragment().is_none())
            .ok_or_else(malformed)?;
        if url.scheme() == "rediss" && CryptoProvider::get_default().is_none() {
            // Only where the process has not chosen; whoever chooses at this very moment is as good.
            aws_lc_rs::default_provider().install_default().ok();
        }
        let mut prefix = PREFIX.to_owned();
        for (name, value) in url.query_pairs() {
            if name != "prefix" {
                return Err(malformed());
            }
            prefix = value.into_owned();
        }
        url.set_query(None);
        let info = url.into_connection_info().map_err(|_| malformed())?;
        // In version 3 of the protocol the client tells when a connection ends, also while nobody asks for anything.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let password = settings.password().filter(|password| !password.is_empty()).map(str::to_owned);
        let shown = format!("{}/{}", info.addr(), settings.db());
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(info.set_redis_settings(settings).set_tcp_settings(tcp));
        Ok(Self { client: client.map_err(|_| malformed())?, prefix, shown, password })
    }

    /// What Redis said, without the password and without the commands that it quotes: they hold numbers of people.
    pub(super) fn redacted(&self, said: &str) -> String {
        let said = said.split(", with args").next().unwrap_or_default();
        match &self.password {
            Some(password) => said.replace(password.as_str(), "…"),
            None => said.to_owned(),
        }
    }
}

fn malformed() -> Error {
    let sentence = "a Redis URL reads `redis://[user:password@]host:port/database?prefix=beep:` (`rediss:` for TLS); \
                    write special characters of the password as `%` and two hex digits";
    Error::new(ErrorKind::Malformed, sentence)
}
