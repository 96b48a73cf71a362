//! The server about itself: health, readiness, public keys; and what no route answers.

use crate::app::App;
use crate::respond::{Problem, json, text};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

/// `GET /healthz`: the process runs.
pub(crate) async fn healthz() -> Response {
    text(StatusCode::OK, "ok\n")
}

/// `GET /readyz`: bites can be taken; 503 with the reason while they cannot.
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    let store = match app.beep().ready().await {
        _ if app.is_draining() => Err("the server is stopping".to_owned()),
        Ok(()) => Ok(()),
        Err(e) => Err(e.message().to_owned()),
    };
    let transcription = match (app.beep().transcriber(), app.transcription_off()) {
        (Some(model), _) => serde_json::json!({ "transcription": "on", "model": model }),
        (None, reason) => serde_json::json!({ "transcription": "off", "reason": reason }),
    };
    let (status, word) = if store.is_ok() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let document = serde_json::json!({ "status": word, "detail": store.err(), "speech": transcription });
    json(status, &document)
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
