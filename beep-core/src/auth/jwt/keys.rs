//! The keys that sign tokens: made, read from PEM, written as PEM, shown to others as JWK.

use crate::{Error, ErrorKind, Result};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as B64, Engine as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How tokens are signed. Each key serves exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSA PKCS#1 v1.5 with SHA-256; keys made here have 2,048 bits. Verifies fastest, and everybody can.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// Ed25519. Signs fastest, and its tokens are a third shorter.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::EdDsa, Algorithm::Es256];

    /// The word in a token's header (RFC 7518, RFC 8037).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// The algorithm that this word names; [`ErrorKind::Malformed`] when none.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == text).ok_or_else(|| {
            Error::new(ErrorKind::Malformed, "a signing algorithm must be `RS256`, `EdDSA` or `ES256`")
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A private key with its public half. Cheap to clone; its `Debug` names the key without showing it.
///
/// ```
/// use beep_core::auth::jwt::{Algorithm, SigningKey};
/// let key = SigningKey::generate(Algorithm::EdDsa)?;
/// let same = SigningKey::from_pem(&key.to_pem())?; // as kept in a file that only the server may read
/// assert_eq!(same.kid(), key.kid());
/// # Ok::<(), beep_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    pair: Pair,
    public: ParsedPublicKey,
    kid: String,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

impl SigningKey {
    /// Makes a new key. The randomness is aws-lc's own: no other source can be given to it, in tests neither.
    pub fn generate(algorithm: Algorithm) -> Result<Self> {
        let failed = |_| Error::new(ErrorKind::Internal, "the signing key could not be made");
        Self::new(match algorithm {
            Algorithm::Rs256 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
            Algorithm::EdDsa => Pair::Ed(Ed25519KeyPair::generate().map_err(failed)?),
            Algorithm::Es256 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?)
            }
        })
    }

    /// The key in this PEM text: one unencrypted PKCS#8 block. What is in it tells the algorithm.
    ///
    /// [`ErrorKind::Malformed`] when it is none, [`ErrorKind::Invalid`] when it is a key that cannot sign tokens here,
    /// such as RSA below 2,048 bits. The errors never show the text.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let malformed = |message: String| Error::new(ErrorKind::Malformed, message);
        let body =
            pem.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or_else(|| {
                malformed(format!(
                    "a signing key must be one unencrypted PKCS#8 block that begins with `{BEGIN}`; \
                 `openssl pkcs8 -topk8 -nocrypt -in KEY` makes one of any other form"
                ))
            })?;
        let body = Zeroizing::new(body.bytes().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<u8>>());
        let der = BASE64_STANDARD.decode(&body).map(Zeroizing::new).map_err(|_| {
            malformed(
                "the text between the two lines of the signing key is not base64: copy the whole file".into(),
            )
        })?;
        // PKCS#8 names the kind of key inside, so at most one of these can succeed.
        if let Ok(pair) = RsaKeyPair::from_pkcs8(&der) {
            return Self::new(Pair::Rsa(pair));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(&der) {
            return Self::new(Pair::Ed(pair));
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der) {
            return Self::new(Pair::Ec(pair));
        }
        let wanted = "RSA of 2,048 to 8,192 bits, Ed25519 or ECDSA P-256";
        Err(Error::new(
            ErrorKind::Invalid,
            format!("the signing key is damaged or of another kind than {wanted}"),
        ))
    }

    /// A secret that nobody without this key knows, another one for each purpose.
    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0.pkcs8);
        let mut secret = [0; 32];
        secret.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
        secret
    }

    fn new(pair: Pair) -> Result<Self> {
        let failed = || Error::new(ErrorKind::Internal, "the signing key could not be encoded");
        // The same bytes as `openssl pkey -pubout -outform der`, so that anybody can compute the id of a key.
        let spki: PublicKeyX509Der<'_> = match &pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::Ed(pair) => pair.public_key().as_der(),
            Pair::Ec(pair) => pair.public_key().as_der(),
        }
        .map_err(|_| failed())?;
        let pkcs8 = match &pair {
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|der| der.as_ref().to_vec()),
            Pair::Ed(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Pair::Ec(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
        }
        .map(Zeroizing::new)
        .map_err(|_| failed())?;
        let public = match &pair {
            Pair::Rsa(pair) => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key()),
            Pair::Ed(pair) => ParsedPublicKey::new(&ED25519, pair.public_key()),
            Pair::Ec(pair) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key()),
        }
        .map_err(|_| failed())?;
        let mut kid = B64.encode(Sha256::digest(spki.as_ref()));
        kid.truncate(16);
        Ok(Self(Arc::new(Inner { pair, public, kid, pkcs8 })))
    }

    /// The key as PKCS#8 PEM. It is the secret itself: for a file of mode 0600 and nothing else.
    pub fn to_pem(&self) -> String {
        let body = Zeroizing::new(BASE64_STANDARD.encode(self.0.pkcs8.as_slice()));
        let mut pem =
            String::with_capacity(BEGIN.len() + END.len() + 3 + body.len() + body.len().div_ceil(64));
        pem.push_str(BEGIN);
        for (i, c) in body.chars().enumerate() {
            if i % 64 == 0 {
                pem.push('\n');
            }
            pem.push(c);
        }
        pem.push('\n');
        pem.push_str(END);
        pem.push('\n');
        pem
    }

    /// Its name in token headers: the first 16 characters of base64url of the SHA-256 of the public key
    /// (`SubjectPublicKeyInfo`, DER). The same key has the same name everywhere.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        match self.0.pair {
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::Ed(_) => Algorithm::EdDsa,
            Pair::Ec(_) => Algorithm::Es256,
        }
    }

    /// The public half as a JWK (RFC 7517).
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.0.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let number = |n: aws_lc_rs::io::Positive<'_>| B64.encode(n.big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": number(public.modulus()), "e": number(public.exponent()) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": B64.encode(pair.public_key()) }),
            Pair::Ec(pair) => {
                // An uncompressed point: one byte that says so, then both coordinates.
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                json!({ "kty": "EC", "crv": "P-256", "x": B64.encode(x), "y": B64.encode(y) })
            }
        };
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().as_str().into();
        jwk["kid"] = self.kid().into();
        jwk
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| Error::new(ErrorKind::Internal, "the token could not be signed");
        match &self.0.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Pair::Ed(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ec(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
        }
    }

    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.public.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm())
            .field("kid", &self.kid())
            .finish_non_exhaustive()
    }
}
