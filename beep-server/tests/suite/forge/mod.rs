//! Tokens that the server would never issue: each part made by hand, signed with any key in any way.

pub mod vectors;

use crate::common::Server;
use beep_core::auth::jwt::{Algorithm, JwtConfig, SigningKey};
use jsonwebtoken as other;
use serde_json::{Map, Value, json};

/// Now, in seconds; the clock of the server stands at its beginning.
pub const NOW: u64 = 1_800_000_000;

/// Makes tokens for one user on one device, with the key of the server and those of strangers.
pub struct Forge {
    pub own: SigningKey,
    pub strange: SigningKey,
    pub rsa: SigningKey,
    pub ec: SigningKey,
    user: String,
}

impl Forge {
    pub fn new(server: &Server, user: &str) -> Self {
        let key = |algorithm| SigningKey::generate(algorithm).unwrap();
        Self {
            own: server.key.clone(),
            strange: key(Algorithm::EdDsa),
            rsa: key(Algorithm::Rs256),
            ec: key(Algorithm::Es256),
            user: user.to_owned(),
        }
    }

    /// The header that the server writes for this key.
    pub fn header(&self, key: &SigningKey) -> Value {
        json!({ "alg": key.algorithm().as_str(), "typ": "JWT", "kid": key.kid() })
    }

    /// The claims that the server would write now.
    pub fn claims(&self) -> Value {
        let JwtConfig { issuer, audience, .. } = JwtConfig::default();
        json!({
            "userid": self.user, "clientid": "phone", "sub": self.user, "iss": issuer, "aud": audience,
            "iat": NOW, "exp": NOW + 600, "jti": "t-1",
        })
    }

    /// As the server issues it.
    pub fn good(&self) -> String {
        self.with_claims(|_| {})
    }

    /// Header, payload and signature of a good one.
    pub fn parts(&self) -> [String; 3] {
        let parts: Vec<_> = self.good().split('.').map(str::to_owned).collect();
        parts.try_into().unwrap()
    }

    /// A good one after one change to its header.
    pub fn with_header(&self, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut header = self.header(&self.own);
        change(header.as_object_mut().unwrap());
        signed(&self.own, header.to_string(), self.claims().to_string())
    }

    /// A good one after one change to its claims.
    pub fn with_claims(&self, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut claims = self.claims();
        change(claims.as_object_mut().unwrap());
        signed(&self.own, self.header(&self.own).to_string(), claims.to_string())
    }

    /// A good one with this in its header.
    pub fn head(&self, name: &str, value: impl Into<Value>) -> String {
        self.with_header(|header| drop(header.insert(name.into(), value.into())))
    }

    /// A good one with this among its claims.
    pub fn claim(&self, name: &str, value: impl Into<Value>) -> String {
        self.with_claims(|claims| drop(claims.insert(name.into(), value.into())))
    }

    /// Good claims behind this header, signed by this key in its own way.
    pub fn by(&self, key: &SigningKey, header: &Value) -> String {
        signed(key, header.to_string(), self.claims().to_string())
    }

    /// Good claims behind this header, with these bytes as the signature.
    pub fn stamped(&self, header: &Value, signature: &[u8]) -> String {
        let (header, claims) = (encode(header.to_string()), encode(self.claims().to_string()));
        format!("{header}.{claims}.{}", encode(signature))
    }

    /// Good claims with an HMAC that has this for its secret.
    pub fn hmac(&self, algorithm: other::Algorithm, secret: &[u8]) -> String {
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": self.own.kid() });
        let message = format!("{}.{}", encode(header.to_string()), encode(self.claims().to_string()));
        let secret = other::EncodingKey::from_secret(secret);
        let signature = other::crypto::sign(message.as_bytes(), &secret, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// Every form of the public key that somebody might feed to an HMAC.
    pub fn public_forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let jwk = self.own.jwk();
        let x = jwk["x"].as_str().unwrap();
        let raw = decode(x);
        assert_eq!(encode(&raw), x);
        // RFC 8410: what stands before the 32 bytes of an Ed25519 key.
        let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        der.extend_from_slice(&raw);
        let body = standard(&encode(&der)) + &"=".repeat((3 - der.len() % 3) % 3);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        vec![
            ("PEM", pem.clone().into_bytes()),
            ("PEM without its last line feed", pem.trim_end().into()),
            ("DER", der),
            ("bare bytes", raw),
            ("base64 text", x.into()),
            ("JWK", jwk.to_string().into_bytes()),
            ("kid", self.own.kid().into()),
        ]
    }
}

/// A token of any header and payload, really signed by this key; by another implementation than the one under test.
pub fn signed(key: &SigningKey, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    spelled(key, &encode(header), &encode(payload))
}

/// The same of parts that are spelled already.
pub fn spelled(key: &SigningKey, header: &str, payload: &str) -> String {
    let (message, pem) = (format!("{header}.{payload}"), key.to_pem());
    let secret = match key.algorithm() {
        Algorithm::Rs256 => other::EncodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::EdDsa => other::EncodingKey::from_ed_pem(pem.as_bytes()),
        _ => other::EncodingKey::from_ec_pem(pem.as_bytes()),
    };
    let algorithm = key.algorithm().as_str().parse().unwrap();
    let signature = other::crypto::sign(message.as_bytes(), &secret.unwrap(), algorithm).unwrap();
    format!("{message}.{signature}")
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    let mut text = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let group = (0..3).fold(0, |group, i| group << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
        let letters = (0..=chunk.len()).map(|i| LETTERS[(group >> (18 - 6 * i) & 63) as usize] as char);
        text.extend(letters);
    }
    text
}

pub fn decode(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().map(|b| LETTERS.iter().position(|l| *l == b).unwrap() as u32).collect();
    let groups = digits.chunks(4).flat_map(|chunk| {
        let group = (0..4).fold(0, |group, i| group << 6 | chunk.get(i).unwrap_or(&0));
        (0..chunk.len() - 1).map(move |i| (group >> (16 - 8 * i)) as u8)
    });
    groups.collect()
}

/// The same text in the standard alphabet.
pub fn standard(text: &str) -> String {
    text.replace('-', "+").replace('_', "/")
}
