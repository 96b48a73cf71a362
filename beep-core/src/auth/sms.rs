//! Sends a short text to a phone.

use crate::Result;
use async_trait::async_trait;

/// Sends a text message.
///
/// * `to` is a number in E.164 (`+6591234567`).
/// * `Ok` means that the provider took it, not that it arrived.
/// * [`crate::ErrorKind::Invalid`] when this number can never be reached, [`crate::ErrorKind::Unavailable`] when the
///   provider does not answer or refuses us: neither the error nor any log line holds the number or the text.
#[async_trait]
pub trait SmsSender: Send + Sync + std::fmt::Debug {
    /// Sends `text` to the phone with this number.
    async fn send(&self, to: &str, text: &str) -> Result<()>;
}
