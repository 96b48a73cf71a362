//! Without libvosk: an error that says what to do, never an abort, and a second chance after the install.
//!
//! A process keeps the libvosk it loaded first, so these tests are a program of their own, and the one that looks
//! everywhere runs in a child process.
#![cfg(feature = "transcribe-vosk")]
#![allow(clippy::unwrap_used)] // the helpers of a test are a test as well

#[path = "suite/speech_support/mod.rs"]
mod speech_support;

use beep_core::ErrorKind;
use beep_core::transcriber::Transcriber;
use beep_pipeline::transcriber::vosk::{SpeechHome, VoskOptions, VoskTranscriber, add};
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn at(lib: PathBuf) -> VoskOptions {
    VoskOptions { lib: Some(lib), ..VoskOptions::default() }
}

#[test]
fn a_named_library_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("not-there.so");
    let error = VoskTranscriber::open(&SpeechHome::new(dir.path()), at(missing.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("beep-cli speech install"), "{error}");
    assert!(error.message().contains(&missing.display().to_string()), "{error}");
}

#[test]
fn a_file_that_is_no_library_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("libvosk.so");
    std::fs::write(&text, "not a library").unwrap();
    VoskTranscriber::open(&SpeechHome::new(dir.path()), at(text)).unwrap_err();
}

#[test]
fn a_model_can_be_added_before_the_library() {
    let dir = tempfile::tempdir().unwrap();
    speech_support::copy_model(&dir.path().join("given/other"));
    let home = SpeechHome::new(dir.path().join("speech"));
    assert_eq!(add(&home, &dir.path().join("given")).unwrap().name, "other");
}

/// Run as a child by the next test: looks everywhere, finds nothing, finds it after an install.
#[test]
#[ignore = "a child process of absent_then_installed"]
fn child_absent_then_installed() {
    let Some(source) = std::env::var_os("SPEECH_TEST_LIBRARY") else { return };
    let dir = tempfile::tempdir().unwrap();
    let home = SpeechHome::new(dir.path());
    let error = match VoskTranscriber::open(&home, VoskOptions::default()) {
        Err(error) => error,
        Ok(_) => {
            return speech_support::skip("this machine has a libvosk of its own, which cannot be absent");
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_temporary(), "an install mends it");
    assert!(error.message().contains(&home.library().display().to_string()), "{error}");
    assert!(error.message().contains("beep-cli speech install"), "{error}");

    std::fs::create_dir_all(home.library().parent().unwrap()).unwrap();
    std::fs::copy(source, home.library()).unwrap();
    let vosk = VoskTranscriber::open(&home, VoskOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_, clip, said) = speech_support::clips().swap_remove(0);
    assert_eq!(runtime.block_on(vosk.transcribe(clip)).unwrap().text, said);

    // From now on the process has its library; another one by name is refused with the reason.
    let other = dir.path().join("other.so");
    std::fs::write(&other, "").unwrap();
    let error = VoskTranscriber::open(&home, at(other)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    VoskTranscriber::open(&home, at(home.library())).unwrap();
}

#[test]
fn absent_then_installed() {
    let Some(home) = speech_support::home() else { return };
    let library = std::env::var_os("VOSK_LIB").map_or_else(|| home.library(), PathBuf::from);
    let library = if library.is_dir() { library.join("libvosk.so") } else { library };
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_absent_then_installed", "--ignored", "--nocapture"])
        .env_remove("VOSK_LIB")
        .env("SPEECH_TEST_LIBRARY", library)
        .stderr(Stdio::inherit()) // where it says what it had to skip
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}
