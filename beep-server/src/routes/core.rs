//! `/core`: people, conversations, members and contacts.

use crate::app::App;
use crate::extract::{Caller, Json, Params, Place, Username, Whom};
use crate::respond::{Answer, empty, json, text};
use axum::extract::State;
use axum::response::Response;
use beep_core::clock::Millis;
use beep_core::id::UserId;
use beep_core::store::{ConversationPatch, Membership, Role, UserPatch};
use beep_core::{Error, ErrorKind};
use beep_pipeline::services::people::{NewPerson, Overview};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};

/// What may be absent, and null where it is present (RFC 7396).
type Changed = Option<Option<String>>;

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Changed, D::Error> {
    Option::deserialize(value).map(Some)
}

/// Null empties a field that cannot be absent.
fn emptied(changed: Changed) -> Option<String> {
    changed.map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
pub(crate) struct NewUserBody {
    phone_number: String,
    first_name: String,
    last_name: String,
    username: Option<String>,
    bio: Option<String>,
    profile_pic: Option<String>,
}

/// `POST /core/user`: an operator adds somebody.
pub(crate) async fn create_user(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<NewUserBody>,
) -> Answer {
    let person = NewPerson {
        phone_number: body.phone_number,
        first_name: body.first_name,
        last_name: body.last_name,
        username: body.username,
        bio: body.bio.unwrap_or_default(),
        profile_pic: body.profile_pic.unwrap_or_default(),
    };
    Ok(json(StatusCode::OK, &app.beep().people().create_user(&caller.0, person).await?))
}

/// `GET /core/user?phone_number=`
pub(crate) async fn find_user(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    let number = params.get("phone_number").ok_or_else(|| {
        Error::new(ErrorKind::Malformed, "`phone_number` must say which number to look for")
    })?;
    // A plus sign that was not escaped stands for a space in a query, and no number begins with one.
    let number = match number.strip_prefix(' ') {
        Some(digits) => format!("+{digits}"),
        None => number.to_owned(),
    };
    Ok(json(StatusCode::OK, &app.beep().people().user_by_phone(caller.user(), &number).await?))
}

/// `GET /core/user/id/{user}`
pub(crate) async fn user(State(app): State<App>, caller: Caller, Whom(user): Whom) -> Answer {
    Ok(json(StatusCode::OK, &app.beep().people().user(caller.user(), &user).await?))
}

/// `GET /core/user/username/{username}`
pub(crate) async fn user_by_username(
    State(app): State<App>,
    caller: Caller,
    Username(name): Username,
) -> Answer {
    Ok(json(StatusCode::OK, &app.beep().people().user_by_username(caller.user(), &name).await?))
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct UserChanges {
    #[serde(deserialize_with = "present")]
    username: Changed,
    #[serde(deserialize_with = "present")]
    bio: Changed,
    #[serde(deserialize_with = "present")]
    profile_pic: Changed,
    #[serde(deserialize_with = "present")]
    first_name: Changed,
    #[serde(deserialize_with = "present")]
    last_name: Changed,
}

/// `PATCH /core/user`: the caller's own account, only the fields that are present.
pub(crate) async fn patch_user(
    State(app): State<App>,
    caller: Caller,
    Json(changes): Json<UserChanges>,
) -> Answer {
    let patch = UserPatch {
        username: changes.username,
        bio: emptied(changes.bio),
        profile_pic: emptied(changes.profile_pic),
        first_name: emptied(changes.first_name),
        last_name: emptied(changes.last_name),
    };
    Ok(json(StatusCode::OK, &app.beep().people().patch_user(caller.user(), patch).await?))
}

/// `DELETE /core/user`: the caller's own account, with what they recorded.
pub(crate) async fn delete_user(State(app): State<App>, caller: Caller) -> Answer {
    app.beep().people().delete_user(caller.user()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

#[derive(Serialize)]
struct Conversation<'a> {
    id: &'a str,
    title: &'a str,
    picture: &'a str,
    pinned: bool,
}

impl<'a> Conversation<'a> {
    fn of(membership: &'a Membership) -> Self {
        let Membership { conversation, pinned, .. } = membership;
        let (title, picture) = (&conversation.title, &conversation.picture);
        Self { id: conversation.id.as_str(), title, picture, pinned: *pinned }
    }
}

#[derive(Serialize)]
struct Overviewed<'a> {
    #[serde(flatten)]
    conversation: Conversation<'a>,
    role: Role,
    last_heard: Millis,
    last_bite: Option<Millis>,
    unheard: usize,
}

impl<'a> Overviewed<'a> {
    fn of(overview: &'a Overview) -> Self {
        let Overview { membership, last_bite, unheard } = overview;
        Self {
            conversation: Conversation::of(membership),
            role: membership.role,
            last_heard: membership.last_heard,
            last_bite: *last_bite,
            unheard: *unheard,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct NewConversationBody {
    title: Option<String>,
    picture: Option<String>,
}

/// `POST /core/user/conversation`: the caller owns it.
pub(crate) async fn create_conversation(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<NewConversationBody>,
) -> Answer {
    let (title, picture) = (body.title.unwrap_or_default(), body.picture.unwrap_or_default());
    let made = app.beep().people().create_conversation(caller.user(), title, picture).await?;
    Ok(json(StatusCode::OK, &Conversation::of(&made)))
}

/// `GET /core/user/conversation`
pub(crate) async fn conversations(State(app): State<App>, caller: Caller) -> Answer {
    let all = app.beep().people().conversations(caller.user()).await?;
    Ok(json(StatusCode::OK, &all.iter().map(Overviewed::of).collect::<Vec<_>>()))
}

/// `GET /core/user/conversation/{conversation}`
pub(crate) async fn conversation(State(app): State<App>, caller: Caller, place: Place) -> Answer {
    let overview = app.beep().people().conversation(caller.user(), &place.conversation).await?;
    Ok(json(StatusCode::OK, &Overviewed::of(&overview)))
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ConversationChanges {
    #[serde(deserialize_with = "present")]
    title: Changed,
    #[serde(deserialize_with = "present")]
    picture: Changed,
}

/// `PATCH /core/user/conversation/{conversation}`: only the fields that are present.
pub(crate) async fn patch_conversation(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    Json(changes): Json<ConversationChanges>,
) -> Answer {
    let patch = ConversationPatch { title: emptied(changes.title), picture: emptied(changes.picture) };
    let people = app.beep().people();
    let membership = people.patch_conversation(caller.user(), &place.conversation, patch).await?;
    Ok(json(StatusCode::OK, &Conversation::of(&membership)))
}

/// `DELETE /core/user/conversation/{conversation}`: an owner ends it, others leave it.
pub(crate) async fn delete_conversation(State(app): State<App>, caller: Caller, place: Place) -> Answer {
    app.beep().people().delete_conversation(caller.user(), &place.conversation).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `POST /core/user/conversation/{conversation}/pin`
pub(crate) async fn pin(State(app): State<App>, caller: Caller, place: Place) -> Answer {
    app.beep().people().set_pinned(caller.user(), &place.conversation, true).await?;
    Ok(named(&place))
}

/// `DELETE /core/user/conversation/{conversation}/pin`
pub(crate) async fn unpin(State(app): State<App>, caller: Caller, place: Place) -> Answer {
    app.beep().people().set_pinned(caller.user(), &place.conversation, false).await?;
    Ok(named(&place))
}

/// The original's answer to a change of a conversation: its id.
fn named(place: &Place) -> Response {
    text(StatusCode::OK, place.conversation.as_str())
}

#[derive(Deserialize)]
pub(crate) struct NewMember {
    id: UserId,
    role: Option<Role>,
}

/// `POST /core/user/conversation/{conversation}/member`
pub(crate) async fn put_member(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    Json(new): Json<NewMember>,
) -> Answer {
    app.beep().people().put_member(caller.user(), &place.conversation, &new.id, new.role).await?;
    Ok(named(&place))
}

/// `GET /core/user/conversation/{conversation}/member`
pub(crate) async fn members(State(app): State<App>, caller: Caller, place: Place) -> Answer {
    Ok(json(StatusCode::OK, &app.beep().people().members(caller.user(), &place.conversation).await?))
}

/// `DELETE /core/user/conversation/{conversation}/member/{user}`
pub(crate) async fn remove_member(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    Whom(user): Whom,
) -> Answer {
    app.beep().people().remove_member(caller.user(), &place.conversation, &user).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Heard {
    start: Millis,
}

/// `PUT /core/user/conversation/{conversation}/lastheard`
pub(crate) async fn set_last_heard(
    State(app): State<App>,
    caller: Caller,
    place: Place,
    Json(heard): Json<Heard>,
) -> Answer {
    let people = app.beep().people();
    let start = people.set_last_heard(caller.user(), &place.conversation, heard.start).await?;
    Ok(json(StatusCode::OK, &Heard { start }))
}

/// `GET /core/user/conversation/{conversation}/lastheard`
pub(crate) async fn last_heard(State(app): State<App>, caller: Caller, place: Place) -> Answer {
    let start = app.beep().people().last_heard(caller.user(), &place.conversation).await?;
    Ok(json(StatusCode::OK, &Heard { start }))
}

#[derive(Deserialize)]
pub(crate) struct NewContact {
    phone_number: String,
}

/// `POST /core/user/contact`
pub(crate) async fn add_contact(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewContact>,
) -> Answer {
    Ok(json(StatusCode::OK, &app.beep().people().add_contact(caller.user(), &new.phone_number).await?))
}

/// `GET /core/user/contact`
pub(crate) async fn contacts(State(app): State<App>, caller: Caller) -> Answer {
    Ok(json(StatusCode::OK, &app.beep().people().contacts(caller.user()).await?))
}

/// `DELETE /core/user/contact/{user}`
pub(crate) async fn remove_contact(State(app): State<App>, caller: Caller, Whom(user): Whom) -> Answer {
    app.beep().people().remove_contact(caller.user(), &user).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
