//! `/publish`: something was said.

use crate::app::App;
use crate::extract::{Caller, Place, body};
use crate::respond::{Answer, Problem, json};
use axum::body::Body;
use axum::extract::State;
use beep_core::permission::{Action, Grant};
use beep_core::store::Start;
use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::inbound::MAX_ATTACHMENT;
use beep_pipeline::{Recorded, Utterance};
use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::SemaphorePermit;

#[derive(Serialize)]
struct Published<'a> {
    conversation: &'a str,
    start: u64,
    media_type: &'a str,
    duration_ms: Option<u64>,
    bytes: u64,
    sha256: String,
}

/// `PUT /publish/conversation/{key}/start/{start}`
pub(crate) async fn put(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
    payload: Body,
) -> Answer {
    let (bytes, _room, grant) =
        spoken(&app, &caller, &place, &headers, payload, app.beep().max_body()).await?;
    published(app.beep().record(&grant, Utterance::new(bytes, Start::At(place.start()?))).await?)
}

/// `POST /publish/conversation/{key}`: the server gives the start.
pub(crate) async fn post(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
    payload: Body,
) -> Answer {
    let (bytes, _room, grant) =
        spoken(&app, &caller, &place, &headers, payload, app.beep().max_body()).await?;
    let idempotency_key = idempotency_key(&headers)?;
    let utterance = Utterance { body: bytes, start: Start::Next(app.now()), idempotency_key };
    published(app.beep().record(&grant, utterance).await?)
}

/// `PUT /publish/conversation/{key}/start/{start}/user`: something that belongs to the bite.
pub(crate) async fn attach(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
    payload: Body,
) -> Answer {
    let (bytes, _room, grant) = spoken(&app, &caller, &place, &headers, payload, MAX_ATTACHMENT).await?;
    published(app.beep().attach(&grant, place.start()?, bytes).await?)
}

/// The body with its room in memory, and the permission to record it.
async fn spoken<'a>(
    app: &'a App,
    caller: &Caller,
    place: &Place,
    headers: &HeaderMap,
    payload: Body,
    limit: usize,
) -> Result<(Bytes, SemaphorePermit<'a>, Grant), Problem> {
    // Before a byte of it is read, and again afterwards: it may have taken a minute to come.
    caller.may(app, &place.conversation, Action::Speak).await?;
    let (bytes, room) = body(app, headers, payload, limit).await?;
    let grant = caller.may(app, &place.conversation, Action::Speak).await?;
    Ok((bytes, room, grant))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let malformed =
        || Error::new(ErrorKind::Malformed, "Idempotency-Key must be 1 to 255 printable ASCII characters");
    let key = value.to_str().map_err(|_| malformed())?;
    if !(1..=255).contains(&key.len()) {
        return Err(malformed());
    }
    Ok(Some(key.to_owned()))
}

/// 201 for what is new, 200 for what stood there already.
fn published(recorded: Recorded) -> Answer {
    let Recorded { key, seq, media_type, duration_ms, bytes, sha256 } = recorded;
    let status = if seq.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let conversation = key.conversation.as_str();
    let location = format!("/store/{}/{conversation}/start/{}", key.label, key.start);
    let document = Published {
        conversation,
        start: key.start,
        media_type,
        duration_ms,
        bytes,
        sha256: sha256.to_string(),
    };
    let mut response = json(status, &document);
    let location = HeaderValue::from_str(&location).map_err(|e| Error::internal("naming the new bite", e))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
