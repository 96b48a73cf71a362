//! The bytes of bites and pictures in an object store: S3, or a folder.
//!
//! [`Objects`] is one place, named by a URL. A database keeps its large bytes there as [`crate::Bodies`];
//! [`ObjectBlobs`] needs no database, but a store that refuses to overwrite.

mod blobs;
mod folder;
mod objects;
mod open;
mod s3;

pub use blobs::ObjectBlobs;
pub use objects::Objects;
pub use open::Credentials;
