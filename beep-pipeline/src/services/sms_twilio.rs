//! Text messages by Twilio's Programmable Messaging.

use super::sms_retry;
use async_trait::async_trait;
use beep_core::auth::SmsSender;
use beep_core::{Error, ErrorKind, Result};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

const WHOSE: &str = "Twilio";
/// Where the API is unless a region or a test says otherwise.
const BASE: &str = "https://api.twilio.com";
/// More of an answer is not read: Twilio's errors have some hundred bytes.
const MOST_ANSWER: usize = 16 * 1024;

/// What Twilio says about numbers that it will never send to.
const UNREACHABLE: &[u32] = &[
    21211, // not a number
    21214, // cannot be reached
    21217, // not a number
    21408, // in a country that the account may not send to
    21610, // its owner said STOP
    21612, // not from this sender
    21614, // not a mobile
    21635, // a landline
];
/// What Twilio says when the account SID and the auth token do not belong together.
const UNAUTHENTICATED: u32 = 20003;

/// Sends messages by Twilio.
///
/// * 201 means that Twilio took the message. Its codes for a number that can never be reached are
///   [`ErrorKind::Invalid`]; whatever the operator must mend, such as credentials, is [`ErrorKind::Unavailable`],
///   permanent, with Twilio's code where it told one.
/// * A connection that fails, 429 and 5xx are tried three times in all, after 250 ms and 1 s or what `Retry-After` says
///   up to 5 s, then [`ErrorKind::Unavailable`]. An answer that takes longer than the timeout is not waited for again.
///   Twilio knows no idempotency key: when a connection breaks the message may come twice.
/// * Redirects are not followed. Twilio's own sentences are not passed on: they repeat the number.
pub struct TwilioSms {
    account_sid: String,
    auth_token: String,
    from: String,
    base: Url,
    timeout: Duration,
    client: Client,
}

/// The part of Twilio's errors that is fit to be told.
#[derive(Default, Deserialize)]
struct Refusal {
    code: Option<u32>,
}

impl TwilioSms {
    /// An account at `https://api.twilio.com`, with a timeout of 10 s.
    ///
    /// * `from` is a number in E.164, a short code or a name that the account may use, or the SID of a messaging service
    ///   (`MG…`).
    /// * [`ErrorKind::Invalid`] when the SID is not `AC` and letters and digits, or the token or `from` is empty.
    pub fn new(account_sid: &str, auth_token: &str, from: &str) -> Result<Self> {
        let invalid = |rule: &str| Error::new(ErrorKind::Invalid, rule);
        // It becomes a part of the address.
        if !account_sid.starts_with("AC") || !account_sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(invalid("Twilio's account SID is AC and 32 hex digits: the console shows it"));
        }
        if auth_token.is_empty() || from.is_empty() {
            return Err(invalid(
                "Twilio needs an auth token and a sender: a number or the SID of a messaging service",
            ));
        }
        Ok(Self {
            account_sid: account_sid.to_owned(),
            auth_token: auth_token.to_owned(),
            from: from.to_owned(),
            base: sms_retry::address(BASE, "Twilio's API")?,
            timeout: sms_retry::TIMEOUT,
            client: sms_retry::client()?,
        })
    }

    /// The API at another base address, such as that of a region. [`ErrorKind::Invalid`] when it is not one of HTTP, or
    /// holds credentials: they are the account SID and the auth token.
    pub fn with_base(mut self, base: &str) -> Result<Self> {
        self.base = sms_retry::address(base, "Twilio's API")?;
        if !self.base.username().is_empty() || self.base.password().is_some() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the address of Twilio's API must not hold credentials",
            ));
        }
        Ok(self)
    }

    /// How long one try may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn url(&self) -> Url {
        let mut url = self.base.clone();
        // `address` took only those that have a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["2010-04-01", "Accounts", &self.account_sid, "Messages.json"]);
        }
        url
    }
}

#[async_trait]
impl SmsSender for TwilioSms {
    async fn send(&self, to: &str, text: &str) -> Result<()> {
        let sender = if self.from.starts_with("MG") { "MessagingServiceSid" } else { "From" };
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("To", to)
            .append_pair(sender, &self.from)
            .append_pair("Body", text)
            .finish();
        let answer = sms_retry::send(WHOSE, || {
            self.client
                .post(self.url())
                .timeout(self.timeout)
                .basic_auth(&self.account_sid, Some(&self.auth_token))
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body.clone())
        })
        .await?;
        let status = answer.status();
        if status == StatusCode::CREATED { Ok(()) } else { Err(refusal(status, code(answer).await)) }
    }
}

fn refusal(status: StatusCode, code: Option<u32>) -> Error {
    let error = match code {
        Some(code) if UNREACHABLE.contains(&code) => {
            Error::new(ErrorKind::Invalid, "this number cannot get text messages")
                .with("status", status.as_u16())
        }
        _ if code == Some(UNAUTHENTICATED) || status == StatusCode::UNAUTHORIZED => {
            sms_retry::refused("Twilio does not know us: check the account SID and auth token", status)
        }
        None => {
            let rule = "this is not how Twilio answers: check the base address; redirects are not followed";
            sms_retry::refused(rule, status)
        }
        _ => sms_retry::refused(
            "Twilio refuses the message: https://www.twilio.com/docs/api/errors lists its codes",
            status,
        ),
    };
    match code {
        Some(code) => error.with("twilio_code", code),
        None => error,
    }
}

/// Twilio's code for what is wrong, if it told one.
async fn code(mut answer: Response) -> Option<u32> {
    let mut body = Vec::new();
    // The rest of an answer that breaks off or does not end has no say.
    while let Ok(Some(chunk)) = answer.chunk().await {
        if body.len() + chunk.len() > MOST_ANSWER {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice::<Refusal>(&body).unwrap_or_default().code
}

impl fmt::Debug for TwilioSms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwilioSms")
            .field("account_sid", &self.account_sid)
            .field("base", &sms_retry::shown(&self.base))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
