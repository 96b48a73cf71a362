//! What names and texts may look like. No I/O.

use beep_core::store::UserPatch;
use beep_core::{Error, ErrorKind, Result};

/// The most characters of a first, last or user name.
pub(super) const MAX_NAME: usize = 100;
/// The most characters of what somebody says about themselves.
const MAX_BIO: usize = 1_000;
/// The most characters of a title.
const MAX_TITLE: usize = 100;
/// The most characters of the name of a picture: what a store of pictures takes.
const MAX_PICTURE: usize = 128;

fn invalid(why: String) -> Error {
    Error::new(ErrorKind::Invalid, why)
}

fn at_most(field: &str, text: &str, limit: usize) -> Result<()> {
    if text.chars().nth(limit).is_some() {
        return Err(invalid(format!("`{field}` must have at most {limit} characters")));
    }
    Ok(())
}

/// Whether a name is there at all.
pub(super) fn is_blank(name: &str) -> bool {
    name.trim().is_empty()
}

fn name(field: &str, name: &str) -> Result<()> {
    if is_blank(name) {
        return Err(invalid(format!("`{field}` must not be empty")));
    }
    at_most(field, name, MAX_NAME)
}

/// A user name is typed and looked for: nothing in it may be invisible.
fn username(text: &str) -> Result<()> {
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        let why = "`username` must have no control characters, no spaces at its ends, and not be empty";
        return Err(invalid(why.to_owned()));
    }
    at_most("username", text, MAX_NAME)
}

/// Checks what a patch changes.
pub(in crate::services) fn check_patch(patch: &UserPatch) -> Result<()> {
    let UserPatch { username: own_name, bio, profile_pic, first_name, last_name } = patch;
    if let Some(Some(text)) = own_name {
        username(text)?;
    }
    if let Some(text) = bio {
        at_most("bio", text, MAX_BIO)?;
    }
    if let Some(text) = profile_pic {
        at_most("profile_pic", text, MAX_PICTURE)?;
    }
    for (field, text) in [("first_name", first_name), ("last_name", last_name)] {
        if let Some(text) = text {
            name(field, text)?;
        }
    }
    Ok(())
}

/// Checks title and picture of a conversation.
pub(super) fn check_looks(title: Option<&str>, picture: Option<&str>) -> Result<()> {
    at_most("title", title.unwrap_or_default(), MAX_TITLE)?;
    at_most("picture", picture.unwrap_or_default(), MAX_PICTURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_count_characters_and_hold_at_their_edges() {
        assert!(at_most("x", &"ü".repeat(100), 100).is_ok());
        assert_eq!(at_most("x", &"ü".repeat(101), 100).unwrap_err().kind(), ErrorKind::Invalid);
        assert!(at_most("x", "", 0).is_ok());
    }

    #[test]
    fn user_names_have_nothing_invisible() {
        for good in ["a", "ann lee", "안나", "a.b-c_d", &"ü".repeat(100)] {
            username(good).unwrap();
        }
        for bad in ["", " ", " ann", "ann ", "an\nn", "ann\0", "\u{a0}ann", "\t", &"ü".repeat(101)] {
            assert_eq!(username(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
        }
    }
}
