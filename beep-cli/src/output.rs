//! Everything that is printed: results alone on stdout; warnings, progress and errors on stderr; JSON lines if asked.

use crate::failure::{Failure, Result};
use anstream::{AutoStream, ColorChoice};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// How loud, in which form.
#[derive(Clone, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    verbose: u8,
    bars: MultiProgress,
}

impl Output {
    /// `verbose` counts the `-v`s.
    pub fn new(json: bool, quiet: bool, verbose: u8) -> Self {
        let shown = !json && !quiet && io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { json, quiet, verbose, bars: MultiProgress::with_draw_target(target) }
    }

    /// Whether machines read it.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether more was asked for than usual.
    pub fn verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Bytes on stdout as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| Failure::output(&e))
    }

    /// One line on stdout.
    pub fn line(&self, text: &str) -> Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Many lines on stdout, in one write.
    pub fn lines<T: AsRef<str>>(&self, lines: impl IntoIterator<Item = T>) -> Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(line.as_ref());
            text.push('\n');
        }
        self.bytes(text.as_bytes())
    }

    /// One JSON line on stdout.
    pub fn object(&self, value: &Value) -> Result<()> {
        self.line(&value.to_string())
    }

    /// What a command made: its id alone, or the object.
    pub fn made(&self, id: &str, object: &Value) -> Result<()> {
        if self.json { self.object(object) } else { self.line(id) }
    }

    /// A line on stdout that nobody needs who asked for quiet or JSON.
    pub fn say(&self, text: &str) -> Result<()> {
        if self.json || self.quiet { Ok(()) } else { self.bars.suspend(|| self.line(text)) }
    }

    /// Rows on stdout, columns aligned, the last one ragged.
    pub fn table<const N: usize>(&self, rows: &[[String; N]]) -> Result<()> {
        let rows: Vec<[Cow<'_, str>; N]> =
            rows.iter().map(|row| row.each_ref().map(|cell| clean(cell))).collect();
        let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..N).map(width).collect();
        self.lines(rows.iter().map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let padding = width - cell.chars().count() + 2;
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', padding));
            }
            line.trim_end().to_owned()
        }))
    }

    /// A warning on stderr.
    pub fn warn(&self, message: &str) {
        if self.json {
            self.stderr(&json!({ "type": "warning", "message": message }).to_string());
        } else if !self.quiet {
            self.stderr(&format!("{} {message}", paint(&io::stderr(), YELLOW, "warning:")));
        }
    }

    /// An error on stderr, also when quiet.
    pub fn error(&self, failure: &Failure) {
        if self.json {
            self.stderr(&failure.json().to_string());
        } else {
            self.stderr(&format!("{} {}", paint(&io::stderr(), RED, "error:"), failure.text()));
        }
    }

    /// News on the way, on stderr, for people only.
    pub fn progress(&self, text: &str) {
        if !self.json && !self.quiet {
            self.stderr(text);
        }
    }

    fn stderr(&self, text: &str) {
        // Nobody is left to be told when even stderr is gone.
        self.bars.suspend(|| writeln!(io::stderr(), "{text}")).ok();
    }

    /// A bar on stderr where somebody watches, of so many steps; a spinner when that is not known.
    pub fn bar(&self, doing: &'static str, steps: Option<u64>) -> ProgressBar {
        let bar = self.bars.add(steps.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        let template = match steps {
            Some(_) => "{msg} {wide_bar} {pos}/{len} {eta}",
            None => "{spinner} {msg} {pos}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(doing);
        bar
    }

    /// Where log lines go, so that they and the bars do not garble each other.
    pub fn log_writer(&self) -> impl Fn() -> LogLine + Send + Sync + 'static {
        let bars = self.bars.clone();
        move || LogLine { bars: bars.clone(), text: Vec::new() }
    }
}

/// One log line on its way to stderr.
#[derive(Debug)]
pub struct LogLine {
    bars: MultiProgress,
    text: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        self.bars.suspend(|| io::stderr().write_all(&self.text)).ok();
    }
}

const RED: &str = "1;31";
const YELLOW: &str = "1;33";

/// Whether this stream may be coloured: a terminal, unless NO_COLOR, CLICOLOR or CLICOLOR_FORCE say otherwise.
pub fn coloured(stream: &impl anstream::stream::RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

fn paint(stream: &impl anstream::stream::RawStream, style: &str, text: &str) -> String {
    if coloured(stream) { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Text that somebody else wrote, without control characters: a title must not move the cursor.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return text.into();
    }
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A length of time for people: `0:03.250`, `1:02:03`.
pub fn duration(ms: u64) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let mut text = String::new();
    // Writing to a string cannot fail.
    if hours > 0 {
        write!(text, "{hours}:{minutes:02}:{seconds:02}").ok();
    } else {
        write!(text, "{minutes}:{seconds:02}.{:03}", ms % 1_000).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_text_cannot_steer_the_terminal() {
        assert_eq!(clean("plain"), "plain");
        assert_eq!(clean("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration(3_250), "0:03.250");
        assert_eq!(duration(3_723_004), "1:02:03");
    }
}
