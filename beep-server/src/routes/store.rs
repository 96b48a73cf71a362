//! `/store` and `/bite`: what was recorded, listed and played.

use crate::app::App;
use crate::extract::{Caller, Params, Place};
use crate::range::{self, Part};
use crate::respond::{Answer, Problem, empty, json};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use beep_core::bite::{BiteMeta, Label, MAX_PAGE, ScanRange};
use beep_core::permission::{Action, Grant};
use beep_core::{ErrorKind, Result};
use beep_pipeline::outbound::TranscriptState;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

/// A page of a scan as the original sent it: 0 where there is none.
#[derive(Serialize)]
struct Starts {
    previous: u64,
    starts: Vec<u64>,
    next: u64,
}

#[derive(Serialize)]
struct Listed {
    start: u64,
    user: String,
    client: String,
    media_type: String,
    duration_ms: Option<u64>,
    bytes: u64,
    sha256: String,
    received: u64,
    transcript: &'static str,
    text: Option<String>,
}

/// `GET /store/{label}/{key}/scan`
pub(crate) async fn scan(State(app): State<App>, caller: Caller, place: Place, params: Params) -> Answer {
    scan_label(&app, &caller, &place, &params, place.label()?).await
}

/// `GET /bite/conversation/{key}/scan`
pub(crate) async fn scan_bites(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    params: Params,
) -> Answer {
    scan_label(&app, &caller, &place, &params, Label::Bite).await
}

/// `GET /transcription/conversation/{key}/scan`
pub(crate) async fn scan_transcripts(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    params: Params,
) -> Answer {
    scan_label(&app, &caller, &place, &params, Label::Transcription).await
}

async fn scan_label(app: &App, caller: &Caller, place: &Place, params: &Params, label: Label) -> Answer {
    let grant = caller.may(app, &place.conversation, Action::Listen).await?;
    let page = app.beep().query().scan(&grant, label, range(params, MAX_PAGE)?).await?;
    let (previous, next) = (page.previous.unwrap_or(0), page.next.unwrap_or(0));
    Ok(json(StatusCode::OK, &Starts { previous, starts: page.starts, next }))
}

/// `GET /bite/conversation/{key}`: the bites with what is known about them.
pub(crate) async fn list(State(app): State<App>, caller: Caller, place: Place, params: Params) -> Answer {
    let grant = caller.may(&app, &place.conversation, Action::Listen).await?;
    let range = range(&params, 100)?;
    let page = app.beep().query().list(&grant, Label::Bite, range).await?;
    let last = page.last().filter(|_| page.len() == range.limit()).map(|(start, _)| *start);
    let next = last.and_then(|start| range.after(start)).map(|r| r.from().to_string());
    let mut bites = Vec::new();
    for (start, meta) in page {
        let state = match app.beep().query().transcript(&grant, start).await {
            // Deleted since the page was read.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            // One damaged transcript must not hide the others.
            Err(e) if e.kind() == ErrorKind::Corrupt => TranscriptState::Failed(e.message().to_owned()),
            state => state?,
        };
        bites.push(listed(start, meta, state));
    }
    Ok(json(StatusCode::OK, &serde_json::json!({ "bites": bites, "next": next })))
}

fn listed(start: u64, meta: BiteMeta, state: TranscriptState) -> Listed {
    let (transcript, text) = match state {
        TranscriptState::Ready(t) => ("ready", Some(t.text)),
        TranscriptState::Pending => ("pending", None),
        TranscriptState::Failed(_) => ("failed", None),
        TranscriptState::Off => ("off", None),
    };
    Listed {
        start,
        user: meta.author.user.into(),
        client: meta.author.device.into(),
        media_type: meta.media_type,
        duration_ms: meta.duration_ms,
        bytes: meta.bytes,
        sha256: meta.sha256.to_string(),
        received: meta.received,
        transcript,
        text,
    }
}

/// `from`, `to`, `limit`, and `cursor`, which is where the page before ended.
pub(crate) fn range(params: &Params, default_limit: usize) -> Result<ScanRange> {
    let from = match params.number("cursor")? {
        Some(cursor) => cursor,
        None => params.number("from")?.unwrap_or(0),
    };
    let to = params.number("to")?.unwrap_or(u64::MAX);
    let limit = params.number("limit")?.map_or(default_limit, |n| usize::try_from(n).unwrap_or(usize::MAX));
    ScanRange::new(from, to, limit)
}

