//! What a request says: who asks, which place it names, its query and its body, each checked once.

use crate::app::App;
use crate::respond::Problem;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use beep_core::auth::{Scope, Verified};
use beep_core::bite::Label;
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::permission::{Action, Grant};
use beep_core::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// The header in which a gateway tells the services behind it who asks.
pub(crate) const CLAIM: HeaderName = HeaderName::from_static("x-user-claim");

/// Somebody with a valid token.
pub(crate) struct Caller(pub(crate) Arc<Verified>);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if let Some(verified) = claimed(app, parts)? {
            app.beep().gate().admit(&verified).await?;
            return Ok(Self(Arc::new(verified)));
        }
        let query = if parts.method == Method::GET { parts.uri.query() } else { None };
        Ok(Self(authenticate(app, &parts.headers, query).await?))
    }
}

/// Who a gateway says is asking; none where no gateway that is trusted says so. A token wins.
fn claimed(app: &App, parts: &Parts) -> Result<Option<Verified>> {
    let Some(claim) = parts.headers.get(&CLAIM) else { return Ok(None) };
    let peer = parts.extensions.get::<Peer>();
    if parts.headers.contains_key(AUTHORIZATION) || !peer.is_some_and(|peer| app.trusts(peer.0)) {
        return Ok(None);
    }
    #[derive(serde::Deserialize)]
    struct Claim {
        userid: UserId,
        clientid: DeviceId,
    }
    let claim: Claim = serde_json::from_slice(claim.as_bytes()).map_err(|_| {
        Error::new(
            ErrorKind::Unauthenticated,
            "the gateway's claim cannot be read: see `auth.trusted_proxies`",
        )
    })?;
    Ok(Some(Verified {
        identity: Identity { user: claim.userid, device: claim.clientid },
        scope: Scope::User,
        session: None,
        token_id: String::new(),
        // The gateway looks at the token; a stream lasts as long as a token would.
        expires: app.now().saturating_add(app.issuer().lifetime().as_millis() as Millis),
    }))
}

/// The other end of the connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Where the request comes from: the other end, or what gateways that are trusted say is behind them.
pub(crate) struct Address(pub(crate) IpAddr);

impl FromRequestParts<App> for Address {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let unknown =
            || Error::new(ErrorKind::Internal, "a request came without the address of its connection");
        let Peer(mut address) = *parts.extensions.get::<Peer>().ok_or_else(unknown)?;
        // From the last hop to the first, as far as each is trusted to know the one before.
        let hops = parts.headers.get_all("x-forwarded-for").iter().rev().filter_map(|v| v.to_str().ok());
        for hop in hops.flat_map(|hops| hops.rsplit(',')) {
            if !app.trusts(address) {
                break;
            }
            let Ok(before) = hop.trim().parse() else { break };
            address = before;
        }
        Ok(Self(address.to_canonical()))
    }
}

/// The code and the nonce in a path.
pub(crate) struct Proof {
    pub(crate) code: String,
    pub(crate) nonce: String,
}

impl FromRequestParts<App> for Proof {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let code = segment(parts, app, &["code"]).await?;
        Ok(Self { code, nonce: segment(parts, app, &["nonce"]).await? })
    }
}

/// The device that a path names.
pub(crate) struct Device(pub(crate) DeviceId);

impl FromRequestParts<App> for Device {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self(DeviceId::parse(&segment(parts, app, &["clientid"]).await?)?))
    }
}

impl Caller {
    pub(crate) fn user(&self) -> &UserId {
        &self.0.identity.user
    }

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
pub(crate) async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Arc<Verified>> {
    let verified = verify(app, headers, query)?;
    app.beep().gate().admit(&verified).await?;
    Ok(verified)
}

fn verify(app: &App, headers: &HeaderMap, query: Option<&str>) -> Result<Arc<Verified>> {
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
                "key" | "conversation" | "conversationid" => {
                    conversation = Some(ConversationId::parse(value)?);
                }
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

/// The user that a path names.
pub(crate) struct Whom(pub(crate) UserId);

impl FromRequestParts<App> for Whom {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self(UserId::parse(&segment(parts, app, &["user", "userid"]).await?)?))
    }
}

/// The user name in a path: any text may be one.
pub(crate) struct Username(pub(crate) String);

impl FromRequestParts<App> for Username {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self(segment(parts, app, &["username"]).await?))
    }
}

/// The segment of the path that the route calls by one of these names, decoded.
async fn segment(parts: &mut Parts, app: &App, names: &[&str]) -> Result<String> {
    let malformed = |_| Error::new(ErrorKind::Malformed, "the path is not valid UTF-8");
    let params = RawPathParams::from_request_parts(parts, app).await.map_err(malformed)?;
    let found = params.iter().find(|(name, _)| names.contains(name)).map(|(_, value)| value.to_owned());
    found.ok_or_else(|| Error::new(ErrorKind::Internal, "this route has no such segment in its path"))
}

/// The most bytes of a JSON body.
pub(crate) const MAX_JSON: usize = 64 * 1024;

/// A JSON object as the body, whatever its media type is called. Fields that the route does not know are ignored;
/// [`ErrorKind::Malformed`] when it is no JSON, no object, or a field has another type.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, payload) = request.into_parts();
        let (bytes, _room) = body(app, &parts.headers, payload, MAX_JSON).await?;
        Ok(Self(object(&bytes)?))
    }
}

fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    // serde would also take the fields of an object from an array, by position.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Error::new(ErrorKind::Malformed, "the body must be a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|e| {
        let (line, column) = (e.line(), e.column());
        let why =
            format!("the body is not the JSON that this route takes: see its line {line}, column {column}");
        Error::new(ErrorKind::Malformed, why).with_source(e)
    })
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
