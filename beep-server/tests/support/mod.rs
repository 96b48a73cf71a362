//! An installation of its own and a real server on it: what the torture run, the full-disk run and the benches share.
#![allow(dead_code, clippy::unwrap_used)] // each user needs its own part; whatever fails here fails the run

pub mod http;
pub mod installation;
pub mod server;

use std::path::PathBuf;

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not `{text}`"))
}

/// Whether `BEEP_REQUIRE` asks for this, so that its absence fails instead of being skipped.
pub fn required(what: &str) -> bool {
    std::env::var("BEEP_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name.trim() == what))
}

/// Says so past the test harness, which would swallow it.
pub fn skipped(what: &str) {
    use std::io::Write;
    writeln!(std::io::stderr().lock(), "SKIPPED, NOT TESTED: {what}").unwrap();
}

/// The file of libvosk: in `$VOSK_LIB`, else where the speech tests and `.ci/run` install it.
pub fn libvosk() -> Option<PathBuf> {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("..");
    let named = std::env::var_os("VOSK_LIB").map(PathBuf::from);
    let places = named.into_iter().chain([target.join("speech/lib"), target.join("speech-home/speech/lib")]);
    let mut files = places.map(|place| if place.is_dir() { place.join("libvosk.so") } else { place });
    files.find(|file| file.is_file())
}
