//! `transcribe` with a real recogniser: what was ingested can be read and found afterwards.
//!
//! libvosk is that of `$VOSK_LIB`, else the one that the speech tests of beep-pipeline keep in the target folder, else
//! it is installed. Without any way to it the test says so and ends; with `vosk` in `BEEP_REQUIRE` it fails instead.

use crate::support::{Installation, args, clips, finish};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

enum Library {
    /// `$VOSK_LIB` names it.
    Environment,
    At(PathBuf),
}

fn library() -> Option<Library> {
    if std::env::var_os("VOSK_LIB").is_some() {
        return Some(Library::Environment);
    }
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../speech/lib/libvosk.so");
    if shared.is_file() {
        return Some(Library::At(shared));
    }
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-data");
    let mut install = crate::support::beep_cli();
    install.arg("--data-dir").arg(&here).args(["speech", "install"]);
    let ran = finish(install);
    if ran.code == 0 {
        return Some(Library::At(here.join("speech/lib/libvosk.so")));
    }
    let required =
        std::env::var("BEEP_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name.trim() == "vosk"));
    assert!(!required, "BEEP_REQUIRE asks for vosk, but: {}", ran.err);
    // Past the test harness, which would swallow it.
    writeln!(std::io::stderr().lock(), "SKIPPED, NOT TESTED: no libvosk for beep-cli: {}", ran.err).unwrap();
    None
}

fn with(library: &Library, mut command: Command) -> Command {
    if let Library::At(path) = library {
        command.env("VOSK_LIB", path);
    }
    command
}

#[test]
fn what_was_ingested_can_be_found() {
    let Some(library) = library() else { return };
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    let hello = clips().join("hello.wav");
    let send = clips().join("send_help.wav");
    beep.run(args([&"ingest", &hello, &"-c", &crew, &"--start", &"1000"])).ok();
    beep.run(args([&"ingest", &send, &"-c", &crew, &"--start", &"2000"])).ok();
    let transcribe = |extra: &[&str]| finish(with(&library, beep.command([&["transcribe"], extra].concat())));
    assert_eq!(transcribe(&[]).ok().text(), "transcribed 2, failed 0\n");
    assert_eq!(beep.run(["transcript", &crew, "1000"]).ok().text(), "hello\n");
    assert_eq!(beep.run(["transcript", &crew, "2000"]).ok().text(), "send help\n");
    let found = beep.run(["search", "help", "--json"]).ok().json();
    assert_eq!((found.len(), &found[0]["start"]), (1, &2_000.into()));
    assert_eq!(transcribe(&["--model", "model-digits"]).ok().text(), "transcribed 0, failed 0\n");
    let unknown = transcribe(&["--model", "klingon"]).fails(1);
    assert!(unknown.err.contains("klingon") && unknown.err.contains("model-digits"), "{}", unknown.err);
}

#[test]
fn without_the_library_it_says_what_to_do() {
    let beep = Installation::new();
    beep.conversation();
    let mut command = beep.command(["transcribe"]);
    command.env("VOSK_LIB", beep.file("none.so"));
    let ran = finish(command);
    // A system-wide libvosk would be found after all.
    if ran.code != 0 {
        assert!(ran.err.contains("beep-cli speech install"), "{}", ran.err);
    }
}
