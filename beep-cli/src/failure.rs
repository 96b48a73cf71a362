//! What went wrong, for people and machines: what, why, what to do next, and the exit code.

use beep_core::ErrorKind;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;
use std::path::Path;

/// What commands return.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// How a command ended that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it worked.
    Done,
    /// Some of it did not, and was named already.
    Incomplete,
}

/// Why a command could not go on.
#[derive(Debug)]
pub struct Failure {
    code: Cow<'static, str>,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

/// The code of a failure that the caller made by asking wrongly.
const USAGE: &str = "usage";
/// The code of the end of whoever reads our output, which is no failure.
const BROKEN_PIPE: &str = "broken_pipe";

impl Failure {
    /// A failure with a stable code and one sentence.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), causes: Vec::new(), hint: None }
    }

    /// Something was asked for that makes no sense: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound.code(), message)
    }

    /// A file operation that did not work.
    pub fn io(doing: &str, path: &Path, e: &io::Error) -> Self {
        Self::new("io", format!("cannot {doing} {}", path.display())).because(e)
    }

    /// A failure to write our own output.
    pub fn output(e: &io::Error) -> Self {
        let code = if e.kind() == io::ErrorKind::BrokenPipe { BROKEN_PIPE } else { "output" };
        Self::new(code, "cannot write the output").because(e)
    }

    /// Adds what it follows from.
    #[must_use]
    pub fn because(mut self, e: &dyn StdError) -> Self {
        self.causes = chain(e);
        self
    }

    /// Says which thing it is about, in front.
    #[must_use]
    pub fn about(mut self, name: &str) -> Self {
        self.message = format!("{name}: {}", self.message);
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The stable word for what it is.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What went wrong, without reason and advice.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether whoever reads our output has gone, which ends us quietly.
    pub fn is_broken_pipe(&self) -> bool {
        self.code == BROKEN_PIPE
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match &*self.code {
            USAGE => 2,
            BROKEN_PIPE => 0,
            _ => 1,
        }
    }

    /// What and why in one line.
    pub fn one_line(&self) -> String {
        self.causes.iter().fold(self.message.clone(), |line, cause| format!("{line}: {cause}"))
    }

    /// For people: several lines, the first of which follows `error: `.
    pub fn text(&self) -> String {
        let mut text = self.message.clone();
        for cause in &self.causes {
            text += &format!("\n  caused by: {cause}");
        }
        if let Some(hint) = &self.hint {
            text += &format!("\n  hint: {hint}");
        }
        text
    }

    /// For machines.
    pub fn json(&self) -> Value {
        json!({
            "type": "error",
            "code": self.code,
            "message": self.message,
            "caused_by": self.causes,
            "hint": self.hint,
            "exit_code": self.exit_code(),
        })
    }
}

impl From<beep_core::Error> for Failure {
    fn from(e: beep_core::Error) -> Self {
        let mut texts = chain(&e);
        let message = texts.remove(0);
        Self { code: e.kind().code().into(), message, causes: texts, hint: None }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(e: serde_json::Error) -> Self {
        Self::new(ErrorKind::Internal.code(), "cannot write JSON").because(&e)
    }
}

/// What each error of the chain says for itself: many also repeat their source behind a colon.
fn chain(e: &dyn StdError) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = Some(e);
    while let Some(e) = next {
        let text = e.to_string();
        let source = e.source();
        let own =
            source.and_then(|s| text.strip_suffix(&format!(": {s}")).map(str::to_owned)).unwrap_or(text);
        if texts.last() != Some(&own) {
            texts.push(own);
        }
        next = source;
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use beep_core::Error;

    #[test]
    fn causes_are_said_once() {
        let disk = io::Error::other("disk on fire");
        let store = Error::new(ErrorKind::Internal, "writing failed").with("path", "/x").with_source(disk);
        let top = Error::new(ErrorKind::Unavailable, "nothing was stored").with_source(store);
        let failure = Failure::from(top).hint("try again");
        assert_eq!(
            failure.text(),
            "nothing was stored\n  caused by: writing failed (path: /x)\n  caused by: disk on fire\n  hint: try again"
        );
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(failure.json()["code"], "unavailable");
    }

    #[test]
    fn the_end_of_a_reader_is_no_failure() {
        let failure = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert!(failure.is_broken_pipe());
        assert_eq!(failure.exit_code(), 0);
    }
}
