//! What a request says: who asks, which place it names, its query and its body, each checked once.

use crate::app::App;
use crate::respond::Problem;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use beep_core::auth::Verified;
use beep_core::bite::Label;
use beep_core::clock::Millis;
use beep_core::id::ConversationId;
use beep_core::permission::{Action, Grant};
use beep_core::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use std::sync::Arc;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// Somebody with a valid token.
pub(crate) struct Caller(pub(crate) Arc<Verified>);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let query = if parts.method == Method::GET { parts.uri.query() } else { None };
        Ok(Self(authenticate(app, &parts.headers, query)?))
    }
}

impl Caller {
    /// The proof that the caller may do this there.
    pub(crate) async fn may(
        &self,
        app: &App,
        conversation: &ConversationId,
        action: Action,
    ) -> Result<Grant> {
        app.beep().gate().check(&self.0.identity, conversation, action).await
    }
}

/// Who asks, by the header, else by the query. The header wins even when it is wrong.
pub(crate) fn authenticate(app: &App, headers: &HeaderMap, query: Option<&str>) -> Result<Arc<Verified>> {
    let none =
        || Error::new(ErrorKind::Unauthenticated, "a valid token is needed: Authorization: Bearer <token>");
    let mut authorizations = headers.get_all(AUTHORIZATION).iter();
    if let Some(value) = authorizations.next() {
        if authorizations.next().is_some() {
            return Err(none());
        }
        return app.authenticator().verify(value.to_str().ok().and_then(bearer).ok_or_else(none)?);
    }
    let token = query.and_then(|q| parameter(q, "token")).ok_or_else(none)?;
    app.authenticator().verify(&token)
}

/// RFC 9110: the scheme in any case, one space or more, the token to the end.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}

/// The first value of a query parameter, decoded.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let parameters: Vec<(String, String)> = pairs(query);
    parameters.into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

fn pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).map(|(n, v)| (n.into_owned(), v.into_owned())).collect()
}

/// The query of a request, by name.
pub(crate) struct Params(Vec<(String, String)>);

impl FromRequestParts<App> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        Ok(Self(parts.uri.query().map(pairs).unwrap_or_default()))
    }
}

impl Params {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A time or count; [`ErrorKind::Malformed`] unless it is digits.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>> {
        self.get(name).map(|value| number(name, value)).transpose()
    }
}

/// An unsigned number in plain digits: no sign, no spaces.
pub(crate) fn number(name: &str, text: &str) -> Result<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        Error::new(ErrorKind::Malformed, format!("`{name}` must be a whole number from 0 to {}", u64::MAX))
    })
}

/// The place that a path names.
pub(crate) struct Place {
    pub(crate) conversation: ConversationId,
    start: Option<Millis>,
    label: Option<Label>,
}

impl FromRequestParts<App> for Place {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let malformed = |_| Error::new(ErrorKind::Malformed, "the path is not valid UTF-8");
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(malformed)?;
        let (mut conversation, mut start, mut label) = (None, None, None);
        for (name, value) in &params {
            match name {
                "key" => conversation = Some(ConversationId::parse(value)?),
                "start" => start = Some(number("start", value)?),
                "label" => label = Some(Label::parse(value)?),
                _ => {}
            }
        }
        let conversation = conversation
            .ok_or_else(|| Error::new(ErrorKind::Internal, "this route has no conversation in its path"))?;
        Ok(Self { conversation, start, label })
    }
}

impl Place {
    pub(crate) fn start(&self) -> Result<Millis> {
        self.start.ok_or_else(|| Error::new(ErrorKind::Internal, "this route has no start in its path"))
    }

    pub(crate) fn label(&self) -> Result<Label> {
        self.label.ok_or_else(|| Error::new(ErrorKind::Internal, "this route has no label in its path"))
    }
}

/// The whole body, within the size and time limits, and its room in memory, which others get when the second part is
/// dropped. Whatever is too large is refused before it is read.
pub(crate) async fn body<'a>(
    app: &'a App,
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
) -> Result<(Bytes, SemaphorePermit<'a>)> {
    let too_large = || Error::new(ErrorKind::TooLarge, format!("the body has more than {limit} bytes"));
    let declared = match headers.get(CONTENT_LENGTH) {
        Some(value) => Some(number("Content-Length", value.to_str().unwrap_or_default())?),
        None => None,
    };
    let declared = match declared.map(usize::try_from) {
        Some(Ok(bytes)) if bytes <= limit => Some(bytes),
        Some(_) => return Err(too_large()),
        None => None,
    };
    let reserved = declared.unwrap_or(limit);
    let mut room = app.room_for(reserved)?;
    let deadline = Instant::now() + app.http().body_timeout();
    let slow = || Error::new(ErrorKind::Malformed, "the body did not arrive in time");
    let cut = |e| Error::new(ErrorKind::Malformed, "the body ended too early").with_source(e);

    // Most bites arrive in one piece, which is then used as it is.
    let mut whole = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(frame) = timeout_at(deadline, body.frame()).await.map_err(|_| slow())? {
        let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
        if whole.len() + pieces.len() + data.len() > limit {
            return Err(too_large());
        }
        if whole.is_empty() && pieces.is_empty() {
            whole = data;
            continue;
        }
        if pieces.is_empty() {
            pieces.reserve(declared.unwrap_or(whole.len() * 2));
            pieces.extend_from_slice(&std::mem::take(&mut whole));
        }
        pieces.extend_from_slice(&data);
    }
    let bytes = if pieces.is_empty() { whole } else { pieces.freeze() };
    // Where no length was declared, more was reserved than came.
    drop(room.split(reserved.saturating_sub(bytes.len())));
    Ok((bytes, room))
}
