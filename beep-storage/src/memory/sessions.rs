//! The devices that people signed in on, as one map.

use beep_core::bite::Digest;
use beep_core::clock::Millis;
use beep_core::id::{DeviceId, Identity, SessionId, UserId};
use beep_core::store::{Renewal, Session};
use beep_core::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// The sessions by user and device. Whoever calls knows the users and notes the changes.
#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<(UserId, DeviceId), Session>);

fn key(identity: &Identity) -> (UserId, DeviceId) {
    (identity.user.clone(), identity.device.clone())
}

impl Sessions {
    /// Whether that changed anything.
    pub(super) fn put(&mut self, session: &Session) -> Result<bool> {
        if self.0.values().any(|s| s.id == session.id && s.identity != session.identity) {
            return Err(Error::new(ErrorKind::Conflict, "this session id is taken"));
        }
        let before = self.0.insert(key(&session.identity), session.clone());
        Ok(before.as_ref() != Some(session))
    }

    pub(super) fn renew(
        &mut self,
        id: &SessionId,
        old: &Digest,
        new: &Digest,
        now: Millis,
        expires: Millis,
    ) -> Renewal {
        let Some(session) = self.0.values_mut().find(|s| s.id == *id && now < s.expires) else {
            return Renewal::Unknown;
        };
        if session.refresh != *old {
            let identity = session.identity.clone();
            self.end(&identity);
            return Renewal::Reused(identity);
        }
        (session.refresh, session.refreshed, session.expires) = (*new, now, expires);
        Renewal::Renewed(session.clone())
    }

    /// In device order.
    pub(super) fn of_user(&self, user: &UserId) -> Vec<Session> {
        self.0.values().filter(|s| s.identity.user == *user).cloned().collect()
    }

    pub(super) fn of_device(&self, identity: &Identity) -> Option<&Session> {
        self.0.get(&key(identity))
    }

    /// Whether there was one.
    pub(super) fn end(&mut self, identity: &Identity) -> bool {
        self.0.remove(&key(identity)).is_some()
    }
}
