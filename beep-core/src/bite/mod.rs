//! A bite: one thing said, bit-exact as received, with what is known about it.

mod key;
mod scan;

pub use key::{BiteKey, Label};
pub use scan::{MAX_PAGE, ScanPage, ScanRange};

use crate::clock::Millis;
use crate::id::Identity;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// SHA-256 of a bite's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0u8; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is known about a stored record besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BiteMeta {
    /// Who recorded it, on which device.
    pub author: Identity,
    /// The media type found in the bytes, such as `audio/ogg; codecs=opus`.
    pub media_type: String,
    /// How long it lasts, where that could be told without decoding.
    pub duration_ms: Option<u64>,
    /// Length of the bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// When the server received it.
    pub received: Millis,
}

/// A stored record: key, what is known, and the bytes as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bite {
    /// Where it stands.
    pub key: BiteKey,
    /// What is known about it.
    pub meta: BiteMeta,
    /// The bytes, exactly as received.
    pub body: Bytes,
}
