//! Who may do what in a conversation.

mod gate;

pub use gate::{Action, Gate, Grant};
