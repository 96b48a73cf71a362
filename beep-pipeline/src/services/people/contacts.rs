//! Whom somebody knows by number.

use super::users::Profile;
use super::{People, no_user};
use crate::services::phone;
use beep_core::id::UserId;
use beep_core::store::{NewUser, User};
use beep_core::{Error, ErrorKind, Result};
use std::time::Duration;

/// How many numbers one user may add in [`ADDED_IN`]: an address book, and far too few to walk through the numbers of a
/// country (B8).
pub const MAX_ADDED: u64 = 500;
const ADDED_IN: Duration = Duration::from_secs(3_600);

impl People<'_> {
    /// Makes whoever has this number a contact of the asker, and answers them. An unknown number makes a blank user,
    /// who becomes a person when they sign up. Twice is as once.
    ///
    /// [`ErrorKind::Malformed`] when it is no number, [`ErrorKind::Invalid`] for the asker's own,
    /// [`ErrorKind::RateLimited`] for who added [`MAX_ADDED`] within an hour.
    pub async fn add_contact(&self, asker: &UserId, phone_number: &str) -> Result<Profile> {
        let phone_number = phone::parse(phone_number)?;
        if self.known(asker).await?.phone_number == phone_number {
            return Err(Error::new(ErrorKind::Invalid, "this is your own number"));
        }
        let added = self.stores.ephemeral.count(&format!("contact:{asker}"), ADDED_IN).await?;
        if added > MAX_ADDED {
            return Err(Error::new(ErrorKind::RateLimited, "too many numbers added within an hour"));
        }
        let contact = self.user_with_number(phone_number).await?;
        self.directory().put_contact(asker, &contact.id).await?;
        self.changes.ring();
        Ok(Profile::with_number(contact))
    }

    /// The contacts of the asker, in id order.
    pub async fn contacts(&self, asker: &UserId) -> Result<Vec<Profile>> {
        Ok(self.directory().contacts(asker).await?.into_iter().map(Profile::with_number).collect())
    }

    /// Ends that somebody is a contact; [`ErrorKind::NotFound`] when they were none.
    pub async fn remove_contact(&self, asker: &UserId, contact: &UserId) -> Result<()> {
        if self.directory().remove_contact(asker, contact).await? {
            self.changes.ring();
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "this user is not among your contacts"))
    }

    pub(super) async fn has_contact(&self, asker: &UserId, contact: &UserId) -> Result<bool> {
        Ok(self.directory().contacts(asker).await?.iter().any(|user| user.id == *contact))
    }

    /// Who has this number, made blank when nobody has.
    pub(in crate::services) async fn user_with_number(&self, phone_number: String) -> Result<User> {
        if let Some(user) = self.directory().user_by_phone(&phone_number).await? {
            return Ok(user);
        }
        let blank = NewUser {
            id: UserId::random(self.entropy)?,
            username: None,
            first_name: String::new(),
            last_name: String::new(),
            phone_number: phone_number.clone(),
        };
        match self.directory().create_user(blank).await {
            // Somebody else made them at the same moment.
            Err(e) if e.kind() == ErrorKind::Conflict => {
                self.directory().user_by_phone(&phone_number).await?.ok_or_else(no_user)
            }
            made => made,
        }
    }
}
