//! `/login`: signing in by phone number and code, and the devices that are signed in.

use crate::app::App;
use crate::extract::{Address, Caller, Device, Json, Proof};
use crate::respond::{Answer, Problem, empty, json, text};
use axum::extract::State;
use beep_core::clock::Millis;
use beep_core::id::{DeviceId, Identity};
use beep_core::{Error, ErrorKind};
use beep_pipeline::services::login::{Names, SignedIn};
use beep_pipeline::services::people::Profile;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(crate) struct InitBody {
    phone_number: String,
}

/// `POST /login/init`: sends a code; answers the name of the attempt.
pub(crate) async fn init(
    State(app): State<App>,
    Address(from): Address,
    Json(body): Json<InitBody>,
) -> Answer {
    Ok(text(StatusCode::OK, app.login().init(&body.phone_number, from).await?))
}

#[derive(Deserialize)]
pub(crate) struct VerifyBody {
    code: String,
    nonce: String,
    clientid: String,
}

/// `POST /login/verify`: the token as text; as JSON, where that is asked for, with what renews it.
pub(crate) async fn verify(
    State(app): State<App>,
    Address(from): Address,
    headers: HeaderMap,
    Json(body): Json<VerifyBody>,
) -> Answer {
    let device = DeviceId::parse(&body.clientid)?;
    let signed_in = app.login().verify(&body.code, &body.nonce, device, from).await?;
    let accepts = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/json") {
        Ok(pair(signed_in))
    } else {
        Ok(secret(text(StatusCode::OK, signed_in.token)))
    }
}

#[derive(Deserialize)]
pub(crate) struct RegisterBody {
    first_name: String,
    last_name: String,
    username: Option<String>,
    bio: Option<String>,
    profile_pic: Option<String>,
    code: Option<String>,
    nonce: Option<String>,
}

/// `POST /login/register`: names the user of the number that the code proves.
pub(crate) async fn register(
    State(app): State<App>,
    Address(from): Address,
    Json(mut body): Json<RegisterBody>,
) -> Answer {
    let missing = || Error::new(ErrorKind::Malformed, "`code` and `nonce` must be given");
    let (code, nonce) = body.code.take().zip(body.nonce.take()).ok_or_else(missing)?;
    named(&app, &code, &nonce, body, from).await
}

/// `POST /login/register/{code}/{nonce}`: the same in the original's form.
pub(crate) async fn register_by_path(
    State(app): State<App>,
    Address(from): Address,
    Proof { code, nonce }: Proof,
    Json(body): Json<RegisterBody>,
) -> Answer {
    named(&app, &code, &nonce, body, from).await
}

async fn named(app: &App, code: &str, nonce: &str, body: RegisterBody, from: std::net::IpAddr) -> Answer {
    let names = Names {
        first_name: body.first_name,
        last_name: body.last_name,
        username: body.username,
        bio: body.bio,
        profile_pic: body.profile_pic,
    };
    Ok(json(StatusCode::OK, &app.login().register(code, nonce, names, from).await?))
}

#[derive(Deserialize)]
pub(crate) struct RefreshBody {
    refresh_token: String,
}

/// `POST /login/refresh`: a new pair for the refresh token, which is dead then.
pub(crate) async fn refresh(State(app): State<App>, Json(body): Json<RefreshBody>) -> Answer {
    Ok(pair(app.login().refresh(&body.refresh_token).await?))
}

/// `POST /login/logout`: ends the session of the caller's device.
pub(crate) async fn logout(State(app): State<App>, caller: Caller) -> Answer {
    app.login().sign_out(&caller.0.identity).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

#[derive(Serialize)]
struct SessionBody<'a> {
    clientid: &'a str,
    created: Millis,
    refreshed: Millis,
    expires: Millis,
    /// Whether it is the caller's own device.
    current: bool,
}

/// `GET /login/sessions`: the devices that the caller is signed in on.
pub(crate) async fn sessions(State(app): State<App>, caller: Caller) -> Answer {
    let sessions = app.login().sessions(caller.user()).await?;
    let own = &caller.0.identity.device;
    let list = sessions.iter().map(|session| SessionBody {
        clientid: session.identity.device.as_str(),
        created: session.created,
        refreshed: session.refreshed,
        expires: session.expires,
        current: session.identity.device == *own,
    });
    Ok(json(StatusCode::OK, &list.collect::<Vec<_>>()))
}

/// `DELETE /login/sessions/{clientid}`: signs another device of the caller out.
pub(crate) async fn end_session(State(app): State<App>, caller: Caller, Device(device): Device) -> Answer {
    let identity = Identity { user: caller.user().clone(), device };
    if app.login().sign_out(&identity).await? {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    Err(Problem::from(Error::new(ErrorKind::NotFound, "you are not signed in on such a device")))
}

#[derive(Serialize)]
struct Pair<'a> {
    token: &'a str,
    refresh_token: &'a str,
    /// Seconds.
    expires_in: u64,
    user: &'a Profile,
}

fn pair(signed_in: SignedIn) -> axum::response::Response {
    let SignedIn { token, refresh_token, expires_in, user } = &signed_in;
    let pair = Pair { token, refresh_token, expires_in: expires_in.as_secs(), user };
    secret(json(StatusCode::OK, &pair))
}

/// An answer that nothing on the way may keep (RFC 6749).
fn secret(mut response: axum::response::Response) -> axum::response::Response {
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
