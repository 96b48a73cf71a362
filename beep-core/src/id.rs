//! Names of users, conversations and devices: opaque, checked once, cheap to clone.

use crate::clock::Entropy;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text; [`ErrorKind::Malformed`] when it is none.
            pub fn parse(text: &str) -> Result<Self> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(Error::new(ErrorKind::Malformed, concat!($what, " must be ", $rule)))
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().into()
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn key_text(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

id! {
    /// A user: 1 to 64 letters, digits and hyphens; those made here are `u-` and 32 hex digits.
    UserId, "a user id", "1 to 64 letters, digits and hyphens", key_text
}
id! {
    /// A conversation: 1 to 64 letters, digits and hyphens; those made here are `c-` and 32 hex digits.
    ConversationId, "a conversation", "1 to 64 letters, digits and hyphens", key_text
}
id! {
    /// A device (the original's client): its own choice, 1 to 128 printable ASCII characters.
    DeviceId, "a device id", "1 to 128 printable ASCII characters",
    |t| (1..=128).contains(&t.len()) && t.bytes().all(|b| (0x20..0x7f).contains(&b))
}

id! {
    /// A session: 1 to 64 letters, digits and hyphens; those made here are `s-` and 32 hex digits.
    SessionId, "a session id", "1 to 64 letters, digits and hyphens", key_text
}

fn random_hex(prefix: &str, entropy: &dyn Entropy) -> Result<String> {
    let mut bytes = [0u8; 16];
    entropy.fill(&mut bytes)?;
    Ok(bytes.iter().fold(prefix.to_owned(), |mut s, b| {
        s.push_str(&format!("{b:02x}"));
        s
    }))
}

impl UserId {
    /// A new one: `u-` and 32 hex digits.
    pub fn random(entropy: &dyn Entropy) -> Result<Self> {
        Self::parse(&random_hex("u-", entropy)?)
    }
}

impl SessionId {
    /// A new one: `s-` and 32 hex digits.
    pub fn random(entropy: &dyn Entropy) -> Result<Self> {
        Self::parse(&random_hex("s-", entropy)?)
    }
}

impl ConversationId {
    /// A new one: `c-` and 32 hex digits.
    pub fn random(entropy: &dyn Entropy) -> Result<Self> {
        Self::parse(&random_hex("c-", entropy)?)
    }
}

/// Who speaks or asks: a user on one of their devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
}
