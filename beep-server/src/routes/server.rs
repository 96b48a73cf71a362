//! The server about itself: health, readiness, public keys; and what no route answers.

use crate::app::App;
use crate::respond::{Problem, json, text};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// `GET /healthz`: the process runs.
pub(crate) async fn healthz() -> Response {
    text(StatusCode::OK, "ok\n")
}

/// `GET /readyz`: bites can be taken; 503 with the reason while they cannot.
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    if let Err(e) = app.beep().ready().await {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", e.message()).into_response();
    }
    let speech = match (app.beep().transcriber(), app.transcription_off()) {
        (Some(model), _) => serde_json::json!({ "transcription": "on", "model": model }),
        // Its first line says what to do; which files were tried is for the log.
        (None, reason) => {
            let reason = reason.and_then(|text| text.lines().next());
            serde_json::json!({ "transcription": "off", "reason": reason })
        }
    };
    json(StatusCode::OK, &serde_json::json!({ "status": "ready", "speech": speech }))
}

/// `GET /.well-known/jwks.json`: the keys that verify this server's tokens.
pub(crate) async fn jwks(State(app): State<App>) -> Response {
    json(StatusCode::OK, &app.issuer().jwks())
}

pub(crate) async fn no_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_route", "there is no such route")
}

pub(crate) async fn no_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no_method", "this route does not answer this method")
}
