//! Failures of the server itself as lines in its log: with the id of the request, and thousands alike as one.

use beep_core::{Error, ErrorKind};
use http::HeaderValue;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is said that requests are refused.
const REFUSED_EVERY: Duration = Duration::from_secs(10);
/// When that was said last, and how many were refused since.
static REFUSED: Mutex<(Option<Instant>, u64)> = Mutex::new((None, 0));

/// What was wrong inside, on its way from the handler to the log: an extension of the response.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    kind: ErrorKind,
    text: String,
}

impl Cause {
    pub(crate) fn of(e: &Error) -> Self {
        Self { kind: e.kind(), text: e.to_string() }
    }

    /// A failure of ours is a line. A full disk or an overload refuses thousands in a second, which together are one.
    pub(crate) fn log(&self, request: Option<&HeaderValue>) {
        let request = request.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let Self { kind, text: error } = self;
        if !matches!(kind, ErrorKind::Full | ErrorKind::Unavailable) {
            tracing::error!(request, code = kind.code(), error, "a request failed");
            return;
        }
        let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, requests) = &mut *refused;
        *requests += 1;
        if last.is_none_or(|last| last.elapsed() >= REFUSED_EVERY) {
            tracing::warn!(request, code = kind.code(), error, requests = *requests, "requests are refused");
            (*last, *requests) = (Some(Instant::now()), 0);
        }
    }
}
