//! Who is asking: tokens, what they say and who may make them.

pub mod jwt;
pub mod otp;
mod sms;

pub use sms::SmsSender;

use crate::Result;
use crate::clock::Millis;
use crate::id::{Identity, SessionId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What a token is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scope {
    /// A person on a device.
    #[default]
    User,
    /// Another service, which may ask about permissions.
    Service,
    /// An operator.
    Admin,
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who.
    pub identity: Identity,
    /// What for.
    pub scope: Scope,
    /// The session that it was issued in, and ends with; none for one that an operator made.
    pub session: Option<SessionId>,
    /// The token's own id.
    pub token_id: String,
    /// When it ends.
    pub expires: Millis,
}

/// Tells who a token belongs to.
///
/// * [`crate::ErrorKind::Unauthenticated`] for every token that is not valid now, with the same message for all.
/// * Neither logs nor returns the token.
pub trait Authenticator: Send + Sync + std::fmt::Debug {
    /// Who this token belongs to.
    fn verify(&self, token: &str) -> Result<Arc<Verified>>;
}

/// Makes tokens.
pub trait TokenIssuer: Send + Sync + std::fmt::Debug {
    /// A token for this user on this device, in a session or, from an operator, in none.
    fn issue_in(&self, identity: &Identity, scope: Scope, session: Option<&SessionId>) -> Result<String>;
    /// A token in no session.
    fn issue(&self, identity: &Identity, scope: Scope) -> Result<String> {
        self.issue_in(identity, scope, None)
    }
    /// How long a token is good.
    fn lifetime(&self) -> Duration;
    /// A secret for something else than tokens, derived from the signing key: the same wherever the same key signs.
    fn secret(&self, purpose: &str) -> [u8; 32];
    /// The public keys that verify them, as a JWK set (RFC 7517).
    fn jwks(&self) -> serde_json::Value;
}
