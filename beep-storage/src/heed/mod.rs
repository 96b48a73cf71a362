//! Bites, blobs and short-lived values in one LMDB environment, shared by every process that opens the folder.

mod ahead;
mod bites;
mod blobs;
mod codec;
mod env;
mod ephemeral;
mod fault;
mod log;
mod put;
mod write;
mod writer;

pub use bites::HeedBites;
pub use blobs::HeedBlobs;
pub use env::{HeedEnv, HeedOptions};
pub use ephemeral::HeedEphemeral;
