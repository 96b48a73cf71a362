//! Several processes on one LMDB folder, and processes that die: nothing that was answered is lost.
//!
//! A test starts its own binary again as a child, which finds its work in `BEEP_CHILD` (`role:folder`).
#![cfg(feature = "store-heed")]

use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::id::{ConversationId, Identity};
use beep_core::store::{BiteStore, BiteStoreExt, NewBite, Start};
use beep_storage::heed::{HeedBites, HeedEnv};
use bytes::Bytes;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn bites(dir: &Path) -> HeedBites {
    HeedBites::new(&HeedEnv::open(dir).unwrap())
}

/// A bite whose bytes follow from its start.
fn said(conversation: &str, start: Start, seed: u64) -> NewBite {
    let body: Bytes = (0..seed % 9_000).map(|i| (i * 31 + seed) as u8).collect::<Vec<_>>().into();
    NewBite {
        label: Label::Bite,
        conversation: conversation.parse().unwrap(),
        start,
        author: Identity { user: "u-1".parse().unwrap(), device: "phone".parse().unwrap() },
        media_type: "audio/ogg".into(),
        duration_ms: None,
        sha256: Digest::of(&body),
        body,
        received: 1,
        idempotency: None,
    }
}

fn conversation(name: &str) -> ConversationId {
    name.parse().unwrap()
}

/// This test again, in a process of its own, with this role.
fn child(test: &str, role: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("heed_processes::{test}"), "--nocapture"])
        .env("BEEP_CHILD", format!("{role}:{}", dir.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn role() -> Option<(String, PathBuf)> {
    let value = std::env::var("BEEP_CHILD").ok()?;
    let (role, dir) = value.split_once(':')?;
    Some((role.to_owned(), dir.into()))
}

async fn assert_dense(store: &HeedBites) -> u64 {
    let mut expected = 0;
    let mut each = |entry: beep_core::event::LogEntry| {
        expected += 1;
        assert_eq!(entry.seq, expected);
        std::ops::ControlFlow::Continue(())
    };
    store.replay(0, &mut each).await.unwrap();
    assert_eq!(store.tail().await.unwrap(), expected);
    expected
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = bites(dir.path());
        for n in 0..50 {
            store.put(said("c-1", Start::At(n), n * 150)).await.unwrap();
        }
        store.park(&BiteKey::new(Label::Bite, conversation("c-1"), 3), "why", 9).await.unwrap();
        store.delete(&conversation("c-1"), 4, 9).await.unwrap();
        store.advance("index", 17).await.unwrap();
    }
    let store = bites(dir.path());
    assert_eq!(assert_dense(&store).await, 52);
    assert_eq!(store.cursor("index").await.unwrap(), 17, "closing writes the cursors");
    assert_eq!(store.parked(9).await.unwrap().len(), 1);
    for n in 0..50 {
        let bite = store.get(&BiteKey::new(Label::Bite, conversation("c-1"), n)).await.unwrap();
        assert_eq!(bite.map(|b| b.body), (n != 4).then(|| said("c-1", Start::At(n), n * 150).body));
    }
    assert_eq!(store.put(said("c-1", Start::At(99), 1)).await.unwrap().entry.unwrap().seq, 53);
}

#[tokio::test]
async fn a_folder_opened_twice_is_one_environment() {
    let dir = tempfile::tempdir().unwrap();
    let one = bites(dir.path());
    let other = bites(&dir.path().join("."));
    one.put(said("c-1", Start::At(1), 10)).await.unwrap();
    one.advance("index", 1).await.unwrap();
    assert_eq!((other.tail().await.unwrap(), other.cursor("index").await.unwrap()), (1, 1));
    drop(one);
    other.put(said("c-1", Start::At(2), 10)).await.unwrap();
}

#[test]
fn opening_and_closing_from_many_threads_at_once_works() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let dir = dir.path();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for i in 0..20 {
                    runtime.block_on(bites(dir).put(said("c-1", Start::At(n * 100 + i), 10))).unwrap();
                }
            });
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(assert_dense(&bites(dir.path()))), 160);
}

