//! The original's Go services on the same NATS: its subjects, its protobuf messages, and the bridge to the pipeline.
//!
//! Whoever may publish on these subjects speaks for whomever they name, as in the original: let only the old services
//! on them, by the accounts of NATS. Membership is checked all the same. The original's bus forgets what nobody took, so
//! what an old service published while no bridge ran is lost; it was never acknowledged.

mod answer;
mod bridge;
mod messages;

pub use bridge::{LegacyBridge, LegacyOptions};
pub use messages::{Bite, Client, DataRequest, Response, ScanRequest, Store, key};

/// Every subject of the original, once: both ends take it from here, so they cannot differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A [`Bite`] that was said, from `publish`.
    NewBite,
    /// A [`Bite`] whose data belongs to a bite, from `publish`.
    NewBiteUser,
    /// A [`Store`], from `bite` and `transcription`.
    NewStore,
    /// A [`Store`]: where the last version of `store` listened, while `bite` still said `new_store`.
    Store,
    /// A [`DataRequest`], answered with a [`Response`].
    RequestStore,
    /// A [`ScanRequest`], answered with a [`Response`].
    ScanStore,
    /// A [`Response`] for one client: `subscribe` takes it there.
    Response,
}

impl Subject {
    /// Every subject.
    pub const ALL: [Subject; 7] = [
        Self::NewBite,
        Self::NewBiteUser,
        Self::NewStore,
        Self::Store,
        Self::RequestStore,
        Self::ScanStore,
        Self::Response,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewBite => "new_bite",
            Self::NewBiteUser => "new_bite_user",
            Self::NewStore => "new_store",
            Self::Store => "store",
            Self::RequestStore => "request_store",
            Self::ScanStore => "scan_store",
            Self::Response => "res",
        }
    }

    /// Whether the bridge listens there; on the others it speaks, and an old service listens.
    pub const fn is_heard(self) -> bool {
        !matches!(self, Self::Response)
    }
}