/// `GET /store/{label}/{key}/start/{start}`
pub(crate) async fn get(State(app): State<App>, caller: Caller, place: Place, headers: HeaderMap) -> Answer {
    get_label(&app, &caller, &place, &headers, place.label()?).await
}

/// `GET /bite/conversation/{key}/start/{start}`
pub(crate) async fn get_bite(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
) -> Answer {
    get_label(&app, &caller, &place, &headers, Label::Bite).await
}

async fn get_label(app: &App, caller: &Caller, place: &Place, headers: &HeaderMap, label: Label) -> Answer {
    let grant = caller.may(app, &place.conversation, Action::Listen).await?;
    bytes(app, &grant, label, place.start()?, headers).await
}

async fn bytes(app: &App, grant: &Grant, label: Label, start: u64, headers: &HeaderMap) -> Answer {
    if let Some(known) = headers.get(IF_NONE_MATCH) {
        let meta = app.beep().query().meta(grant, label, start).await?;
        let tag = etag(&meta);
        if matches_tag(known, &tag) {
            let mut response = empty(StatusCode::NOT_MODIFIED);
            immutable(&mut response, &meta)?;
            return Ok(response);
        }
    }
    let bite = app.beep().query().record(grant, label, start).await?;
    let length = bite.body.len() as u64;
    // A range of something else than what the client has a part of would be glued to the wrong bytes.
    let same = headers.get(IF_RANGE).is_none_or(|known| known.as_bytes() == etag(&bite.meta).as_bytes());
    let asked = headers.get(RANGE).filter(|_| same).and_then(|v| v.to_str().ok());
    let part = asked.map_or(Part::Whole, |header| range::parse(header, length));
    let mut response = match part {
        Part::Whole => Response::new(Body::from(bite.body)),
        Part::Bytes(first, last) => {
            let mut response = Response::new(Body::from(bite.body.slice(first as usize..=last as usize)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            content_range(&mut response, &format!("bytes {first}-{last}/{length}"))?;
            response
        }
        Part::Unsatisfiable => {
            let mut response = axum::response::IntoResponse::into_response(Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                "the bite has fewer bytes than that",
            ));
            content_range(&mut response, &format!("bytes */{length}"))?;
            return Ok(response);
        }
    };
    immutable(&mut response, &bite.meta)?;
    Ok(response)
}

fn etag(meta: &BiteMeta) -> String {
    format!("\"{}\"", meta.sha256)
}

fn matches_tag(known: &HeaderValue, tag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    known.split(',').map(|t| t.trim().trim_start_matches("W/")).any(|t| t == tag || t == "*")
}

fn content_range(response: &mut Response, range: &str) -> Result<(), Problem> {
    response.headers_mut().insert(CONTENT_RANGE, value(range)?);
    Ok(())
}

/// A bite never changes under its name, and is nobody else's business.
fn immutable(response: &mut Response, meta: &BiteMeta) -> Result<(), Problem> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, value(&meta.media_type)?);
    headers.insert(ETAG, value(&etag(meta))?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(())
}

fn value(text: &str) -> Result<HeaderValue, Problem> {
    Ok(HeaderValue::from_str(text).map_err(|e| beep_core::Error::internal("writing a header", e))?)
}

/// `GET /bite/conversation/{key}/start/{start}/user`: who recorded it.
pub(crate) async fn author(State(app): State<App>, caller: Caller, place: Place) -> Answer {
    let grant = caller.may(&app, &place.conversation, Action::Listen).await?;
    let author = app.beep().query().meta(&grant, Label::Bite, place.start()?).await?.author;
    Ok(json(StatusCode::OK, &serde_json::json!({"user": author.user, "client": author.device})))
}

/// `DELETE /bite/conversation/{key}/start/{start}`: its author, or whoever may moderate.
pub(crate) async fn delete(State(app): State<App>, caller: Caller, place: Place) -> Answer {
    let grant = caller.may(&app, &place.conversation, Action::Listen).await?;
    app.beep().delete(&grant, place.start()?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
