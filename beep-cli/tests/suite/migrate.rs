//! `migrate`: killed and resumed, followed while the source is written to, and what it says about both sides.

use crate::support::{Installation, Ran, args, bare, wav};
use beep_core::bite::{BiteKey, Label};
use beep_core::id::Identity;
use beep_core::store::Session;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

const FILES: u32 = 400;

fn migrate(from: &Installation, to: &Installation, more: &[&str]) -> Vec<std::ffi::OsString> {
    let mut all = args([&"--json", &"migrate", &"--from", &from.data(), &"--to", &to.data()]);
    all.extend(more.iter().map(Into::into));
    all
}

fn summary(ran: &Ran) -> Value {
    ran.json().pop().unwrap()
}

/// An installation with a conversation, many recordings, a session and a transcript.
fn filled() -> (Installation, String, String) {
    let source = Installation::new();
    let (crew, owner) = source.conversation();
    for n in 0..FILES {
        source.write(&format!("in/{n:03}.wav"), &wav(n), 1_000 + u64::from(n));
    }
    source.run(args([&"ingest", &source.file("in"), &"-c", &crew])).ok();
    source.inside(async |stores| {
        let device = Identity { user: owner.parse().unwrap(), device: "phone".parse().unwrap() };
        let session = Session {
            identity: device,
            id: "s-1".parse().unwrap(),
            refresh: beep_core::bite::Digest([7; 32]),
            created: 1,
            refreshed: 2,
            expires: u64::MAX >> 1,
        };
        stores.directory.put_session(session).await.unwrap();
        let key = BiteKey::new(Label::Transcription, crew.parse().unwrap(), 1_005);
        let body: bytes::Bytes =
            br#"{"text":"help is coming","words":[],"language":"und","model":"m"}"#[..].into();
        let author = Identity { user: owner.parse().unwrap(), device: "phone".parse().unwrap() };
        let new = beep_core::store::NewBite {
            label: key.label,
            conversation: key.conversation,
            start: beep_core::store::Start::At(key.start),
            author,
            media_type: "application/json".into(),
            duration_ms: None,
            sha256: beep_core::bite::Digest::of(&body),
            body,
            received: 5,
            idempotency: None,
        };
        stores.bites.put(new).await.unwrap();
    });
    (source, crew, owner)
}

/// Ten times, each a little later; then it ends by itself, and both sides are the same.
#[test]
fn killed_ten_times_and_resumed() {
    let (source, crew, owner) = filled();
    source.run(["token", "--user", &owner, "--client", "phone"]).ok();
    let target = Installation::new();
    let (mut before, mut partly) = (0, 0);
    for n in 0..10 {
        let mut child = beep_with(&source, &target).spawn().unwrap();
        // Killed the moment that something more has arrived, the first time before anything can have.
        let after = target.inside(async |stores| {
            let begun = Instant::now();
            while n > 0 && stores.bites.tail().await.unwrap() == before && child.try_wait().unwrap().is_none()
            {
                assert!(begun.elapsed() < Duration::from_secs(60), "nothing arrives");
            }
            child.kill().ok(); // SIGKILL
            child.wait().unwrap();
            stores.bites.tail().await.unwrap()
        });
        partly += u32::from(after > before && after < u64::from(FILES));
        before = after;
    }
    assert!(partly >= 5, "it was killed in the middle {partly} times only");
    let last = bare(migrate(&source, &target, &[])).ok();
    let last = summary(&last);
    assert_eq!(last["equal"], true, "{last}");
    assert_eq!(last["source"], last["target"]);
    assert_eq!(last["source"]["records"]["count"], FILES + 1);
    assert_eq!(last["read"], FILES + 1);
    // Again: nothing left to do, nothing twice.
    let again = summary(&bare(migrate(&source, &target, &[])).ok());
    assert_eq!(again["moved"]["records"], 0);
    assert_eq!(again["target"], last["target"]);
    let length = target.inside(async |stores| stores.bites.tail().await.unwrap());
    assert_eq!(length, u64::from(FILES) + 1, "a second copy");
    let verified = summary(&bare(migrate(&source, &target, &["--verify-only"])).ok());
    assert_eq!(verified["equal"], true);

    // What was moved is served as it was.
    assert_eq!(target.scan(&crew), source.scan(&crew));
    for start in [1_000, 1_200, 1_399] {
        assert_eq!(target.get(&crew, start), source.get(&crew, start));
    }
    for command in [
        &["scan", &crew, "--json"][..],
        &["search", "help", "--json"],
        &["conversation", "list", "--json"],
        &["session", "list", &owner, "--json"],
        &["key", "list"],
    ] {
        let (here, there) = (source.run(command), target.run(command));
        if here.code == 0 && command[0] != "key" && command[0] != "search" {
            assert_eq!(there.text(), here.text(), "{command:?}");
        }
        assert_eq!(there.code, here.code, "{command:?}: {there:?}");
    }
    assert!(target.run(["search", "coming"]).ok().text().contains(&crew));
    let key = |beep: &Installation| fs::read(beep.data().join("keys/0001.pem")).unwrap();
    assert_eq!(key(&target), key(&source), "tokens stay good");
}

