//! The original's protobuf messages, field for field, and its keys.

use beep_core::bite::BiteKey;
use bytes::Bytes;

/// A user on a device.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Client {
    /// The user's id.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The device's id.
    #[prost(string, tag = "2")]
    pub client: String,
}

/// Something said, or the text or bytes that belong to it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Bite {
    /// The conversation.
    #[prost(string, tag = "1")]
    pub key: String,
    /// When it begins; milliseconds here, whatever the sender took.
    #[prost(uint64, tag = "2")]
    pub start: u64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
    /// Who said it.
    #[prost(message, optional, tag = "4")]
    pub client: Option<Client>,
}

/// A wish to store a bite.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Store {
    /// `bite`, `user` or `transcription`.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// The bite.
    #[prost(message, optional, tag = "2")]
    pub bite: Option<Bite>,
}

/// What became of a wish.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Response {
    /// A status code of HTTP.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// What was asked for, or a sentence.
    #[prost(bytes = "bytes", tag = "2")]
    pub message: Bytes,
    /// Whom it is for; nobody when it answers a request.
    #[prost(message, optional, tag = "3")]
    pub client: Option<Client>,
}

/// Asks for one record.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DataRequest {
    /// The conversation.
    #[prost(string, tag = "1")]
    pub key: String,
    /// When it begins.
    #[prost(uint64, tag = "2")]
    pub start: u64,
    /// `bite`, `user` or `transcription`.
    #[prost(string, tag = "3")]
    pub r#type: String,
}

/// Asks which records begin from then to then.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ScanRequest {
    /// The conversation.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The first start.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// The last start.
    #[prost(uint64, tag = "3")]
    pub to: u64,
    /// `bite`, `user` or `transcription`.
    #[prost(string, tag = "4")]
    pub r#type: String,
}

/// The original's name of a record: label, `+`, conversation, `@`, and the start in 8 bytes, big-endian.
pub fn key(key: &BiteKey) -> Bytes {
    let mut out = format!("{}+{}@", key.label, key.conversation).into_bytes();
    out.extend_from_slice(&key.start.to_be_bytes());
    out.into()
}
