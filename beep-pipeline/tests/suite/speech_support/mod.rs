//! What the speech tests share: a speech folder with a real libvosk in it, the spoken clips, and word errors.
#![allow(dead_code)] // each test file uses its own part

use beep_pipeline::transcriber::vosk::{SpeechHome, VoskOptions, VoskTranscriber, install};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A speech folder with libvosk, made once below the target folder; `$VOSK_LIB` is used where it is set.
///
/// Without the library and a way to fetch it, a test says so on the terminal and ends; with `vosk` in `BEEP_REQUIRE`
/// it fails instead, so that nothing is skipped where it matters.
pub fn home() -> Option<&'static SpeechHome> {
    static HOME: OnceLock<Option<SpeechHome>> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = SpeechHome::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("../speech"));
        if std::env::var_os("VOSK_LIB").is_some() {
            return Some(home);
        }
        match install(&home, &mut |line| say(line)) {
            Ok(_) => Some(home),
            Err(e) => {
                skip(&format!("no libvosk: {e}"));
                None
            }
        }
    })
    .as_ref()
}

/// The library to name for a speech folder that has none: that of [`home`], where it is not `$VOSK_LIB`'s anyway.
pub fn library() -> Option<PathBuf> {
    home().filter(|_| std::env::var_os("VOSK_LIB").is_none()).map(SpeechHome::library)
}

/// Says loudly that something is not tested; fails where `BEEP_REQUIRE` lists `vosk`.
pub fn skip(why: &str) {
    let required =
        std::env::var("BEEP_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name.trim() == "vosk"));
    assert!(!required, "BEEP_REQUIRE asks for vosk, but: {why}");
    say(&format!("SKIPPED, NOT TESTED: {why}"));
}

/// Past the test harness, which would swallow the line of a test that does not fail.
fn say(line: &str) {
    writeln!(std::io::stderr().lock(), "speech tests: {line}").unwrap();
}

/// The bundled model with this many threads.
pub fn digits(threads: usize) -> Option<VoskTranscriber> {
    let options = VoskOptions { model: Some("model-digits".to_owned()), threads, ..VoskOptions::default() };
    Some(VoskTranscriber::open(home()?, options).unwrap())
}

pub fn speech_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("speech")
}

/// All committed clips: file name, samples, and what is said.
pub fn clips() -> Vec<(String, Arc<[i16]>, String)> {
    let dir = speech_dir().join("clips");
    let text = fs::read_to_string(dir.join("ref.txt")).unwrap();
    let clips = text.lines().map(|line| {
        let (name, said) = line.split_once(' ').unwrap();
        (name.to_owned(), wav(&dir.join(name)).into(), said.to_owned())
    });
    clips.collect()
}

/// The samples of a 16 kHz mono WAV file with the plain 44-byte header that all clips have.
pub fn wav(path: &Path) -> Vec<i16> {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..4], b"RIFF");
    assert_eq!(u32::from_le_bytes(bytes[24..28].try_into().unwrap()), 16_000);
    assert_eq!(&bytes[36..40], b"data");
    bytes[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// Words to insert, delete or replace to get from one text to the other.
pub fn word_errors(said: &str, heard: &str) -> usize {
    let heard: Vec<_> = heard.split_whitespace().collect();
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for word in said.split_whitespace() {
        let mut diagonal = row[0];
        row[0] += 1;
        for (j, other) in heard.iter().enumerate() {
            let best = (diagonal + usize::from(word != *other)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[heard.len()]
}

/// Copies the bundled model's files, to be damaged or added.
pub fn copy_model(to: &Path) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target)
            } else {
                drop(fs::copy(entry.path(), target))
            }
        }
    }
    copy(&speech_dir().join("model-digits"), to);
}
