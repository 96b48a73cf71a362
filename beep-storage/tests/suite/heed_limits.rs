//! LMDB at its limits: full, crowded, one millisecond for everything.
#![cfg(feature = "store-heed")]

use beep_core::ErrorKind;
use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::id::Identity;
use beep_core::store::{BiteStore, BiteStoreExt, BlobStore, NewBite, NewBlob, Start};
use beep_storage::heed::{HeedBites, HeedBlobs, HeedEnv, HeedOptions};
use bytes::Bytes;
use std::path::Path;
use std::time::{Duration, Instant};

fn bites(dir: &Path, max_bytes: u64) -> HeedBites {
    HeedBites::new(&HeedEnv::open_with(dir, HeedOptions { max_bytes, ..HeedOptions::default() }).unwrap())
}

fn said(start: Start, size: usize) -> NewBite {
    let body = Bytes::from(vec![7; size]);
    NewBite {
        label: Label::Bite,
        conversation: "c-1".parse().unwrap(),
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

fn key(start: u64) -> BiteKey {
    BiteKey::new(Label::Bite, "c-1".parse().unwrap(), start)
}

async fn fill(store: &HeedBites, size: usize) -> u64 {
    for n in 0.. {
        if let Err(error) = store.put(said(Start::Next(0), size)).await {
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            assert!(!error.is_temporary() && error.message().contains("max_bytes"), "{error}");
            return n;
        }
    }
    unreachable!()
}

async fn assert_all_there(store: &HeedBites, expected: usize) {
    let starts = store.starts(Label::Bite, &"c-1".parse().unwrap()).await.unwrap();
    assert_eq!(starts.len(), expected);
    for start in starts {
        assert!(store.get(&key(start)).await.unwrap().is_some());
    }
}

/// R5.
#[tokio::test]
async fn a_full_map_refuses_and_loses_nothing_and_deletes_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = bites(dir.path(), 4 << 20);
    let large = fill(&store, 64 << 10).await;
    let small = fill(&store, 100).await;
    assert!(large > 20, "{large}");
    assert_all_there(&store, (large + small) as usize).await;
    assert_eq!(store.ready().await.unwrap_err().kind(), ErrorKind::Full);

    let tail = store.tail().await.unwrap();
    for start in 0..large / 2 {
        let entry = store.delete(&"c-1".parse().unwrap(), start, 2).await.unwrap();
        assert!(entry.is_some(), "a full store can be emptied");
    }
    store.ready().await.unwrap();
    let again = fill(&store, 64 << 10).await;
    // Not all of it: what is left lies in pieces too small for bites of this length.
    assert!(again * 2 >= large / 2, "the room of {} deleted bites took {again} new ones", large / 2);
    assert_eq!(store.tail().await.unwrap(), tail + large / 2 + again);
    assert_all_there(&store, (large - large / 2 + small + again) as usize).await;
}

#[tokio::test]
async fn a_larger_quota_after_reopening_takes_more() {
    let dir = tempfile::tempdir().unwrap();
    let first = fill(&bites(dir.path(), 2 << 20), 32 << 10).await;
    let store = bites(dir.path(), 4 << 20);
    let more = fill(&store, 32 << 10).await;
    assert!(more > first / 2, "{first} and {more}");
    assert_all_there(&store, (first + more) as usize).await;
    drop(store);
    // Asked for less than there is, it opens, reads and refuses.
    let store = bites(dir.path(), 1 << 20);
    assert_all_there(&store, (first + more) as usize).await;
    assert_eq!(store.put(said(Start::Next(0), 1 << 20)).await.unwrap_err().kind(), ErrorKind::Full);
}

/// "Unlimited" in numbers is what the system refuses or grants, never a tiny store.
#[tokio::test]
async fn an_absurd_quota_is_refused_or_holds() {
    let dir = tempfile::tempdir().unwrap();
    let options = HeedOptions { max_bytes: u64::MAX, ..HeedOptions::default() };
    match HeedEnv::open_with(dir.path(), options) {
        Ok(env) => {
            let store = HeedBites::new(&env);
            for n in 0..40 {
                store.put(said(Start::At(n), 64 << 10)).await.unwrap();
            }
        }
        Err(error) => assert!(error.to_string().contains("folder"), "{error}"),
    }
}

#[tokio::test]
async fn one_huge_bite_does_not_fail_the_small_ones_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = bites(dir.path(), 16 << 20);
    let put = |start: u64, size| {
        let store = store.clone();
        tokio::spawn(async move { store.put(said(Start::At(start), size)).await })
    };
    for round in 0..5 {
        let tasks: Vec<_> =
            (0..60).map(|n| put(round * 100 + n, if n == 30 { 17 << 20 } else { 1_000 })).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            match task.await.unwrap() {
                Ok(done) => assert!(n != 30 && done.entry.is_some()),
                Err(error) => assert_eq!((n, error.kind()), (30, ErrorKind::Full), "{error}"),
            }
        }
    }
    assert_all_there(&store, 59 * 5).await;
    store.ready().await.unwrap();
}

