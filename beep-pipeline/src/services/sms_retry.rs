//! How the SMS services that are reached over HTTP are asked: where, by which client, and how often.

use beep_core::{Error, ErrorKind, Result};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use std::error::Error as StdError;
use std::time::Duration;

/// How long one try may take, from connecting to the end of the answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a message is tried.
const TRIES: u32 = 3;
/// The pause before the second try; the next is four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest that a service may ask us to wait: somebody looks at a screen meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A client that goes where it is told and nowhere else: a redirect would carry number and text to a stranger.
pub(super) fn client() -> Result<Client> {
    Client::builder()
        .user_agent(concat!("beep/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| Error::internal("preparing for HTTP", cause(&e)))
}

/// The address in `text`; [`ErrorKind::Invalid`] when it is none of HTTP. The error does not hold it, as its
/// credentials and even its path may be secret.
pub(super) fn address(text: &str, whose: &str) -> Result<Url> {
    let url = Url::parse(text).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    url.ok_or_else(|| {
        let rule = format!("the address of {whose} must begin with http:// or https:// and name a host");
        Error::new(ErrorKind::Invalid, rule)
    })
}

/// What of an address may be shown: scheme, host and port.
pub(super) fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Sends what `request` makes, up to three times, and returns the first answer that is neither 429 nor 5xx.
///
/// * Tried again after 250 ms and then 1 s, or after as many seconds as `Retry-After` says: a connection that fails or
///   breaks, 429, 5xx.
/// * Not tried again: an answer that does not come in time, as the message may be under way and whoever waits for it has
///   lost patience; and a service that wants to be left alone for longer than 5 s.
/// * Then [`ErrorKind::Unavailable`], temporary, which names `whose` service it was.
pub(super) async fn send(whose: &str, request: impl Fn() -> RequestBuilder) -> Result<Response> {
    let mut pause = FIRST_PAUSE;
    for left in (0..TRIES).rev() {
        let (error, wanted) = match request().send().await {
            Ok(answer) if !busy(answer.status()) => return Ok(answer),
            Ok(answer) => {
                let error = unavailable(format!("{whose} is busy or broken; try again later"))
                    .with("status", answer.status().as_u16());
                (error, wanted_pause(&answer))
            }
            Err(e) if e.is_builder() => return Err(Error::internal("making the request", cause(&e))),
            Err(e) if e.is_timeout() => {
                return Err(unavailable(format!("{whose} does not answer in time")).with_source(cause(&e)));
            }
            Err(e) => (unavailable(format!("{whose} cannot be reached")).with_source(cause(&e)), None),
        };
        let next = wanted.unwrap_or(pause);
        if left == 0 || next > LONGEST_PAUSE {
            return Err(error);
        }
        tracing::debug!(%error, left, "a text message was not taken and is tried again");
        tokio::time::sleep(next).await;
        pause *= 4;
    }
    Err(Error::new(ErrorKind::Internal, "no request was sent"))
}

/// An answer that says that asking again will not help.
pub(super) fn refused(message: impl Into<String>, status: StatusCode) -> Error {
    unavailable(message).with("status", status.as_u16()).permanent()
}

fn unavailable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

fn busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// In whole seconds; a date is not understood, and our own pause is taken.
fn wanted_pause(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Why, without the address that the error's own text repeats.
fn cause(e: &reqwest::Error) -> String {
    let mut why = "the request failed".to_owned();
    let mut source = e.source();
    while let Some(inner) = source {
        why = inner.to_string();
        source = inner.source();
    }
    why
}
