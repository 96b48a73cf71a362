//! What stands in a token, read strictly: objects only, no name twice, every claim there and of its type.

use super::JwtConfig;
use crate::auth::{Scope, Verified};
use crate::clock::Millis;
use crate::id::{DeviceId, Identity, SessionId, UserId};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as B64, Engine as _};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// The protected header. Whatever else a header may say (`jwk`, `jku`, `x5u`, `x5c`, `crit`, `b64`, …) asks the
/// verifier to trust the token's own word about its key or form, so any other name refuses the token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub alg: Cow<'a, str>,
    #[serde(borrow, default = "jwt")]
    pub typ: Cow<'a, str>,
    #[serde(borrow)]
    pub kid: Cow<'a, str>,
}

fn jwt() -> Cow<'static, str> {
    "JWT".into()
}

/// The payload. Times are whole seconds since 1970. Claims of other names are ignored, as RFC 7519 asks, so that a
/// later version may add some while this one still runs beside it.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims<'a> {
    #[serde(borrow)]
    pub userid: Cow<'a, str>,
    #[serde(borrow)]
    pub clientid: Cow<'a, str>,
    #[serde(borrow)]
    pub sub: Cow<'a, str>,
    #[serde(borrow)]
    pub iss: Cow<'a, str>,
    #[serde(borrow)]
    pub aud: Cow<'a, str>,
    pub iat: u64,
    pub exp: u64,
    #[serde(default, skip_serializing)]
    pub nbf: u64,
    #[serde(borrow)]
    pub jti: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_user")]
    pub scope: Scope,
}

fn is_user(scope: &Scope) -> bool {
    *scope == Scope::User
}

/// What a good token says and from when until when it does.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub verified: std::sync::Arc<Verified>,
    from: Millis,
    until: Millis,
}

impl Checked {
    /// The same question for a new and for a remembered token, so the cache cannot answer differently.
    pub fn holds_at(&self, now: Millis) -> bool {
        (self.from..self.until).contains(&now)
    }
}

impl Claims<'_> {
    /// Everything that does not depend on the time. None when anything is not as it must be.
    pub fn check(&self, config: &JwtConfig) -> Option<Checked> {
        let own = self.iss == config.issuer && self.aud == config.audience;
        if !own || self.sub != self.userid || self.jti.is_empty() {
            return None;
        }
        let user = UserId::parse(&self.userid).ok()?;
        let device = DeviceId::parse(&self.clientid).ok()?;
        let session = self.sid.as_deref().map(SessionId::parse).transpose().ok()?;
        let leeway = millis(config.leeway);
        let expires = self.exp.saturating_mul(1_000);
        Some(Checked {
            from: self.iat.max(self.nbf).saturating_mul(1_000).saturating_sub(leeway),
            until: expires.saturating_add(leeway),
            verified: std::sync::Arc::new(Verified {
                identity: Identity { user, device },
                scope: self.scope,
                session,
                token_id: self.jti.as_ref().into(),
                expires,
            }),
        })
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// One part of a token as bytes: base64url without padding, in its one canonical spelling.
pub(super) fn decode(part: &str) -> Option<Vec<u8>> {
    B64.decode(part).ok()
}

/// A value from JSON bytes that are an object with no name twice. Which of two values counts differs between
/// parsers, and a derived `Deserialize` would also take an array; both are ways to be read differently elsewhere.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    serde_json::from_slice::<UniqueNames>(json).ok()?;
    serde_json::from_slice(json).ok()
}

struct UniqueNames;

impl<'de> Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueNames)
    }
}

impl<'de> Visitor<'de> for UniqueNames {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without duplicate names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(self)
    }
}
