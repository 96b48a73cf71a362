//! One file per prefix of the contract. Handlers decode, call the pipeline and encode.

pub(crate) mod auth;
pub(crate) mod changes;
pub(crate) mod core;
pub(crate) mod login;
pub(crate) mod permissions;
pub(crate) mod publish;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod subscribe;
pub(crate) mod transcription;
