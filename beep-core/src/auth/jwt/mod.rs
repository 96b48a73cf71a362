//! JSON Web Tokens: makes them, and believes only those that it could have made.

mod cache;
mod claims;
mod keys;

pub use keys::{Algorithm, SigningKey};

use super::{Authenticator, Scope, TokenIssuer, Verified};
use crate::clock::{Clock, Entropy};
use crate::id::{Identity, SessionId};
use crate::{Error, ErrorKind, Result};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as B64, Engine as _};
use cache::Cache;
use claims::{Checked, Claims, Header, decode, object};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The longest token that is looked at, in bytes. The longest that is issued is well below it.
pub const MAX_TOKEN: usize = 4_096;

/// Whose tokens, for whom, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// The `iss` of every token: 1 to 256 printable ASCII characters.
    pub issuer: String,
    /// The `aud` of every token: 1 to 256 printable ASCII characters.
    pub audience: String,
    /// How long a token is good, in whole seconds. 30 days by default: a client without refresh signs in again by
    /// SMS when its token ends, so shorter would be a cost and a nuisance, and a lost device is signed out by its
    /// session and does not wait for this.
    pub lifetime: Duration,
    /// By how much the clocks of two servers may differ: 30 seconds by default.
    pub leeway: Duration,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            issuer: "beep".into(),
            audience: "beep".into(),
            lifetime: Duration::from_secs(30 * 24 * 60 * 60),
            leeway: Duration::from_secs(30),
        }
    }
}

/// Issues tokens with one key and verifies those of several.
///
/// * A token is good when one of the keys signed it with that key's own algorithm, its header says nothing but `alg`,
///   `typ` and `kid`, every claim is there once and as issued, and now lies between `iat` (and `nbf`) and `exp`,
///   give or take the leeway. Now is what the [`Clock`] says.
/// * Every other token gets the same error, which tells nothing about why.
/// * Good tokens are remembered, a bounded number of them; their times are looked at again on every call.
/// * Whether the session was ended is not asked here: the token says who somebody was when it was issued. The gate
///   ([`crate::permission::Gate::admit`]) asks.
///
/// ```
/// use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
/// use beep_core::auth::{Authenticator, Scope, TokenIssuer};
/// use beep_core::clock::System;
/// use beep_core::id::Identity;
/// use std::sync::Arc;
///
/// let key = SigningKey::generate(Algorithm::EdDsa)?;
/// let jwt = Jwt::new(vec![key], JwtConfig::default(), Arc::new(System), Arc::new(System))?;
/// let alice = Identity { user: "u-alice".parse()?, device: "phone".parse()? };
/// let token = jwt.issue(&alice, Scope::User)?;
/// assert_eq!(jwt.verify(&token)?.identity, alice);
/// assert!(jwt.verify("anything else").is_err());
/// # Ok::<(), beep_core::Error>(())
/// ```
pub struct Jwt {
    ring: RwLock<Arc<Ring>>,
    config: JwtConfig,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// Keys, the signing one first, and what was found good by them: who drops a key drops that as well, also what
/// somebody is still about to remember.
struct Ring {
    keys: Vec<SigningKey>,
    cache: Cache,
}

impl Ring {
    fn new(keys: Vec<SigningKey>) -> Result<Arc<Self>> {
        if keys.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "tokens need at least one signing key"));
        }
        Ok(Arc::new(Self { keys, cache: Cache::new() }))
    }

    fn signing(&self) -> &SigningKey {
        &self.keys[0] // `new` asks for one
    }
}

