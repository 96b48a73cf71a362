//! An export that is killed in the middle: nothing has its name, and it can be run again.

use crate::support::{Installation, args, wav};
use beep_core::bite::{Digest, Label};
use beep_core::id::Identity;
use beep_core::store::{NewBite, Start};
use futures_util::future::join_all;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const BITES: u64 = 400;
/// Enough that an export takes much longer than it takes to see that it has begun.
const BYTES: usize = 100_000;

fn body(start: u64) -> Vec<u8> {
    let mut body = wav(start as u32);
    body.resize(BYTES, start as u8);
    body
}

/// Alice, who has said a lot.
fn talkative() -> (Installation, String) {
    let beep = Installation::new();
    let (crew, alice) = beep.conversation();
    beep.inside(async |stores| {
        let author = Identity { user: alice.parse().unwrap(), device: "phone".parse().unwrap() };
        let puts = (0..BITES).map(|start| {
            let body = body(start);
            stores.bites.put(NewBite {
                label: Label::Bite,
                conversation: crew.parse().unwrap(),
                start: Start::At(start),
                author: author.clone(),
                media_type: "audio/wav".into(),
                duration_ms: Some(1),
                sha256: Digest::of(&body),
                body: body.into(),
                received: start,
                idempotency: None,
            })
        });
        join_all(puts).await.into_iter().for_each(|put| drop(put.unwrap()));
    });
    (beep, alice)
}

/// What is half-written beside the place of an export: its name, and whether anything is in it yet.
fn begun(folder: &Path) -> Vec<(PathBuf, bool)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let half =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(".beep-export-"));
    half.map(|path| {
        let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        let filled = if path.is_dir() { path.join("bites").is_dir() } else { size(&path) > BYTES as u64 };
        (path, filled)
    })
    .collect()
}

/// Every recording is in it, whole, with its line in the manifest.
fn check(read: impl Fn(&str) -> Vec<u8>) {
    let manifest = String::from_utf8(read("manifest.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, BITES);
    for (line, start) in lines.iter().zip(0..) {
        assert_eq!(line["start"], start);
        assert!(read(line["file"].as_str().unwrap()) == body(start), "{line}");
    }
}

#[test]
fn a_killed_export_has_no_name_and_can_be_run_again() {
    let (beep, alice) = talkative();
    let place = beep.file("exports");
    fs::create_dir(&place).unwrap();
    for name in ["alice.zip", "alice"] {
        let target = place.join(name);
        let export = args([&"export", &alice, &"-o", &target]);
        let mut killed = 0;
        for round in 0..4u32 {
            let before = begun(&place).len();
            let mut child = beep.spawn(&export);
            let deadline = Instant::now() + Duration::from_secs(20);
            // Something new is there and holds something; then a little further each round.
            while begun(&place).iter().filter(|(_, filled)| *filled).count() <= before {
                assert!(Instant::now() < deadline, "{name}: it does not begin");
                assert!(child.try_wait().unwrap().is_none(), "{name}: it ended before it was seen to begin");
            }
            std::thread::sleep(Duration::from_millis(5) * round);
            child.kill().unwrap();
            let ended = child.wait_with_output().unwrap();
            if ended.status.code().is_some() {
                // Too late: that is for the next machine to be faster than.
                assert!(ended.status.success(), "{ended:?}");
                if target.is_dir() {
                    fs::remove_dir_all(&target).unwrap()
                } else {
                    fs::remove_file(&target).unwrap()
                }
                continue;
            }
            killed += 1;
            assert!(fs::symlink_metadata(&target).is_err(), "{name}: half an export has its name");
            assert!(ended.stdout.is_empty(), "{name}: it was said to be there");
            // Whoever unpacks what is left is not told that it is whole.
            for (half, _) in begun(&place).into_iter().filter(|(half, _)| half.is_file()) {
                let opened = zip::ZipArchive::new(fs::File::open(&half).unwrap());
                assert!(opened.is_err(), "half an archive opens");
            }
        }
        assert!(killed > 0, "{name}: never killed in time");
        assert_eq!(beep.run(&export).ok().alone(), target.display().to_string());
        if name.ends_with(".zip") {
            let zip =
                std::cell::RefCell::new(zip::ZipArchive::new(fs::File::open(&target).unwrap()).unwrap());
            check(|name| {
                let mut bytes = Vec::new();
                std::io::copy(&mut zip.borrow_mut().by_name(name).unwrap(), &mut bytes).unwrap();
                bytes
            });
        } else {
            check(|name| fs::read(target.join(name)).unwrap());
        }
    }
}
