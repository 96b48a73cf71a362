//! Text messages on standard error, for development.

use async_trait::async_trait;
use beep_core::auth::SmsSender;
use beep_core::{Error, ErrorKind, Result};
use std::io::Write;

/// Prints every message instead of sending it: one line with number and text on standard error.
///
/// * Whoever reads the output can sign in as anybody. It is for a machine of one's own, never for a server that others
///   can reach.
/// * [`ErrorKind::Unavailable`] when nothing can be written there.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsoleSms;

#[async_trait]
impl SmsSender for ConsoleSms {
    async fn send(&self, to: &str, text: &str) -> Result<()> {
        // Not `eprintln`: a standard error that is closed must not be a panic.
        std::io::stderr().write_all(line(to, text).as_bytes()).map_err(|e| {
            Error::new(ErrorKind::Unavailable, "the text message cannot be written to standard error")
                .with_source(e)
        })
    }
}

/// One line whatever the text: its own line breaks and the terminal's commands become spaces.
fn line(to: &str, text: &str) -> String {
    format!("sms to {to}: {text}").replace(char::is_control, " ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(line("+6591234567", "Your code is 123456"), "sms to +6591234567: Your code is 123456\n");
        assert_eq!(line("+6591234567", "one\r\ntwo\u{1b}[2J"), "sms to +6591234567: one  two [2J\n");
    }
}
