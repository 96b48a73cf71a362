//! # Beep over HTTP
//!
//! Decodes a request, calls the [pipeline](beep_pipeline::Beep), encodes the answer. The contract is in `api.md`'s
//! shape: routes under the original's prefixes, errors as `application/problem+json`.
//!
//! [`serve()`] takes a bound listener and a future that ends it, so that tests and embedders own both.

mod app;
pub mod assemble;
pub mod config;
mod connection;
mod cors;
pub mod demo;
mod extract;
mod failures;
mod range;
mod respond;
mod router;
mod routes;
mod serve;
mod sms;
mod sse;

pub use app::{App, Extras};
pub use router::ROUTES;
pub use serve::{listen, listen_for_login, serve, serve_login};
