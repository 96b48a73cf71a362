//! Ingest that is killed, interrupted, or done by two at once: nothing doubled, nothing missing.

use crate::support::{Installation, args, ended, wav};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

const FILES: u32 = 300;

/// Some times are shared by many files, and some files have the same bytes.
fn files(beep: &Installation) {
    for n in 0..FILES {
        beep.write(&format!("in/{n:03}.wav"), &wav(n % 290), 1_000 + u64::from(n / 7) * 3);
    }
}

fn ingest(beep: &Installation, crew: &str) -> Vec<std::ffi::OsString> {
    args([&"--json", &"ingest", &beep.file("in"), &"-c", &crew])
}

/// How often each recording stands in the conversation, by digest.
fn recordings(beep: &Installation, crew: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in beep.run(["scan", crew, "--json"]).ok().json() {
        *counts.entry(record["sha256"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn complete(beep: &Installation, crew: &str) {
    let counts = recordings(beep, crew);
    assert_eq!(counts.values().sum::<usize>(), FILES as usize);
    assert_eq!(counts.len(), 290);
    assert!(counts.values().all(|n| *n <= 2), "{counts:?}");
}

#[test]
fn killed_in_the_middle() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    files(&beep);
    // Each run is killed after it has acknowledged some more.
    let mut acknowledged = 0;
    for kill_after in [1, 40, 90] {
        let mut child = beep.spawn(ingest(&beep, &crew));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stored = 0;
        while stored < kill_after {
            let line = lines.next().expect("it ended before it could be killed").unwrap();
            stored += usize::from(line.contains("\"stored\""));
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        acknowledged += stored;
        let kept = recordings(&beep, &crew).values().sum::<usize>();
        assert!(kept >= acknowledged, "{acknowledged} acknowledged, {kept} kept");
        assert!(kept < FILES as usize, "it was too late to kill it");
        acknowledged = kept;
    }
    let last = beep.run(ingest(&beep, &crew)).ok().json();
    let summary = last.last().unwrap();
    assert_eq!(summary["already_there"], acknowledged);
    assert_eq!(summary["stored"], FILES as usize - acknowledged);
    complete(&beep, &crew);
    let again = beep.run(ingest(&beep, &crew)).ok().json();
    assert_eq!(again.last().unwrap()["already_there"], FILES);
    beep.run(["verify"]).ok();
}

#[test]
fn two_at_once() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    files(&beep);
    let both = [0, 1].map(|_| beep.spawn(ingest(&beep, &crew)));
    let stored = both.map(|child| {
        let ran = ended(child.wait_with_output().unwrap()).ok();
        ran.json().last().unwrap()["stored"].as_u64().unwrap()
    });
    assert_eq!(stored.iter().sum::<u64>(), u64::from(FILES), "{stored:?}");
    complete(&beep, &crew);
}

/// Waits until the process has a handler for this signal: until then the signal would just end it.
fn wait_until_caught(pid: u32, signal: u32) {
    let begun = Instant::now();
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        if u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal - 1) & 1 == 1 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never listened for signal {signal}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn interrupted() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    let mut child = beep.spawn(["ingest", "-", "-c", &crew, "--start", "5"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(&wav(1)[..1_000]).unwrap();
    wait_until_caught(child.id(), 2); // SIGINT
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{err}");
    assert!(err.contains("interrupted"), "{err}");
    drop(input);
    assert!(beep.scan(&crew).is_empty());
    beep.feed(["ingest", "-", "-c", &crew, "--start", "5"], &wav(1)).ok();
    assert_eq!(beep.scan(&crew), [5]);
}
