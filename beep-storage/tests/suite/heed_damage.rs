//! R4: a damaged LMDB file gives errors or what was stored, never other bytes.
//!
//! LMDB has no checksums of its pages; Beep's own cover every value and bind it to its key. What reads the damaged
//! copies is a child process, so that a crash is counted against the case that caused it.
#![cfg(all(unix, feature = "store-heed"))]

use beep_core::ErrorKind;
use beep_core::bite::{BiteKey, Digest, Label, ScanRange};
use beep_core::event::Event;
use beep_core::id::Identity;
use beep_core::store::{BiteStore, NewBite, Start};
use beep_storage::heed::{HeedBites, HeedEnv, HeedOptions};
use bytes::Bytes;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

const BITES: u64 = 150;
const PAGE: usize = 4_096;
const ABRT: i32 = 6;
const SEGV: i32 = 11;

fn bites(dir: &Path) -> beep_core::Result<HeedBites> {
    let options = HeedOptions { max_bytes: 1 << 26, ..HeedOptions::default() };
    Ok(HeedBites::new(&HeedEnv::open_with(dir, options)?))
}

fn said(start: u64) -> NewBite {
    static ALL: LazyLock<Vec<NewBite>> = LazyLock::new(|| (0..BITES + 2).map(make).collect());
    ALL[start as usize].clone()
}

/// Short, middling and long ones: inside a page, on one, on several.
fn make(start: u64) -> NewBite {
    let size = [60, 900, 4_000, 9_000][start as usize % 4];
    let body: Bytes = (0..size).map(|i| (i * 7 + start) as u8).collect::<Vec<_>>().into();
    NewBite {
        label: Label::Bite,
        conversation: "c-1".parse().unwrap(),
        start: Start::At(start),
        author: Identity { user: "u-1".parse().unwrap(), device: "phone".parse().unwrap() },
        media_type: "audio/ogg".into(),
        duration_ms: Some(start),
        sha256: Digest::of(&body),
        body,
        received: start,
        idempotency: None,
    }
}

/// Every read either errs or tells the truth. Answers how many errors there were.
async fn read_everything(dir: &Path) -> beep_core::Result<u32> {
    let store = bites(dir)?;
    let mut errors = 0;
    for start in 0..BITES {
        let (new, key) = (said(start), BiteKey::new(Label::Bite, "c-1".parse().unwrap(), start));
        match store.get(&key).await {
            Ok(Some(bite)) => {
                assert!(bite.body == new.body, "{key}: other bytes");
                let told =
                    (bite.meta.author, bite.meta.media_type, bite.meta.duration_ms, bite.meta.received);
                assert_eq!(
                    told,
                    (new.author, new.media_type, new.duration_ms, new.received),
                    "{key}: other facts"
                );
            }
            Ok(None) => errors += 1,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Internal), "{error:?}");
                errors += 1;
            }
        }
    }
    match store.log(0, 10_000).await {
        Ok(log) => {
            for (n, entry) in (0..BITES).zip(log) {
                let key = BiteKey::new(Label::Bite, "c-1".parse().unwrap(), n);
                assert_eq!(entry.event, Event::Stored { key, author: said(n).author });
            }
        }
        Err(_) => errors += 1,
    }
    match store.metas(Label::Bite, &"c-1".parse().unwrap(), ScanRange::all()).await {
        Ok(metas) => {
            assert!(metas.iter().all(|(start, meta)| *start < BITES && meta.sha256 == said(*start).sha256))
        }
        Err(_) => errors += 1,
    }
    errors += u32::from(store.scan(Label::Bite, &"c-1".parse().unwrap(), ScanRange::all()).await.is_err());
    match store.verify(None, 10_000).await {
        Ok(page) => errors += page.corrupt.len() as u32,
        Err(_) => errors += 1,
    }
    errors += u32::from(store.parked(100).await.is_err());
    errors += u32::from(store.cursor("index").await.is_err());
    // A write may fail, but must answer.
    println!("\nwriting");
    let put = store.put(said(BITES + 1)).await;
    Ok(errors + u32::from(put.is_err()))
}

/// Which byte of the file each case changes, and how: one in every block in turn, the structure of pages more often.
fn damage(file: &mut [u8], case: usize) -> String {
    let mut dice = case as u64;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    let page = (case * 7_919 / 3) % (file.len() / PAGE);
    let offset = if case.is_multiple_of(2) { roll(64) } else { roll(PAGE) };
    let flip = 1 << roll(8);
    file[page * PAGE + offset] ^= flip;
    format!("case {case}: page {page}, byte {offset} ^ {flip:#x}")
}