#[tokio::test]
async fn a_full_map_refuses_blobs_too() {
    let dir = tempfile::tempdir().unwrap();
    let options = HeedOptions { max_bytes: 2 << 20, ..HeedOptions::default() };
    let store = HeedBlobs::new(&HeedEnv::open_with(dir.path(), options).unwrap());
    let blob = |n: usize| NewBlob {
        name: format!("{n}.png"),
        owner: "u-1".parse().unwrap(),
        media_type: "image/png".into(),
        received: 1,
        body: vec![n as u8; 100_000].into(),
    };
    let error = loop {
        let n = store.owned_by(&"u-1".parse().unwrap()).await.unwrap().len();
        if let Err(error) = store.put(blob(n)).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full);
    for name in store.owned_by(&"u-1".parse().unwrap()).await.unwrap() {
        assert!(store.get(&name).await.unwrap().is_some());
        assert!(store.delete(&name).await.unwrap());
    }
    assert!(store.put(blob(0)).await.unwrap());
}

/// D4, at its worst.
#[tokio::test]
async fn ten_thousand_bites_of_the_same_millisecond_are_all_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = bites(dir.path(), 1 << 30);
    let mut took = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let store = store.clone();
                tokio::spawn(async move {
                    for _ in (task..2_000).step_by(64) {
                        store.put(said(Start::Next(500), 20)).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        took.push(begun.elapsed());
    }
    let starts = store.starts(Label::Bite, &"c-1".parse().unwrap()).await.unwrap();
    assert!(starts.into_iter().eq(500..10_500));
    // Looking at every taken place would make the last 2,000 nine times as dear as the first.
    let slack = Duration::from_millis(400);
    assert!(took[4] < took[0] * 4 + slack, "{took:?}");
}

#[tokio::test]
async fn too_many_waiting_writes_are_refused_before_they_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let options = HeedOptions { max_waiting: 10, max_waiting_bytes: 1 << 20, ..HeedOptions::default() };
    let store = HeedBites::new(&HeedEnv::open_with(dir.path(), options).unwrap());
    for size in [10, 400 << 10] {
        let from = store.tail().await.unwrap();
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.put(said(Start::Next(0), size)).await })
            })
            .collect();
        let (mut stored, mut refused) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => stored += 1,
                Err(error) => {
                    assert!(error.kind() == ErrorKind::Unavailable && error.is_temporary(), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(stored > 0 && refused > 0, "{stored} stored, {refused} refused");
        assert_eq!(store.tail().await.unwrap() - from, stored, "what was refused was not stored");
    }
    store.put(said(Start::Next(0), 2 << 20)).await.expect("one bite may exceed what may wait");
}

#[tokio::test]
async fn a_write_whose_caller_went_away_is_finished_before_closing() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = bites(dir.path(), 1 << 30);
        let mut put = Box::pin(store.put(said(Start::At(1), 50)));
        let once = std::future::poll_fn(|cx| std::task::Poll::Ready(put.as_mut().poll(cx)));
        drop(once.await);
    }
    assert_eq!(bites(dir.path(), 1 << 30).tail().await.unwrap(), 1);
}

#[tokio::test]
async fn a_cursor_is_on_disk_within_about_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let env = HeedEnv::open(dir.path()).unwrap();
    HeedBites::new(&env).advance("index", 5).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    env.copy_to(copy.path().join("data.mdb")).unwrap();
    let copied = bites(copy.path(), 1 << 30);
    assert_eq!(copied.cursor("index").await.unwrap(), 5);
}

/// Cursors that move all the time, with nothing else to write, cost a sync about once a second, not one after the other.
#[tokio::test]
async fn cursors_that_keep_moving_are_not_synced_back_to_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = bites(dir.path(), 1 << 30);
    // Each commit rewrites one of the two pages at the beginning, which tell where everything else is.
    let first_pages = || {
        let mut pages = [0; 8_192];
        let mut file = std::fs::File::open(dir.path().join("data.mdb")).unwrap();
        std::io::Read::read_exact(&mut file, &mut pages).unwrap();
        pages
    };
    let (begun, mut commits, mut before, mut moved) = (Instant::now(), 0, first_pages(), 0);
    while begun.elapsed() < Duration::from_millis(3_500) {
        moved += 1;
        store.advance("transcribe", moved).await.unwrap();
        store.advance("index", moved).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = first_pages();
        if now != before {
            (commits, before) = (commits + 1, now);
        }
    }
    assert!(moved > 100, "they moved {moved} times only");
    assert!((1..=4).contains(&commits), "{commits} commits in {:?}", begun.elapsed());
    assert_eq!(
        (store.cursor("transcribe").await.unwrap(), store.cursor("index").await.unwrap()),
        (moved, moved)
    );
}

#[tokio::test]
async fn a_copy_made_while_writing_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let env = HeedEnv::open(dir.path()).unwrap();
    let store = HeedBites::new(&env);
    for n in 0..100 {
        store.put(said(Start::At(n), 5_000)).await.unwrap();
    }
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 100..400 {
                store.put(said(Start::At(n), 5_000)).await.unwrap();
            }
        })
    };
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("data.mdb");
    tokio::task::spawn_blocking(move || env.copy_to(file)).await.unwrap().unwrap();
    writing.await.unwrap();
    let copied = bites(copy.path(), 1 << 40);
    let tail = copied.tail().await.unwrap();
    assert!(tail >= 100, "everything answered before the copy began is in it");
    assert_all_there(&copied, tail as usize).await;
}
