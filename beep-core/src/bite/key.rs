//! The key of a bite and its bytes: label · conversation (length-prefixed) · start, so byte order is time order.

use crate::clock::Millis;
use crate::id::ConversationId;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which kind of record stands at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Label {
    /// Audio as received.
    Bite = 1,
    /// A record that the author attached to a bite.
    User = 2,
    /// The transcript of a bite, as JSON.
    Transcription = 3,
}

impl Label {
    /// Every label.
    pub const ALL: [Label; 3] = [Label::Bite, Label::User, Label::Transcription];

    /// The word in URLs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bite => "bite",
            Self::User => "user",
            Self::Transcription => "transcription",
        }
    }

    /// The label that this word names; [`ErrorKind::Malformed`] when none.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|l| l.as_str() == text).ok_or_else(|| {
            Error::new(ErrorKind::Malformed, "a label must be `bite`, `user` or `transcription`")
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a record stands: `start` is unique per label and conversation.
///
/// Laws, each a property test: decoding undoes encoding for every key; byte order is
/// (label, conversation, start) order within a conversation; no bytes make decoding panic.
///
/// ```
/// use beep_core::bite::{BiteKey, Label};
/// let key = BiteKey::new(Label::Bite, "c-1".parse()?, 0x40); // 0x40 is '@', which broke the original
/// assert_eq!(BiteKey::decode(&key.encode())?, key);
/// # Ok::<(), beep_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BiteKey {
    /// The kind of record.
    pub label: Label,
    /// The conversation that it was said in.
    pub conversation: ConversationId,
    /// When it begins.
    pub start: Millis,
}

impl BiteKey {
    /// A key from its parts.
    pub fn new(label: Label, conversation: ConversationId, start: Millis) -> Self {
        Self { label, conversation, start }
    }

    /// The same place under another label.
    #[must_use]
    pub fn labelled(&self, label: Label) -> Self {
        Self { label, ..self.clone() }
    }

    /// The bytes: 2 + conversation + 8.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Self::prefix(self.label, &self.conversation);
        out.extend_from_slice(&self.start.to_be_bytes());
        out
    }

    /// What the keys of one label of one conversation begin with; `start` follows as 8 bytes, big-endian.
    pub fn prefix(label: Label, conversation: &ConversationId) -> Vec<u8> {
        let name = conversation.as_str().as_bytes();
        let mut out = Vec::with_capacity(2 + name.len() + 8);
        out.push(label as u8);
        out.push(name.len() as u8); // ids are at most 64 bytes long
        out.extend_from_slice(name);
        out
    }

    /// The key in these bytes; [`ErrorKind::Corrupt`] when they are none. Parsed by position.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "these bytes are not the key of a bite");
        let (&[label, length], rest) = bytes.split_first_chunk::<2>().ok_or_else(corrupt)?;
        let label = Label::ALL.into_iter().find(|l| *l as u8 == label).ok_or_else(corrupt)?;
        let (name, start) = rest.split_at_checked(usize::from(length)).ok_or_else(corrupt)?;
        let name = std::str::from_utf8(name).map_err(|_| corrupt())?;
        let start = u64::from_be_bytes(start.try_into().map_err(|_| corrupt())?);
        Ok(Self { label, conversation: ConversationId::parse(name).map_err(|_| corrupt())?, start })
    }
}

impl fmt::Display for BiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.label, self.conversation, self.start)
    }
}
