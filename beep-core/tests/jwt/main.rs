//! Which tokens are believed: the vectors of R21 as one table, each next to a good token that differs in one thing.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod bad_claims;
mod bad_headers;
mod bad_shapes;
mod bad_signatures;
mod believed;
mod decode;
mod forge;
mod issued;
mod keys;
mod time;
