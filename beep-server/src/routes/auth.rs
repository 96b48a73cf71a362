//! `/auth`: forward authentication for a gateway (Traefik, nginx, Caddy).

use crate::app::App;
use crate::extract::{CLAIM, authenticate};
use crate::respond::{Answer, empty};
use axum::extract::State;
use beep_core::{Error, ErrorKind};
use http::header::HeaderMap;
use http::{HeaderValue, StatusCode};

/// Any method: 200 with `X-User-Claim` for a valid token, else 401.
pub(crate) async fn check(State(app): State<App>, headers: HeaderMap) -> Answer {
    let forwarded = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    // A token in the query counts on GET only, there as here.
    let get = forwarded("x-forwarded-method").is_none_or(|m| m.eq_ignore_ascii_case("GET"));
    let query =
        forwarded("x-forwarded-uri").filter(|_| get).and_then(|uri| uri.split_once('?')).map(|(_, q)| q);
    let verified = authenticate(&app, &headers, query).await?;
    let identity = &verified.identity;
    let claim = serde_json::json!({"userid": identity.user, "clientid": identity.device}).to_string();
    let claim = HeaderValue::from_str(&claim).map_err(|e| {
        Error::new(ErrorKind::Internal, "the claim does not fit into a header").with_source(e)
    })?;
    let mut response = empty(StatusCode::OK);
    response.headers_mut().insert(CLAIM, claim);
    Ok(response)
}
