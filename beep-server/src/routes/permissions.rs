//! `/permissions`: whether somebody is in a conversation, for services that ask before they act.

use crate::app::App;
use crate::extract::{Caller, Place, Whom};
use crate::respond::{Answer, empty};
use axum::extract::State;
use beep_core::{Error, ErrorKind};
use http::StatusCode;

/// `GET /permissions/user/{userid}/conversation/{conversationid}`: 200 for a member, else 403.
pub(crate) async fn check(State(app): State<App>, caller: Caller, place: Place, Whom(user): Whom) -> Answer {
    if app.beep().people().is_member(&caller.0, &user, &place.conversation).await? {
        return Ok(empty(StatusCode::OK));
    }
    Err(Error::new(ErrorKind::Denied, "this user is not in this conversation").into())
}
