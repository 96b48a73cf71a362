//! `/core/user/subscribe`: what changes of what the caller may see.

use crate::app::App;
use crate::extract::{Caller, Place};
use crate::respond::Answer;
use crate::sse::{self, Source};
use axum::extract::State;
use beep_pipeline::services::changes::Watch;

/// `GET /core/user/subscribe`, `GET /core/user/subscribe/user`
pub(crate) async fn users(State(app): State<App>, caller: Caller) -> Answer {
    events(app, caller, Watch::Users).await
}

/// `GET /core/user/subscribe/contact`
pub(crate) async fn contacts(State(app): State<App>, caller: Caller) -> Answer {
    events(app, caller, Watch::Contacts).await
}

/// `GET /core/user/subscribe/conversation`
pub(crate) async fn conversations(State(app): State<App>, caller: Caller) -> Answer {
    events(app, caller, Watch::Conversations).await
}

/// `GET /core/user/subscribe/conversation/{conversation}/member`
pub(crate) async fn members(State(app): State<App>, caller: Caller, place: Place) -> Answer {
    events(app, caller, Watch::Members(place.conversation)).await
}

async fn events(app: App, caller: Caller, watch: Watch) -> Answer {
    let watcher = app.beep().watch(caller.0.clone(), watch).await?;
    Ok(sse::events(app, Source::Changes(watcher), caller.0))
}
