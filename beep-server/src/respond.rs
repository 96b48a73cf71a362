//! The one place where kinds of errors become statuses, and answers become bytes.

use crate::failures::Cause;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use beep_core::{Error, ErrorKind};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// What handlers return.
pub(crate) type Answer = Result<Response, Problem>;

/// An error on its way to the client: `application/problem+json` (RFC 9457) with a stable `code`.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// For the log, where it is the server's fault.
    cause: Option<Cause>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), cause: None }
    }
}

impl From<Error> for Problem {
    fn from(e: Error) -> Self {
        let status = match e.kind() {
            ErrorKind::Malformed => StatusCode::BAD_REQUEST,
            ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Denied => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Full => StatusCode::INSUFFICIENT_STORAGE,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        // What lies inside goes to the log; the client is told what it can act on.
        let detail = match e.kind() {
            ErrorKind::Internal => "something went wrong inside the server; its log says what".to_owned(),
            _ => e.message().to_owned(),
        };
        let cause = status.is_server_error().then(|| Cause::of(&e));
        Self { status, code: e.kind().code(), detail, cause }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, code, detail, cause } = self;
        let title = status.canonical_reason().unwrap_or("Error");
        let document = Document {
            r#type: format!("urn:beep:problem:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: &detail,
        };
        let mut response = json(status, &document);
        cause.map(|cause| response.extensions_mut().insert(cause));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // What is limited is counted by the hour: whoever came back after a second would only be refused again.
        let wait = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some("1"),
            StatusCode::TOO_MANY_REQUESTS => Some("60"),
            _ => None,
        };
        wait.map(|seconds| headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds)));
        response
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => answer(status, "application/json", body),
        Err(e) => Problem::from(Error::internal("writing an answer", e)).into_response(),
    }
}

/// A plain text answer.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    answer(status, "text/plain; charset=utf-8", body.into())
}

fn answer(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
