//! # Beep's words, rules and traits
//!
//! This crate says what a [bite](bite::Bite) is, who [may](permission::Gate) hear it, and what every
//! [store], [bus] and [transcriber] guarantees. It does no I/O: no sockets, files, threads or
//! wall clock.
//!
//! Backends live in `beep-storage` and `beep-pipeline`; a backend of your own implements a trait from here and passes
//! the suite in `conformance` (feature of the same name).
//!
//! | feature | adds |
//! |---|---|
//! | `conformance` | the suites that every backend must pass |

pub mod auth;
pub mod bite;
pub mod bus;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod event;
pub mod id;
pub mod permission;
pub mod store;
pub mod transcriber;
pub mod transcript;

pub use error::{Error, ErrorKind, Result};
