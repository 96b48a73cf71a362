//! Text messages by an HTTP service of the operator's own, which proves by a signature that they are from Beep.

use super::sms_retry;
use async_trait::async_trait;
use aws_lc_rs::hmac;
use beep_core::auth::SmsSender;
use beep_core::clock::{Clock, Entropy, System};
use beep_core::{Error, ErrorKind, Result};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const WHOSE: &str = "the SMS web hook";

/// Sends messages by a POST of `{"to":"+6591234567","text":"…"}` to an address.
///
/// | header | holds |
/// |---|---|
/// | `X-Beep-Timestamp` | when this try was made, in seconds since 1970 |
/// | `X-Beep-Signature` | `sha256=` and the hex HMAC-SHA256, by the secret, of the timestamp, a dot and the body |
/// | `Idempotency-Key` | 32 hex digits: the same for all tries of a message, another for every message |
///
/// * The receiver checks the signature, refuses timestamps that are minutes old, and sends nothing twice for one key.
/// * Any 2xx means that it took the message. 400 and 422 mean that this number can never be reached:
///   [`ErrorKind::Invalid`]. Any other 4xx and a redirect, which is not followed, are for the operator:
///   [`ErrorKind::Unavailable`], permanent.
/// * A connection that fails, 429 and 5xx are tried three times in all, after 250 ms and 1 s or what `Retry-After` says
///   up to 5 s, then [`ErrorKind::Unavailable`]. An answer that takes longer than the timeout is not waited for again.
/// * Neither its `Debug` nor an error shows more of the address than scheme, host and port.
pub struct WebhookSms {
    url: Url,
    key: hmac::Key,
    timeout: Duration,
    client: Client,
    clock: Arc<dyn Clock>,
}

impl WebhookSms {
    /// A web hook at this address, with a timeout of 10 s. [`ErrorKind::Invalid`] when the address is not one of HTTP or
    /// the secret is empty.
    pub fn new(url: &str, secret: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        if secret.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the SMS web hook needs a secret to sign messages with",
            ));
        }
        Ok(Self {
            url: sms_retry::address(url, WHOSE)?,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            timeout: sms_retry::TIMEOUT,
            client: sms_retry::client()?,
            clock,
        })
    }

    /// How long one try may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

#[async_trait]
impl SmsSender for WebhookSms {
    async fn send(&self, to: &str, text: &str) -> Result<()> {
        let body = serde_json::json!({ "to": to, "text": text }).to_string();
        let mut idempotency = [0; 16];
        System.fill(&mut idempotency)?;
        let idempotency = hex(&idempotency);
        let answer = sms_retry::send(WHOSE, || {
            let timestamp = (self.clock.now() / 1000).to_string();
            let signature = hmac::sign(&self.key, format!("{timestamp}.{body}").as_bytes());
            self.client
                .post(self.url.clone())
                .timeout(self.timeout)
                .header(CONTENT_TYPE, "application/json")
                .header("x-beep-timestamp", timestamp)
                .header("x-beep-signature", format!("sha256={}", hex(signature.as_ref())))
                .header("idempotency-key", &idempotency)
                .body(body.clone())
        })
        .await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status @ (StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) => {
                Err(Error::new(ErrorKind::Invalid, "this number cannot get text messages")
                    .with("status", status.as_u16()))
            }
            status => Err(sms_retry::refused(advice(status), status)),
        }
    }
}

/// What the operator can do about it.
fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => {
            "the SMS web hook is elsewhere, and redirects are not followed: configure its final address"
        }
        401 | 403 => "the SMS web hook does not believe that we are Beep: check the secret and both clocks",
        404 | 405 | 410 => "there is no SMS web hook at its address: check the address",
        _ => "the SMS web hook refuses messages: its log should say why",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

impl fmt::Debug for WebhookSms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = sms_retry::shown(&self.url);
        f.debug_struct("WebhookSms")
            .field("url", &url)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