#[tokio::test]
async fn two_processes_write_at_once_and_the_log_stays_dense() {
    const EACH: u64 = 300;
    if let Some((name, dir)) = role() {
        let store = bites(&dir);
        let mine: Vec<_> = (0..8)
            .map(|task| {
                let (store, name) = (store.clone(), name.clone());
                tokio::spawn(async move {
                    for n in (task..EACH).step_by(8) {
                        store.put(said(&name, Start::At(n), n * 10)).await.unwrap();
                        store.put(said("c-both", Start::Next(1_000), n)).await.unwrap();
                    }
                })
            })
            .collect();
        for task in mine {
            task.await.unwrap();
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let here = bites(dir.path());
    let test = "two_processes_write_at_once_and_the_log_stays_dense";
    let mut children = ["c-a", "c-b"].map(|name| child(test, name, dir.path()));
    let mut seen = 0;
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let tail = assert_dense_from(&here, seen).await;
        assert!(tail >= seen, "the log never shrinks");
        seen = tail;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(assert_dense(&here).await, 4 * EACH);
    for name in ["c-a", "c-b"] {
        let starts = here.starts(Label::Bite, &conversation(name)).await.unwrap();
        assert!(starts.into_iter().eq(0..EACH));
    }
    let both = here.starts(Label::Bite, &conversation("c-both")).await.unwrap();
    assert!(both.into_iter().eq(1_000..1_000 + 2 * EACH), "`Next` leaves no hole and takes no place twice");
}

async fn assert_dense_from(store: &HeedBites, after: u64) -> u64 {
    let mut last = after;
    for entry in store.log(after, 200).await.unwrap() {
        last += 1;
        assert_eq!(entry.seq, last);
    }
    last
}

#[tokio::test]
async fn a_hole_that_another_process_made_is_found() {
    if let Some((_, dir)) = role() {
        bites(&dir).delete(&conversation("c-1"), 12, 1).await.unwrap().unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = bites(dir.path());
    for n in 10..20 {
        assert_eq!(store.put(said("c-1", Start::Next(10), n)).await.unwrap().key.start, n);
    }
    let mut other = child("a_hole_that_another_process_made_is_found", "delete", dir.path());
    assert!(other.wait().unwrap().success());
    assert_eq!(store.put(said("c-1", Start::Next(10), 1)).await.unwrap().key.start, 12);
}

/// R1. `BEEP_TORTURE_CYCLES` says how often (20).
#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    if let Some((cycle, dir)) = role() {
        return write_until_killed(&dir, cycle.parse().unwrap()).await;
    }
    let cycles: u64 = std::env::var("BEEP_TORTURE_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let dir = tempfile::tempdir().unwrap();
    let mut answered = HashSet::new();
    let mut keep_open = None;
    for cycle in 0..cycles {
        let mut child = child("what_was_answered_survives_kill_9", &cycle.to_string(), dir.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            let starts = lines.map_while(Result::ok).filter_map(|l| l.strip_prefix("put ")?.parse().ok());
            starts.collect::<Vec<u64>>()
        });
        // Not before it writes, and then at any moment.
        std::thread::sleep(Duration::from_millis(150 + cycle * 37 % 400));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        answered.extend(reader.join().unwrap());

        // Every other time the parent has it open while the child dies, holding the write lock or not.
        let store = keep_open.take().unwrap_or_else(|| bites(dir.path()));
        for start in &answered {
            let key = BiteKey::new(Label::Bite, conversation("c-1"), *start);
            let bite =
                store.get(&key).await.unwrap().unwrap_or_else(|| panic!("cycle {cycle}: {start} is lost"));
            assert!(bite.body == said("c-1", Start::At(*start), *start).body);
        }
        // Takes over the lock of the dead, and with it a commit that was on disk but not yet announced to others.
        store.put(said("c-parent", Start::Next(0), 5)).await.unwrap();
        let count = assert_dense(&store).await;
        assert!(count > answered.len() as u64);
        let page = store.verify(None, usize::MAX).await.unwrap();
        assert_eq!(page.corrupt, []);
        assert_eq!(page.checked, count, "records and entries are one commit");
        keep_open = (cycle % 2 == 0).then_some(store);
    }
    println!("goal=kill-9-heed pass={} fail=0 cycles={cycles}", answered.len());
    assert!(answered.len() as u64 > cycles, "the children wrote something");
}

async fn write_until_killed(dir: &Path, cycle: u64) {
    let store = bites(dir);
    let writers = (0..8).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let start = cycle * 10_000_000 + task * 1_000_000 + n;
                store.put(said("c-1", Start::At(start), start)).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "put {start}").unwrap();
                out.flush().unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

/// A process that dies while it reads must not keep the pages that it read from being used again: the file stays small.
#[tokio::test]
async fn readers_that_died_do_not_make_the_file_grow() {
    if let Some((_, dir)) = role() {
        return read_for_ever(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let store = bites(dir.path());
    let size = || std::fs::metadata(dir.path().join("data.mdb")).unwrap().len();
    let room = conversation("c-1");
    let turn = async |n: u64| {
        store.put(said("c-1", Start::At(n), 1 << 20)).await.unwrap();
        store.delete(&room, n, 1).await.unwrap();
    };
    for n in 0..10 {
        turn(n).await;
    }
    let mut other = child("readers_that_died_do_not_make_the_file_grow", "read", dir.path());
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("reading")));
    other.kill().unwrap();
    other.wait().unwrap();

    let begun = std::time::Instant::now();
    let (mut n, mut before, mut steady) = (10, size(), 0);
    while steady < 50 {
        turn(n).await;
        n += 1;
        steady = if size() == before { steady + 1 } else { 0 };
        before = size();
        assert!(begun.elapsed() < Duration::from_secs(40), "after {n} turns it still grows: {before} bytes");
    }
}

#[allow(unsafe_code)]
fn read_for_ever(dir: &Path) {
    // SAFETY: this process opens it once and only through LMDB.
    let env = unsafe { heed::EnvOpenOptions::new().map_size(1 << 30).max_dbs(16).open(dir).unwrap() };
    let txn = env.read_txn().unwrap();
    println!("\nreading");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    drop(txn);
}

/// The write lock is held by a process that does nothing for a second: reads go on, writes wait and then happen.
#[tokio::test]
async fn reads_go_on_while_another_process_holds_the_write_lock() {
    if let Some((_, dir)) = role() {
        return hold_the_lock(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let store = bites(dir.path());
    for n in 0..20 {
        store.put(said("c-1", Start::At(n), n * 400)).await.unwrap();
    }
    let mut other = child("reads_go_on_while_another_process_holds_the_write_lock", "hold", dir.path());
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("locked")));
    let writing = {
        let store = store.clone();
        tokio::spawn(async move { store.put(said("c-1", Start::At(99), 1)).await })
    };
    for n in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let key = BiteKey::new(Label::Bite, conversation("c-1"), n);
        assert_eq!(store.get(&key).await.unwrap().unwrap().meta.bytes, n * 400);
        assert_eq!(store.tail().await.unwrap(), 20);
        store.advance("index", n).await.unwrap();
        assert_eq!(store.cursor("index").await.unwrap(), n);
    }
    assert!(!writing.is_finished(), "the write waits for the lock");
    drop(other.stdin.take()); // lets go
    assert_eq!(writing.await.unwrap().unwrap().entry.unwrap().seq, 21);
    assert!(other.wait().unwrap().success());
}

#[allow(unsafe_code)]
fn hold_the_lock(dir: &Path) {
    // SAFETY: this process opens it once and only through LMDB.
    let env = unsafe { heed::EnvOpenOptions::new().map_size(1 << 30).max_dbs(16).open(dir).unwrap() };
    let txn = env.write_txn().unwrap();
    println!("\nlocked");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    drop(txn);
}