impl Jwt {
    /// The first key signs, all verify: to rotate, put the new key in front and drop the old one when the last token
    /// that it signed has ended. [`ErrorKind::Invalid`] without a key or with an unfit issuer or audience.
    pub fn new(
        keys: Vec<SigningKey>,
        config: JwtConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self> {
        let ring = Ring::new(keys)?;
        // The bound keeps every issued token below `MAX_TOKEN`, whatever the user and device are called.
        let fit =
            |text: &str| (1..=256).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if !fit(&config.issuer) || !fit(&config.audience) {
            let rule = "the issuer and the audience of tokens must be 1 to 256 printable ASCII characters";
            return Err(Error::new(ErrorKind::Invalid, rule));
        }
        Ok(Self { ring: RwLock::new(ring), config, clock, entropy })
    }

    /// From now on these keys, in the order of [`Jwt::new`]: tokens of a key that is not among them are not valid any
    /// more, not even remembered ones. What is under way ends with the keys that it began with.
    /// [`ErrorKind::Invalid`] without a key, and everything stays as it was.
    pub fn replace_keys(&self, keys: Vec<SigningKey>) -> Result<()> {
        let ring = Ring::new(keys)?;
        // A single assignment: no panic leaves half of one behind.
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    fn ring(&self) -> Arc<Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything but the time and the cache.
    fn check(&self, ring: &Ring, token: &str) -> Option<Checked> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header = decode(header)?;
        let header: Header<'_> = object(&header)?;
        if !header.typ.eq_ignore_ascii_case("JWT") {
            return None;
        }
        // The key decides the algorithm; the header may only agree with it.
        let key = ring.keys.iter().find(|k| k.kid() == header.kid)?;
        if header.alg != key.algorithm().as_str() || !key.signed(message.as_bytes(), &decode(signature)?) {
            return None;
        }
        object::<Claims<'_>>(&decode(payload)?)?.check(&self.config)
    }
}

impl Authenticator for Jwt {
    fn verify(&self, token: &str) -> Result<Arc<Verified>> {
        let refused = || Error::new(ErrorKind::Unauthenticated, "this token is not valid: sign in again");
        if token.len() > MAX_TOKEN {
            return Err(refused());
        }
        let (ring, now) = (self.ring(), self.clock.now());
        if let Some(checked) = ring.cache.get(token) {
            return if checked.holds_at(now) { Ok(checked.verified) } else { Err(refused()) };
        }
        let checked = self.check(&ring, token).filter(|c| c.holds_at(now)).ok_or_else(refused)?;
        let verified = checked.verified.clone();
        ring.cache.insert(token, checked);
        Ok(verified)
    }
}

impl TokenIssuer for Jwt {
    fn issue_in(&self, identity: &Identity, scope: Scope, session: Option<&SessionId>) -> Result<String> {
        let ring = self.ring();
        let key = ring.signing();
        let mut id = [0u8; 16];
        self.entropy.fill(&mut id)?;
        let now = self.clock.now() / 1_000;
        let header =
            Header { alg: key.algorithm().as_str().into(), typ: "JWT".into(), kid: key.kid().into() };
        let claims = Claims {
            userid: identity.user.as_str().into(),
            clientid: identity.device.as_str().into(),
            sub: identity.user.as_str().into(),
            iss: self.config.issuer.as_str().into(),
            aud: self.config.audience.as_str().into(),
            iat: now,
            exp: now.saturating_add(self.config.lifetime.as_secs()),
            nbf: 0,
            jti: B64.encode(id).into(),
            sid: session.map(|session| session.as_str().into()),
            scope,
        };
        let mut token = format!("{}.{}", encode(&header)?, encode(&claims)?);
        let signature = key.sign(token.as_bytes())?;
        token.push('.');
        B64.encode_string(signature, &mut token);
        Ok(token)
    }

    fn lifetime(&self) -> Duration {
        self.config.lifetime
    }

    fn secret(&self, purpose: &str) -> [u8; 32] {
        self.ring().signing().derive(purpose)
    }

    fn jwks(&self) -> Value {
        json!({ "keys": self.ring().keys.iter().map(SigningKey::jwk).collect::<Vec<_>>() })
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("keys", &self.ring().keys)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn encode(part: &impl Serialize) -> Result<String> {
    let json = serde_json::to_vec(part).map_err(|e| Error::internal("writing a token", e))?;
    Ok(B64.encode(json))
}
