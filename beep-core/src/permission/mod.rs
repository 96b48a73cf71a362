//! Who may do what in a conversation.

mod gate;
mod memo;

pub use gate::{Action, Gate, Grant};
