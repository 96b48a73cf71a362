//! `/subscribe`: everything that happens in what the caller may hear.

use crate::app::App;
use crate::extract::{Caller, Params, number};
use crate::respond::Answer;
use crate::sse;
use axum::extract::State;
use beep_core::id::ConversationId;
use beep_core::permission::Action;
use beep_core::{Error, ErrorKind};
use http::HeaderMap;

/// `GET /subscribe`
pub(crate) async fn events(
    State(app): State<App>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
) -> Answer {
    let after = match headers.get("last-event-id") {
        Some(id) => {
            let malformed = |_| Error::new(ErrorKind::Malformed, "Last-Event-ID must be the id of an event");
            Some(number("Last-Event-ID", id.to_str().map_err(malformed)?)?)
        }
        None => None,
    };
    let only = params.get("conversation").map(ConversationId::parse).transpose()?;
    if let Some(conversation) = &only {
        caller.may(&app, conversation, Action::Listen).await?;
    }
    let reader = app.beep().subscribe(&caller.0.identity.user, only, after);
    Ok(sse::events(app, sse::Source::Bites(reader), caller.0))
}
