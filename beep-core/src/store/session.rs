//! A device that somebody signed in on.

use crate::bite::Digest;
use crate::clock::Millis;
use crate::id::{Identity, SessionId};

/// A device that somebody signed in on. There is one session per device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who, on which device.
    pub identity: Identity,
    /// Its own id: the tokens of the session carry it and end with it.
    pub id: SessionId,
    /// SHA-256 of the one refresh token that is good now.
    pub refresh: Digest,
    /// When somebody signed in.
    pub created: Millis,
    /// When it was renewed last.
    pub refreshed: Millis,
    /// When it ends unless it is renewed before.
    pub expires: Millis,
}

/// What presenting a refresh token did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It was the good one: the session as it is now, with the new one.
    Renewed(Session),
    /// It was not, or not any more, so somebody has a copy: the session was ended by the same step.
    Reused(Identity),
    /// There is no such session, or its time is over.
    Unknown,
}

/// What a token has to be compared with: whoever signed it once may be gone since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether this user was deleted. Their id never comes back.
    pub deleted: bool,
    /// The session of the device.
    pub session: Option<SessionId>,
}
