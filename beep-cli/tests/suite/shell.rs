//! What a shell sees: help, completions, exit codes, JSON errors, pipes that close.

use crate::support::{Installation, bare, beep_cli, ended, finish, wav};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

#[test]
fn help_is_as_written_down() {
    let help = bare(["--help"]).ok();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");
    if std::env::var_os("BEEP_BLESS").is_some() {
        std::fs::write(path, &help.out).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(help.text(), written, "if this is meant, run the test again with BEEP_BLESS=1");
    for words in ["--data-dir", "--server", "--json", "Exit codes: 0", "130"] {
        assert!(written.contains(words), "{words}");
    }
}

#[test]
fn every_command_says_what_it_is_for() {
    let commands = [
        "token",
        "user",
        "user create",
        "user list",
        "user show",
        "user set",
        "user erase",
        "conversation",
        "conversation create",
        "conversation show",
        "conversation set",
        "conversation delete",
        "conversation add",
        "conversation remove",
        "conversation list",
        "conversation members",
        "contact",
        "contact add",
        "contact list",
        "contact remove",
        "session",
        "session list",
        "session end",
        "export",
        "erase",
        "ingest",
        "scan",
        "get",
        "transcript",
        "search",
        "transcribe",
        "verify",
        "speech",
        "speech install",
        "speech add",
        "speech list",
        "completions",
    ];
    for command in commands {
        let help = bare(command.split(' ').chain(["--help"])).ok();
        let first = help.lines()[0];
        assert!(first.len() > 10 && first.len() < 120 && !first.starts_with("Usage"), "{command}: {first}");
        assert!(help.text().contains("Usage: beep-cli"), "{command}");
    }
    assert!(bare(["--version"]).ok().text().starts_with("beep-cli "));
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = bare(["completions", shell]).ok();
        assert!(script.text().contains("beep-cli") && script.text().contains("ingest"), "{shell}");
    }
    bare(["completions", "teletype"]).fails(2);
}

#[test]
fn wrong_usage_is_2_and_json_when_asked() {
    for args in [
        &[][..],
        &["sing"],
        &["scan"],
        &["--sing", "verify"],
        &["user"],
        &["scan", "no/such"],
        &["-q", "-v", "verify"],
    ] {
        let refused = bare(args).fails(2);
        assert!(refused.out.is_empty() && !refused.err.is_empty(), "{args:?}");
    }
    let error = &bare(["--json", "scan"]).fails(2).json_err()[0];
    assert_eq!(
        (&error["type"], &error["code"], &error["exit_code"]),
        (&"error".into(), &"usage".into(), &2.into())
    );
    assert!(error["message"].as_str().unwrap().contains("<C>"), "{error}");
}

#[test]
fn errors_are_json_when_asked() {
    let beep = Installation::new();
    beep.conversation();
    let failed = beep.run(["--json", "scan", "c-none"]).fails(1);
    assert!(failed.out.is_empty());
    let error = &failed.json_err()[0];
    assert_eq!((&error["code"], &error["exit_code"]), (&"not_found".into(), &1.into()));
    assert!(error["message"].as_str().unwrap().contains("c-none") && error["hint"].is_string());
}

#[test]
fn a_directory_or_a_server_but_not_both() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    let server = ["--server", "http://127.0.0.1:1", "--token", "t"];
    let both = beep.run([&server[..], &["scan", &crew]].concat()).fails(2);
    assert!(both.err.contains("--data-dir") && both.err.contains("--server"), "{}", both.err);
    beep.run(["--token", "t", "scan", &crew]).fails(2);
    bare(["--token", "t", "scan", &crew]).fails(2);

    // The environment says the same as the flags, and a flag wins over it.
    let mut command = beep_cli();
    command.env("BEEP_DATA_DIR", beep.data()).args(["scan", &crew]);
    finish(command).ok();
    let mut command = beep.command(["scan", &crew]);
    command.env("BEEP_SERVER", "http://127.0.0.1:1").env("BEEP_TOKEN", "t");
    finish(command).ok();
    let mut command = beep_cli();
    command.env("BEEP_DATA_DIR", beep.data()).env("BEEP_SERVER", "http://127.0.0.1:1").args(["scan", &crew]);
    assert!(finish(command).fails(2).err.contains("BEEP_SERVER"));

    for url in ["ftp://x", "nonsense", "mailto:x@y"] {
        bare(["--server", url, "--token", "t", "scan", &crew]).fails(2);
    }
    assert!(bare(["--server", "http://127.0.0.1:1", "scan", &crew]).fails(2).err.contains("BEEP_TOKEN"));
}

#[test]
fn the_default_directory_is_that_of_the_user() {
    let home = tempfile::tempdir().unwrap();
    let mut command = beep_cli();
    command.env("XDG_DATA_HOME", home.path()).args([
        "user",
        "create",
        "--phone",
        "+6500000001",
        "--first",
        "A",
    ]);
    finish(command).ok();
    assert!(home.path().join("beep").is_dir());
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    beep.feed(["ingest", "-", "-c", &crew, "--start", "1"], &wav(1)).ok();
    for args in [
        &["completions", "bash"][..],
        &["--help"],
        &["scan", &crew],
        &["get", &crew, "1"],
        &["scan", &crew, "--json"],
    ] {
        let mut command = beep.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = ended(child.wait_with_output().unwrap());
        assert_eq!((ran.code, &*ran.err), (0, ""), "{args:?}");
    }
}

#[test]
fn speech_models_are_listed_and_wrong_ones_refused() {
    let beep = Installation::new();
    assert!(beep.run(["speech", "list"]).ok().text().starts_with("model-digits  en  bundled"));
    assert_eq!(beep.run(["speech", "list", "--json"]).ok().json()[0]["bundled"], true);
    let folder = beep.file("not-a-model");
    std::fs::create_dir(&folder).unwrap();
    let refused = beep.run(["speech".as_ref(), "add".as_ref(), folder.as_os_str()]).fails(1);
    assert!(refused.err.contains("no Vosk model"), "{}", refused.err);
}

/// What is no text is refused in a sentence where it is ours, and nobody's business where it is not. A data directory
/// of such a name would become another one on the way to its stores.
#[test]
fn an_environment_that_is_no_text_is_no_panic() {
    let here = tempfile::tempdir().unwrap();
    let bytes = OsStr::from_bytes(b"\xff\xfe");
    let refused = |change: &dyn Fn(&mut std::process::Command)| {
        let mut command = beep_cli();
        command.current_dir(here.path()).env("HOME", here.path()).args([
            "user",
            "create",
            "--phone",
            "+6590000001",
            "--first",
            "A",
        ]);
        change(&mut command);
        let refused = finish(command).fails(2);
        assert!(refused.out.is_empty() && refused.err.starts_with("error: "), "{}", refused.err);
        assert!(refused.err.contains("UTF-8"), "{}", refused.err);
        assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0, "something was made");
    };
    for name in ["BEEP_SERVER", "BEEP_TOKEN", "BEEP_DATA_DIR", "XDG_DATA_HOME", "BEEP_STORE_BITES"] {
        refused(&|command| {
            command.env(name, bytes);
        });
    }
    refused(&|command| {
        command.arg("--data-dir").arg(bytes);
    });

    let beep = Installation::new();
    let mut command = beep.command(["user", "list"]);
    command.env("LESSOPEN", bytes).env(OsStr::from_bytes(b"BEEP_\xff"), "x");
    beep.user("+6590000001", "Alice");
    assert_eq!(finish(command).ok().lines().len(), 1);
}
