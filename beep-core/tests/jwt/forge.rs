//! Tokens that differ from a good one in one thing, really signed, by another implementation than the one under test.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as B64, Engine as _};
use beep_core::auth::Authenticator;
use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, MAX_TOKEN, SigningKey};
use beep_core::clock::{ManualClock, SeededEntropy};
use beep_core::id::Identity;
use jsonwebtoken as other;
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Now, in seconds; the clock stands at its beginning.
pub const NOW: u64 = 1_790_000_000;
pub const LEEWAY: u64 = 30;
pub const MESSAGE: &str = "this token is not valid: sign in again";

/// The keys of the server (RSA first) and those of a stranger, made once per process.
pub struct Keys {
    pub rsa: SigningKey,
    pub ed: SigningKey,
    pub ec: SigningKey,
    pub strange_rsa: SigningKey,
    pub strange_ed: SigningKey,
}

pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let key = |a| SigningKey::generate(a).expect("a key");
    Keys {
        rsa: key(Algorithm::Rs256),
        ed: key(Algorithm::EdDsa),
        ec: key(Algorithm::Es256),
        strange_rsa: key(Algorithm::Rs256),
        strange_ed: key(Algorithm::EdDsa),
    }
});

pub fn jwt_at(clock: &Arc<ManualClock>, keys: &[&SigningKey]) -> Jwt {
    let config = JwtConfig { leeway: Duration::from_secs(LEEWAY), ..JwtConfig::default() };
    let keys = keys.iter().map(|k| (*k).clone()).collect();
    Jwt::new(keys, config, clock.clone(), Arc::new(SeededEntropy::new(7))).expect("keys and config are fit")
}

pub fn server() -> Jwt {
    jwt_at(&Arc::new(ManualClock::at(NOW * 1_000)), &[&KEYS.rsa, &KEYS.ed, &KEYS.ec])
}

pub fn alice() -> Identity {
    Identity { user: "u-alice".parse().expect("an id"), device: "phone 1".parse().expect("an id") }
}

pub fn good_header(key: &SigningKey) -> Value {
    json!({ "alg": key.algorithm().as_str(), "typ": "JWT", "kid": key.kid() })
}

pub fn good_claims() -> Value {
    json!({
        "userid": "u-alice", "clientid": "phone 1", "sub": "u-alice", "iss": "beep", "aud": "beep",
        "iat": NOW, "exp": NOW + 600, "jti": "t-1",
    })
}

/// Signs with another implementation than the one under test.
pub fn signature(key: &SigningKey, message: &str, alg: other::Algorithm) -> String {
    let pem = key.to_pem();
    let secret = match key.algorithm() {
        Algorithm::Rs256 => other::EncodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::EdDsa => other::EncodingKey::from_ed_pem(pem.as_bytes()),
        _ => other::EncodingKey::from_ec_pem(pem.as_bytes()),
    };
    other::crypto::sign(message.as_bytes(), &secret.expect("our own PEM"), alg).expect("signed")
}

pub fn native(key: &SigningKey) -> other::Algorithm {
    key.algorithm().as_str().parse().expect("an algorithm of jsonwebtoken")
}

/// A token of any header and payload bytes, really signed by this key.
pub fn signed(key: &SigningKey, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", B64.encode(header), B64.encode(payload));
    let signature = signature(key, &message, native(key));
    format!("{message}.{signature}")
}

/// A good token of the RSA key after one change to its header.
pub fn with_header(change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let mut header = good_header(&KEYS.rsa);
    change(header.as_object_mut().expect("an object"));
    signed(&KEYS.rsa, header.to_string(), good_claims().to_string())
}

/// A good token of the RSA key after one change to its claims.
pub fn with_claims(change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let mut claims = good_claims();
    change(claims.as_object_mut().expect("an object"));
    signed(&KEYS.rsa, good_header(&KEYS.rsa).to_string(), claims.to_string())
}

pub fn header(name: &str, value: impl Into<Value>) -> String {
    with_header(|h| drop(h.insert(name.into(), value.into())))
}

pub fn claim(name: &str, value: impl Into<Value>) -> String {
    with_claims(|c| drop(c.insert(name.into(), value.into())))
}

pub fn good() -> String {
    with_claims(|_| {})
}

/// Header, payload and signature of a good token.
pub fn parts() -> [String; 3] {
    let token = good();
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts.try_into().expect("three parts")
}

pub type Case = (String, String);

pub fn case(name: impl Into<String>, token: impl Into<String>) -> Case {
    (name.into(), token.into())
}

/// The first token, from somewhat below the limit on, whose length is as asked.
pub fn long(fit: impl Fn(usize) -> bool) -> String {
    let near = (MAX_TOKEN - claim("x", "").len()) / 4 * 3;
    let longer = |n: usize| claim("x", "x".repeat(near - 8 + n));
    (0..16).map(longer).find(|token| fit(token.len())).expect("a token around the limit")
}

#[track_caller]
pub fn assert_accepted(token: &str, what: &str) {
    let server = server();
    for time in ["first", "second"] {
        let verified = server.verify(token).unwrap_or_else(|e| panic!("{what}, {time} time: {e}"));
        assert_eq!(verified.identity.user.as_str(), "u-alice", "{what}");
    }
}
