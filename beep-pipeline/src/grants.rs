//! What a grant lets its holder do.

use beep_core::permission::{Action, Grant};
use beep_core::{Error, ErrorKind, Result};

/// A grant for listening does not let anyone speak.
pub(crate) fn require(grant: &Grant, action: Action) -> Result<()> {
    if grant.allows(action) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Denied, "this grant does not allow that"))
}