fn beep_with(source: &Installation, target: &Installation) -> std::process::Command {
    let mut command = crate::support::beep_cli();
    command.args(migrate(source, target, &[])).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The source is written to while it is followed; what comes to the target is what the source has in the end.
#[test]
fn follows_a_source_in_use() {
    let (source, crew, _) = filled();
    let target = Installation::new();
    let mut command = crate::support::beep_cli();
    let mut child = command
        .args(migrate(&source, &target, &["--follow"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("caught_up"));

    source.feed(["ingest", "-", "-c", &crew, "--start", "5"], &wav(5)).ok();
    let bob = source.user("+65 8888 8888", "Bob");
    source.inside(async |stores| {
        stores
            .directory
            .put_member(&crew.parse().unwrap(), &bob.parse().unwrap(), beep_core::store::Role::Listener)
            .await
            .unwrap();
        stores.bites.delete(&crew.parse().unwrap(), 1_007, 9).await.unwrap().unwrap();
    });
    let begun = Instant::now();
    loop {
        let there = target.inside(async |stores| {
            let id = crew.parse().unwrap();
            let members = stores.directory.members(&id).await.unwrap().len();
            let key = |start| BiteKey::new(Label::Bite, id.clone(), start);
            let head = async |start| stores.bites.head(&key(start)).await.unwrap().is_some();
            (members, head(5).await, head(1_007).await)
        });
        if there == (2, true, false) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not follow: {there:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let last = summary(&bare(migrate(&source, &target, &[])).ok());
    assert_eq!(last["equal"], true, "{last}");
    assert_eq!(target.scan(&crew), source.scan(&crew));
}

#[test]
fn names_what_is_different_and_keeps_it() {
    let (source, crew, owner) = filled();
    let target = Installation::new();
    bare(migrate(&source, &target, &[])).ok();
    source.feed(["ingest", "-", "-c", &crew, "--start", "7"], &wav(7)).ok();
    target.feed(["ingest", "-", "-c", &crew, "--start", "7"], &wav(8)).ok();
    let before = target.get(&crew, 7);
    let ran = bare(migrate(&source, &target, &[])).fails(1);
    let key = format!("bite/{crew}/7");
    let lines = ran.json();
    assert!(
        lines.iter().any(|l| l["type"] == "problem" && l["key"] == key && l["code"] == "conflict"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|l| l["type"] == "different" && l["key"] == key), "{lines:?}");
    assert_eq!(target.get(&crew, 7), before);
    bare(migrate(&source, &target, &["--verify-only"])).fails(1);
    // Other keys of the target are not replaced either.
    for beep in [&source, &target] {
        beep.run(["token", "--user", &owner, "--client", "x"]).ok();
    }
    let key = || fs::read(target.data().join("keys/0001.pem")).unwrap();
    let kept = key();
    let ran = bare(migrate(&source, &target, &[])).fails(1);
    assert!(ran.json_err()[0]["message"].as_str().unwrap().contains("is another key"), "{ran:?}");
    assert_eq!(key(), kept);
}

#[test]
fn says_what_names_an_installation() {
    let (source, _, _) = filled();
    let target = Installation::new();
    let missing = target.file("nothing here");
    let ran = bare(args([&"migrate", &"--from", &missing, &"--to", &target.data()])).fails(1);
    assert!(ran.err.contains("there is no data directory"), "{}", ran.err);
    assert!(!target.data().exists(), "nothing is made for a mistyped path");
    bare(args([&"migrate", &"--from", &source.data(), &"--to", &source.data()])).fails(2);
    bare(["migrate", "--server", "http://127.0.0.1:9", "--from", "a", "--to", "b"]).fails(2);
    let data = target.data().display().to_string();
    let file = target.write("there.toml", format!("[store]\nbites = \"heed:{data}/b\"\n").as_bytes(), 0);
    bare(args([&"migrate", &"--from", &source.data(), &"--to", &file])).fails(2);
    let stores = format!(
        "[store]\nbites = \"heed:{data}/b\"\nblobs = \"heed:{data}/b\"\ndirectory = \"sqlite:{data}/d.db\"\nsearch = \"sqlite:{data}/s.db\"\n"
    );
    let file = target.write("there.toml", stores.as_bytes(), 0);
    let ran = bare(args([&"migrate", &"--from", &source.data(), &"--to", &file])).ok();
    assert!(ran.err.contains("keys of tokens are files"), "{}", ran.err);
    assert!(ran.text().contains("both sides are the same"), "{}", ran.text());
}