async fn work_through(dir: &Path) {
    let whole = fs::read(dir.join("whole")).unwrap();
    for line in std::io::stdin().lines() {
        let case: usize = line.unwrap().parse().unwrap();
        let copy = dir.join(format!("copy-{case}"));
        fs::create_dir(&copy).unwrap();
        let mut file = whole.clone();
        let what = if case < 1_000_000 {
            damage(&mut file, case)
        } else {
            file.truncate(whole.len() * (case - 1_000_000) / 20); // cut short
            format!("cut to {}", file.len())
        };
        fs::write(copy.join("data.mdb"), file).unwrap();
        println!("\nbegin {case} {what}");
        let outcome = match read_everything(&copy).await {
            Ok(0) => "unharmed".to_owned(),
            Ok(errors) => format!("harmed {errors}"),
            Err(error) => format!("refused {error}"),
        };
        println!("\nend {case} {outcome}");
        fs::remove_dir_all(&copy).unwrap();
    }
}

/// `BEEP_DAMAGE_CASES` says how many (200).
#[tokio::test]
async fn damage_is_never_returned_as_what_was_said() {
    if let Ok(dir) = std::env::var("BEEP_CHILD") {
        return work_through(dir.as_ref()).await;
    }
    let cases: usize = std::env::var("BEEP_DAMAGE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    // In memory where there is such a folder: what is damaged here is not the disk.
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
    {
        let store = bites(dir.path()).unwrap();
        for start in 0..BITES {
            store.put(said(start)).await.unwrap();
        }
        store.advance("index", 5).await.unwrap();
        store.park(&BiteKey::new(Label::Bite, "c-1".parse().unwrap(), 7), "why", 1).await.unwrap();
        store.put(NewBite { label: Label::Transcription, ..said(7) }).await.unwrap();
    }
    fs::rename(dir.path().join("data.mdb"), dir.path().join("whole")).unwrap();

    let mut todo: Vec<usize> = (0..cases).chain((0..20).map(|n| 1_000_000 + n)).rev().collect();
    let (mut harmed, mut died, mut asserted, mut wrong) = (0, Vec::new(), Vec::new(), Vec::new());
    while !todo.is_empty() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "heed_damage::damage_is_never_returned_as_what_was_said", "--nocapture"])
            .env("BEEP_CHILD", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let list: String = todo.iter().rev().map(|case| format!("{case}\n")).collect();
        let feeding = std::thread::spawn(move || drop(stdin.write_all(list.as_bytes())));
        let mut at = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            if line.starts_with("begin ") {
                at = line;
                todo.pop();
            } else if line == "writing" {
                at += ", in the write";
            } else if let Some(outcome) = line.strip_prefix("end ") {
                harmed += usize::from(!outcome.ends_with("unharmed"));
            }
        }
        feeding.join().unwrap();
        let ended = child.wait_with_output().unwrap();
        if ended.status.success() {
            continue;
        }
        // LMDB trusts the flags of a node: one that is damaged to say that it has duplicates, in a database that has
        // none, is a null pointer in `mdb_xcursor_init1` (SIGSEGV). Only a look at every node beforehand would tell.
        // In a build with debug assertions its own end it, too. A panic is ours, and so is what lies behind the end of
        // the file (SIGBUS).
        match ended.status.signal() {
            Some(SEGV) => died.push(format!("{at}: {}", ended.status)),
            Some(ABRT) if cfg!(debug_assertions) => asserted.push(at),
            _ => wrong.push(format!("{at}: {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr))),
        }
    }
    println!(
        "goal=damage-heed pass={} fail={} harmed={harmed} died={} asserted={}",
        cases + 20 - wrong.len(),
        wrong.len(),
        died.len(),
        asserted.len()
    );
    assert!(wrong.is_empty(), "wrong bytes or a panic in {} cases: {wrong:#?}", wrong.len());
    // Measured: 12 of 2,500.
    assert!(died.len() <= cases / 100, "LMDB died in {} cases: {died:#?}", died.len());
    // The cut files are zeros where they should go on, which is no leaf.
    assert!(asserted.len() <= 20 + cases / 100, "LMDB gave up in {} cases: {asserted:#?}", asserted.len());
    assert!(harmed > cases / 10, "only {harmed} cases did any harm: the test looks in the wrong place");
}
