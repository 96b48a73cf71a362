//! The guarantees of a [`crate::store::BiteStore`] about its log, the workers' cursors and parked bites.

use super::bites::{Store, conversation, key, labelled, put, refused, said, who};
use super::run::together;
use crate::ErrorKind;
use crate::bite::{BiteKey, Label};
use crate::event::{Event, LogEntry, Seq};
use crate::store::{BiteStoreExt, NewBite, Parked};
use std::ops::ControlFlow;

async fn log(store: &Store, after: Seq, limit: usize) -> Vec<LogEntry> {
    store.log(after, limit).await.expect("reading the log succeeds")
}

async fn whole_log(store: &Store) -> Vec<LogEntry> {
    let mut all = Vec::new();
    let mut each = |entry| {
        all.push(entry);
        ControlFlow::Continue(())
    };
    store.replay(0, &mut each).await.expect("reading the log succeeds");
    all
}

fn assert_gap_free(log: &[LogEntry]) {
    for (seq, entry) in (1..).zip(log) {
        assert_eq!(entry.seq, seq, "entries are numbered 1, 2, 3…");
    }
}

/// Puts, parkings and deletions, with their time and author, each as it was answered.
pub async fn every_change_is_logged_once_in_order(store: Store) {
    let mut answered = Vec::new();
    for label in Label::ALL {
        let new = NewBite { received: 100 + label as u64, ..labelled(label, said(1, label.as_str())) };
        answered.push(put(&store, new).await.entry.expect("it is new"));
    }
    answered
        .push(store.park(&key(1), "no speech", 200).await.expect("parking succeeds").expect("it is there"));
    let delete = store.delete(&conversation("c-1"), 1, 300).await;
    answered.push(delete.expect("deleting succeeds").expect("it is there"));

    let author = who("u-1");
    let stored = |label| Event::Stored { key: key(1).labelled(label), author: author.clone() };
    let failed = Event::Failed { key: key(1), author: author.clone(), reason: "no speech".into() };
    let events = [
        (101, stored(Label::Bite)),
        (102, stored(Label::User)),
        (103, stored(Label::Transcription)),
        (200, failed),
        (300, Event::Deleted { key: key(1), author: author.clone() }),
    ];
    let entries: Vec<_> = (1..).zip(events).map(|(seq, (at, event))| LogEntry { seq, at, event }).collect();
    assert_eq!(answered, entries);
    assert_eq!(whole_log(&store).await, entries);
    assert_eq!(store.tail().await.expect("a read succeeds"), 5);
}

/// Whoever reads while others write sees a prefix of the log.
pub async fn concurrent_puts_leave_no_gap(store: Store) {
    let one = |n: u64| {
        let store = store.clone();
        async move {
            let new = NewBite { conversation: conversation(&format!("c-{}", n % 7)), ..said(n, "x") };
            let entry = put(&store, new).await.entry.expect("it is new");
            let seen = whole_log(&store).await;
            assert_gap_free(&seen);
            assert_eq!(seen.get(entry.seq as usize - 1), Some(&entry), "an answered entry is visible");
        }
    };
    together((0..150).map(one)).await;
    let log = whole_log(&store).await;
    assert_gap_free(&log);
    assert_eq!(log.len(), 150);
}

/// Neither a record nor an entry, and the others in the same commit are not harmed.
pub async fn a_refused_put_leaves_no_trace(store: Store) {
    put(&store, said(0, "taken")).await;
    let one = |n: u64| {
        let store = store.clone();
        async move {
            match n % 3 {
                0 => drop(put(&store, said(n + 1, "fine")).await),
                1 => refused(&store, said(0, "not the same"), ErrorKind::Conflict).await,
                _ => refused(&store, labelled(Label::User, said(9_999, "x")), ErrorKind::NotFound).await,
            }
        }
    };
    together((0..60).map(one)).await;
    let log = whole_log(&store).await;
    assert_gap_free(&log);
    assert_eq!(log.len(), 21);
    assert_eq!(store.starts(Label::Bite, &conversation("c-1")).await.expect("a scan succeeds").len(), 21);
    assert_eq!(store.head(&key(9_999).labelled(Label::User)).await.expect("a read succeeds"), None);
}

/// `after` and `limit` mean what they say, also behind the end.
pub async fn the_log_is_read_in_pages(store: Store) {
    for start in 0..10 {
        put(&store, said(start, "x")).await;
    }
    let all = log(&store, 0, 1_000).await;
    assert_eq!(all.len(), 10);
    assert_eq!(log(&store, 0, 3).await, all[..3]);
    assert_eq!(log(&store, 3, 3).await, all[3..6]);
    assert_eq!(log(&store, 8, 300).await, all[8..]);
    assert_eq!(log(&store, 10, 3).await, []);
    assert_eq!(log(&store, Seq::MAX, 3).await, []);
    assert_eq!(log(&store, 0, 0).await, []);
}

