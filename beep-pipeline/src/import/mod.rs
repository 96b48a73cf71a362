//! Takes over what the original of 2019 kept: people from a dump of its Postgres, recordings from a backup of its badger.
//!
//! * Files are read to their end before anything is written: what is truncated or something else is an error
//!   ([`beep_core::ErrorKind::Malformed`]) and changes nothing.
//! * Ids stay as they were, and so do the bytes of recordings. What cannot be taken over is skipped with a reason.
//! * Importing again changes nothing, and goes on with what was interrupted.

mod badger;
mod bites;
mod dump;
mod people;
mod wire;

pub use bites::import_bites;
pub use people::import_people;

use beep_core::Result;
use beep_core::id::Identity;

/// What was done, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Users made.
    pub users: u64,
    /// Conversations made.
    pub conversations: u64,
    /// Members added, the first ones included.
    pub members: u64,
    /// Contacts added.
    pub contacts: u64,
    /// Recordings stored.
    pub bites: u64,
    /// Records of users beside them stored.
    pub attachments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was there already.
    pub already: u64,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What it is: `user u-…`, `line 17 of the dump`, a key.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl Imported {
    fn skip(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.skipped.push(Skipped { what: what.into(), reason: reason.into() });
    }

    /// As [`Imported::skip`], and goes on with the next.
    fn leave_out(&mut self, what: impl Into<String>, reason: impl Into<String>) -> Result<()> {
        self.skip(what, reason);
        Ok(())
    }
}

/// Whose the recordings of the original are when nobody says: it kept no author beside them. Nobody signs in as this
/// user, so only who may moderate deletes them.
pub fn unknown_author() -> Result<Identity> {
    Ok(Identity { user: "imported".parse()?, device: "original".parse()? })
}
