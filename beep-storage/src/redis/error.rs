//! Turns what Redis says into Beep's errors; its own words stay in the source, for the log.

use super::place::Place;
use beep_core::{Error, ErrorKind};
use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};

const AWAY: &str = "the store of short-lived values does not answer now; try again";

impl Place {
    /// Redis did not answer in time.
    pub(super) fn late(&self) -> Error {
        self.error(ErrorKind::Unavailable, AWAY).with_source("no answer in time")
    }

    /// What became of a call.
    pub(super) fn failed(&self, e: &RedisError) -> Error {
        let (kind, message, passes) = sorted(e);
        let error = self.error(kind, message).with_source(self.redacted(&e.to_string()));
        if passes { error } else { error.permanent() }
    }

    /// The same while connecting, where every refusal means that this server cannot be used as it is.
    pub(super) fn refused(&self, e: &RedisError) -> Error {
        let error = self.failed(e);
        if error.kind() != ErrorKind::Internal {
            return error;
        }
        let message = "Redis refuses the connection: check address, database number and protocol in its URL";
        self.unusable(message).with_source(self.redacted(&e.to_string()))
    }

    /// This server cannot be used until somebody changes it or the URL.
    pub(super) fn unusable(&self, message: &str) -> Error {
        self.error(ErrorKind::Unavailable, message).permanent()
    }

    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with("redis", &self.shown)
    }
}

/// Kind, sentence, and whether it may pass by itself.
fn sorted(e: &RedisError) -> (ErrorKind, &'static str, bool) {
    match e.kind() {
        Kind::Io | Kind::Parse => return (ErrorKind::Unavailable, AWAY, true),
        Kind::AuthenticationFailed | Kind::Server(Server::NoPerm) => return refused(),
        Kind::Server(
            Server::BusyLoading
            | Server::ReadOnly
            | Server::MasterDown
            | Server::ClusterDown
            | Server::TryAgain,
        ) => return (ErrorKind::Unavailable, AWAY, true),
        Kind::Server(Server::Moved | Server::Ask | Server::CrossSlot) => {
            let message = "this Redis is a part of a cluster: name one that stands alone in its URL";
            return (ErrorKind::Unavailable, message, false);
        }
        _ => {}
    }
    match e.code() {
        Some("NOAUTH" | "WRONGPASS") => refused(),
        Some("OOM") => {
            let message = "Redis has no memory left, nothing was stored: raise its `maxmemory`";
            (ErrorKind::Full, message, false)
        }
        Some("MISCONF" | "NOREPLICAS" | "BUSY" | "UNKILLABLE") => {
            (ErrorKind::Unavailable, "Redis takes no commands now: its log says why", true)
        }
        Some("WRONGTYPE") => {
            let message = "something else stands there in Redis: give Beep a key prefix of its own";
            (ErrorKind::Conflict, message, false)
        }
        _ if e.to_string().contains("max number of clients") => (ErrorKind::Unavailable, AWAY, true),
        _ => (ErrorKind::Internal, "a Redis call failed", false),
    }
}

fn refused() -> (ErrorKind, &'static str, bool) {
    let message = "Redis refuses this user: check name and password in its URL, and the user's permissions";
    (ErrorKind::Unavailable, message, false)
}