/// Record and entry are one commit: neither is visible without the other.
pub async fn an_entry_tells_the_record_that_is_there(store: Store) {
    let write = |n: u64| {
        let store = store.clone();
        async move { drop(put(&store, said(n, &n.to_string())).await) }
    };
    let read = |_| {
        let store = store.clone();
        async move {
            for entry in log(&store, 0, 1_000).await {
                let head = store.head(entry.event.key()).await.expect("a read succeeds");
                assert!(head.is_some(), "the log tells of {}, which is not there", entry.event.key());
            }
        }
    };
    futures_of_two_kinds(&store, write, read).await;
}

async fn futures_of_two_kinds<A, B>(_: &Store, write: impl Fn(u64) -> A, read: impl Fn(u64) -> B)
where
    A: Future<Output = ()> + Send + 'static,
    B: Future<Output = ()> + Send + 'static,
{
    type Boxed = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let both = (0..100).flat_map(|n| [Box::pin(write(n)) as Boxed, Box::pin(read(n)) as Boxed]);
    together(both).await;
}

/// Late or repeated notes of a worker change nothing.
pub async fn a_cursor_starts_at_zero_and_never_goes_back(store: Store) {
    let cursor = async || store.cursor("transcribe").await.expect("a read succeeds");
    assert_eq!(cursor().await, 0);
    for (to, then) in [(5, 5), (3, 5), (5, 5), (9, 9), (0, 9)] {
        store.advance("transcribe", to).await.expect("advancing succeeds");
        assert_eq!(cursor().await, then);
    }
    put(&store, said(1, "a commit in between")).await;
    assert_eq!(cursor().await, 9);
}

/// One group does not move another.
pub async fn cursors_are_apart(store: Store) {
    store.advance("index", 7).await.expect("advancing succeeds");
    store.advance("index-2", 9).await.expect("advancing succeeds");
    for (group, seq) in [("index", 7), ("index-2", 9), ("inde", 0)] {
        assert_eq!(store.cursor(group).await.expect("a read succeeds"), seq, "{group}");
    }
    for bad in ["", &"x".repeat(257)] {
        assert_eq!(store.cursor(bad).await.expect_err("no name").kind(), ErrorKind::Malformed);
        assert_eq!(store.advance(bad, 1).await.expect_err("no name").kind(), ErrorKind::Malformed);
    }
}

/// Reason and time are kept, under the key of the bite whatever label was given; the last reason counts.
pub async fn a_parked_bite_tells_why(store: Store) {
    put(&store, said(1, "x")).await;
    assert_eq!(store.parked_at(&key(1)).await.expect("a read succeeds"), None);
    for (reason, at) in [("engine away", 70), ("no speech", 80)] {
        let entry =
            store.park(&key(1).labelled(Label::Transcription), reason, at).await.expect("parking succeeds");
        let Event::Failed { key: failed, reason: told, .. } = entry.expect("the bite is there").event else {
            panic!("parking is logged as a failure")
        };
        assert_eq!((failed, told.as_str()), (key(1), reason));
        let parked = Parked { key: key(1), reason: reason.into(), at };
        assert_eq!(
            store.parked_at(&key(1).labelled(Label::User)).await.expect("a read succeeds"),
            Some(parked)
        );
    }
    assert_eq!(store.parked(10).await.expect("a read succeeds").len(), 1);
}

/// What was transcribed after all is no longer set aside; a user's note does not end it.
pub async fn a_stored_transcript_ends_parking(store: Store) {
    for start in [1, 2] {
        put(&store, said(start, "x")).await;
        store
            .park(&key(start), "engine away", 7)
            .await
            .expect("parking succeeds")
            .expect("the bite is there");
    }
    put(&store, labelled(Label::User, said(1, "note"))).await;
    assert!(store.parked_at(&key(1)).await.expect("a read succeeds").is_some());
    put(&store, labelled(Label::Transcription, said(1, "{}"))).await;
    assert_eq!(store.parked_at(&key(1)).await.expect("a read succeeds"), None);
    let left: Vec<_> = store.parked(10).await.expect("a read succeeds").into_iter().map(|p| p.key).collect();
    assert_eq!(left, [key(2)]);
}

/// Nothing is logged for it either.
pub async fn a_bite_that_is_gone_cannot_be_parked(store: Store) {
    assert_eq!(store.park(&key(1), "no speech", 7).await.expect("parking nothing succeeds"), None);
    assert_eq!(store.parked(10).await.expect("a read succeeds"), []);
    assert_eq!(store.tail().await.expect("a read succeeds"), 0);
}

/// At most as many as asked for.
pub async fn parked_bites_are_listed_in_key_order(store: Store) {
    let starts = [300u64, 2, 1 << 40, 5];
    for start in starts {
        put(&store, said(start, "x")).await;
        store.park(&key(start), "why", 7).await.expect("parking succeeds").expect("the bite is there");
    }
    let keys = async |limit| -> Vec<BiteKey> {
        store.parked(limit).await.expect("a read succeeds").into_iter().map(|p| p.key).collect()
    };
    assert_eq!(keys(10).await, [key(2), key(5), key(300), key(1 << 40)]);
    assert_eq!(keys(2).await, [key(2), key(5)]);
}

/// And says so, also after a write.
pub async fn a_fresh_store_is_ready(store: Store) {
    store.ready().await.expect("a fresh store takes writes");
    put(&store, said(1, "x")).await;
    store.ready().await.expect("a store that took a write takes more");
}
