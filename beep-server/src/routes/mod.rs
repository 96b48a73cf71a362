//! One file per prefix of the contract. Handlers decode, call the pipeline and encode.

pub(crate) mod auth;
pub(crate) mod publish;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod subscribe;
pub(crate) mod transcription;
