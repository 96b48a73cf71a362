//! What every backend must do, as functions that panic with the broken guarantee.
//!
//! A backend outside this workspace runs them through the macros: [`crate::bite_store_suite`] and its siblings.

pub mod bites;
pub mod blobs;
pub mod bus;
pub mod directory;
pub mod directory_members;
pub mod directory_model;
pub mod directory_sessions;
pub mod ephemeral;
pub mod log;
pub mod model;
mod run;
pub mod search;
pub mod search_text;
