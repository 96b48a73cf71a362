//! Accounts: who somebody is, found by id, name or number, changed and erased by themselves.

use super::rules::{check_patch, is_blank};
use super::{People, denied, no_user};
use crate::services::phone;
use beep_core::auth::{Scope, Verified};
use beep_core::id::UserId;
use beep_core::store::{NewUser, User, UserPatch};
use beep_core::{Error, ErrorKind, Result};
use serde::Serialize;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// How many numbers one user may look up in [`LOOKUP_TIME`]: enough for a person, far too few to walk through the
/// numbers of a country (B8).
pub const MAX_LOOKUPS: u64 = 30;
const LOOKUP_TIME: Duration = Duration::from_secs(3_600);

/// A person as whoever asked may see them, in the shape that clients know.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// The id.
    pub id: UserId,
    /// A unique name of their choice.
    pub username: Option<String>,
    /// A line about themselves.
    pub bio: String,
    /// The stored name of their picture.
    pub profile_pic: String,
    /// First name; empty for somebody known only by number.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// The number in the international format; empty for those who may not see it.
    pub phone_number: String,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Profile {
    /// With the number: for the user, and for those who have it already.
    pub fn with_number(user: User) -> Self {
        let phone_number = phone::international(&user.phone_number);
        Self { phone_number, ..Self::without_number(user) }
    }

    /// Without the number: for everybody else.
    pub fn without_number(user: User) -> Self {
        let User { id, username, bio, profile_pic, first_name, last_name, phone_number: _ } = user;
        Self { id, username, bio, profile_pic, first_name, last_name, phone_number: String::new() }
    }
}

/// Somebody whom an operator adds.
#[derive(Clone, Default)]
pub struct NewPerson {
    /// The number, in any format that names the country.
    pub phone_number: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// A unique name, if chosen.
    pub username: Option<String>,
    /// A line about themselves.
    pub bio: String,
    /// The stored name of their picture.
    pub profile_pic: String,
}

impl People<'_> {
    /// Adds somebody. Only for an operator: people sign up with a code sent to their number.
    ///
    /// [`ErrorKind::Denied`] for everybody else, [`ErrorKind::Malformed`] without names or with a bad number,
    /// [`ErrorKind::Conflict`] when number or name are taken, and then nothing is changed.
    pub async fn create_user(&self, asker: &Verified, person: NewPerson) -> Result<Profile> {
        if asker.scope != Scope::Admin {
            return Err(denied("only an operator may add users; people sign up with a code sent to them"));
        }
        let NewPerson { phone_number, first_name, last_name, username, bio, profile_pic } = person;
        if is_blank(&first_name) || is_blank(&last_name) {
            let why = "`first_name` and `last_name` must not be empty";
            return Err(Error::new(ErrorKind::Malformed, why));
        }
        let patch = UserPatch {
            username: Some(username.clone()),
            bio: Some(bio),
            profile_pic: Some(profile_pic),
            first_name: Some(first_name.clone()),
            last_name: Some(last_name.clone()),
        };
        check_patch(&patch)?;
        let phone_number = phone::parse(&phone_number)?;
        let id = UserId::random(self.entropy)?;
        let new = NewUser { id: id.clone(), username, first_name, last_name, phone_number };
        self.directory().create_user(new).await?;
        Ok(Profile::with_number(self.directory().patch_user(&id, patch).await?))
    }

    /// The user of this id; [`ErrorKind::NotFound`] when there is none.
    pub async fn user(&self, asker: &UserId, id: &UserId) -> Result<Profile> {
        let user = self.known(id).await?;
        self.shown(asker, user).await
    }

    /// The user of this name; [`ErrorKind::NotFound`] when there is none.
    pub async fn user_by_username(&self, asker: &UserId, username: &str) -> Result<Profile> {
        let user = self.directory().user_by_username(username).await?.ok_or_else(no_user)?;
        self.shown(asker, user).await
    }

    /// The user with this number; [`ErrorKind::NotFound`] when there is none, [`ErrorKind::Malformed`] when it is no
    /// number, [`ErrorKind::RateLimited`] for who asked [`MAX_LOOKUPS`] times within an hour.
    pub async fn user_by_phone(&self, asker: &UserId, phone_number: &str) -> Result<Profile> {
        let phone_number = phone::parse(phone_number)?;
        let lookups = self.stores.ephemeral.count(&format!("lookup:{asker}"), LOOKUP_TIME).await?;
        if lookups > MAX_LOOKUPS {
            return Err(Error::new(ErrorKind::RateLimited, "too many numbers looked up within an hour"));
        }
        let user = self.directory().user_by_phone(&phone_number).await?.ok_or_else(no_user)?;
        self.shown(asker, user).await
    }

    /// Changes what the patch names of the asker's own account.
    ///
    /// [`ErrorKind::Conflict`] when the name is taken, [`ErrorKind::Invalid`] when something is too long or a name
    /// would become empty; then nothing is changed.
    pub async fn patch_user(&self, asker: &UserId, patch: UserPatch) -> Result<Profile> {
        check_patch(&patch)?;
        let user = self.directory().patch_user(asker, patch).await?;
        self.changes.ring();
        Ok(Profile::with_number(user))
    }

    /// A user as the asker may see them: the number is for themselves, for those who have it as a contact, and for
    /// those who share a conversation with them.
    async fn shown(&self, asker: &UserId, user: User) -> Result<Profile> {
        let knows = asker == &user.id || self.has_contact(asker, &user.id).await? || {
            let own: HashSet<_> = self.gate.hears(asker).await?.into_iter().collect();
            self.gate.hears(&user.id).await?.iter().any(|c| own.contains(c))
        };
        Ok(if knows { Profile::with_number(user) } else { Profile::without_number(user) })
    }
}
