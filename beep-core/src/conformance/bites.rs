//! The guarantees of a [`BiteStore`] about records: what is stored, where, and what is refused.
//!
//! ```
//! # #[cfg(any())] // needs a backend
//! mod memory {
//!     async fn fresh() -> (std::sync::Arc<dyn beep_core::store::BiteStore>, ()) {
//!         (std::sync::Arc::new(MyStore::new()), ()) // and what must live as long, such as a temporary folder
//!     }
//!     beep_core::bite_store_suite!(fresh);
//! }
//! ```

use super::run::{text, together};
use crate::ErrorKind;
use crate::bite::{Bite, BiteKey, Digest, Label, MAX_PAGE, ScanPage, ScanRange};
use crate::clock::Millis;
use crate::id::{ConversationId, Identity};
use crate::store::{BiteStore, BiteStoreExt, NewBite, Put, Start};
use bytes::Bytes;
use std::sync::Arc;

/// The store under test.
pub type Store = Arc<dyn BiteStore>;

/// Expands to one `#[tokio::test]` per guarantee of a [`BiteStore`], on a fresh store each.
///
/// Takes the path of an `async fn() -> (Arc<dyn BiteStore>, Guard)`; the guard is kept until the check is over.
#[macro_export]
macro_rules! bite_store_suite {
    ($fresh:path) => {
        $crate::conformance_tests! { $fresh => bites:
            what_was_stored_comes_back_bit_exact
            nothing_comes_back_where_nothing_was_stored
            bodies_of_every_size_come_back
            a_put_never_overwrites
            the_same_put_again_answers_without_an_entry
            a_label_needs_its_bite
            a_label_of_a_bite_is_logged_for_its_author
            labels_stand_beside_each_other
            delete_takes_everything_at_its_place
            what_was_deleted_can_be_said_again
            the_next_start_is_the_first_free_one
            no_free_start_is_a_conflict
            puts_of_the_same_millisecond_all_get_their_own_start
            a_scan_tells_its_neighbours
            a_scan_reaches_both_ends_of_time
            a_scan_stays_in_its_conversation_and_label
            pages_join_without_gap_or_overlap
            metas_are_those_of_the_scan
            a_named_put_happens_once
            a_name_is_kept_for_24_hours
            a_name_outlives_its_record
            the_digest_is_stored_as_given_and_verified
            verify_reads_every_record
            a_read_sees_every_put_that_returned
        }
        $crate::conformance_tests! { $fresh => log:
            every_change_is_logged_once_in_order
            concurrent_puts_leave_no_gap
            a_refused_put_leaves_no_trace
            the_log_is_read_in_pages
            an_entry_tells_the_record_that_is_there
            a_cursor_starts_at_zero_and_never_goes_back
            cursors_are_apart
            a_parked_bite_tells_why
            a_stored_transcript_ends_parking
            a_bite_that_is_gone_cannot_be_parked
            parked_bites_are_listed_in_key_order
            a_fresh_store_is_ready
        }
        $crate::conformance_tests! { $fresh => model:
            any_sequence_of_calls_does_what_the_model_does
        }
    };
}

/// A conversation.
pub(super) fn conversation(name: &str) -> ConversationId {
    name.parse().expect("a conversation")
}

/// A user on a device.
pub(super) fn who(user: &str) -> Identity {
    Identity { user: user.parse().expect("a user"), device: "phone".parse().expect("a device") }
}

/// A bite of `u-1` in `c-1`.
pub(super) fn said(start: Millis, body: &str) -> NewBite {
    let body = Bytes::copy_from_slice(body.as_bytes());
    NewBite {
        label: Label::Bite,
        conversation: conversation("c-1"),
        start: Start::At(start),
        author: who("u-1"),
        media_type: "audio/ogg; codecs=opus".into(),
        duration_ms: Some(1_234),
        sha256: Digest::of(&body),
        body,
        received: 1_700_000_000_000,
        idempotency: None,
    }
}

/// The same place under another label.
pub(super) fn labelled(label: Label, bite: NewBite) -> NewBite {
    NewBite { label, ..bite }
}

pub(super) fn key(start: Millis) -> BiteKey {
    BiteKey::new(Label::Bite, conversation("c-1"), start)
}

/// Puts and demands success.
pub(super) async fn put(store: &Store, bite: NewBite) -> Put {
    store.put(bite).await.expect("a put that nothing forbids succeeds")
}

/// Puts and demands this refusal.
pub(super) async fn refused(store: &Store, bite: NewBite, kind: ErrorKind) {
    let error = store.put(bite).await.expect_err("a put that must be refused was taken");
    assert_eq!(error.kind(), kind, "{error}");
}

async fn body(store: &Store, key: &BiteKey) -> Option<String> {
    store.get(key).await.expect("a read succeeds").map(|bite| text(&bite.body))
}

async fn scan(store: &Store, from: Millis, to: Millis, limit: usize) -> ScanPage {
    let range = ScanRange::new(from, to, limit).expect("a range");
    store.scan(Label::Bite, &conversation("c-1"), range).await.expect("a scan succeeds")
}

/// Key, everything that is known, and the bytes are what was given.
pub async fn what_was_stored_comes_back_bit_exact(store: Store) {
    let every_byte: Vec<u8> = (0..=255).cycle().take(3_000).collect();
    let new = NewBite { sha256: Digest::of(&every_byte), body: every_byte.into(), ..said(0x4040_4040, "") };
    let done = put(&store, new.clone()).await;
    assert_eq!(done.key, key(0x4040_4040));
    let Bite { key, meta, body } =
        store.get(&done.key).await.expect("a read succeeds").expect("it was stored");
    assert_eq!((key, &body), (done.key.clone(), &new.body));
    assert_eq!(
        (&meta.author, &meta.media_type, meta.duration_ms),
        (&new.author, &new.media_type, new.duration_ms)
    );
    assert_eq!((meta.bytes, meta.sha256, meta.received), (3_000, new.sha256, new.received));
    assert_eq!(
        store.head(&done.key).await.expect("a read succeeds"),
        Some(meta),
        "head and get tell the same"
    );
}

/// Absence is no error.
pub async fn nothing_comes_back_where_nothing_was_stored(store: Store) {
    put(&store, said(5, "there")).await;
    for key in
        [key(4), key(6), key(5).labelled(Label::User), BiteKey::new(Label::Bite, conversation("c-2"), 5)]
    {
        assert_eq!(store.get(&key).await.expect("a read succeeds"), None);
        assert_eq!(store.head(&key).await.expect("a read succeeds"), None);
    }
    assert_eq!(store.delete(&conversation("c-1"), 6, 1).await.expect("deleting nothing succeeds"), None);
    let page =
        store.scan(Label::Bite, &conversation("c-2"), ScanRange::all()).await.expect("a scan succeeds");
    assert_eq!(page, ScanPage::default());
}

/// Empty, around a page, and long.
pub async fn bodies_of_every_size_come_back(store: Store) {
    for (start, size) in
        (0..).zip([0, 1, 1_900, 2_048, 4_095, 4_096, 4_097, 65_536, 262_144, 262_145, 3 << 20])
    {
        let body: Bytes = (0..size).map(|i| (i % 251) as u8).collect::<Vec<_>>().into();
        put(&store, NewBite { sha256: Digest::of(&body), body: body.clone(), ..said(start, "") }).await;
        let back = store.get(&key(start)).await.expect("a read succeeds").expect("it was stored");
        assert!(back.body == body, "a body of {size} bytes came back changed");
    }
}

/// Other bytes or another author at a taken place are a conflict, and what stood there stays.
pub async fn a_put_never_overwrites(store: Store) {
    put(&store, said(7, "first")).await;
    refused(&store, said(7, "second"), ErrorKind::Conflict).await;
    refused(&store, NewBite { author: who("u-2"), ..said(7, "first") }, ErrorKind::Conflict).await;
    let tablet = Identity { device: "tablet".parse().expect("a device"), ..who("u-1") };
    refused(&store, NewBite { author: tablet, ..said(7, "first") }, ErrorKind::Conflict).await;
    let meta = store.head(&key(7)).await.expect("a read succeeds").expect("it is still there");
    assert_eq!((body(&store, &key(7)).await.as_deref(), meta.author), (Some("first"), who("u-1")));
}

/// A repeated put is answered as the first, and changes nothing.
pub async fn the_same_put_again_answers_without_an_entry(store: Store) {
    let first = put(&store, said(7, "once")).await;
    let again =
        put(&store, NewBite { received: 9, media_type: "audio/other".into(), ..said(7, "once") }).await;
    assert_eq!(again, Put { key: first.key.clone(), entry: None });
    let meta = store.head(&first.key).await.expect("a read succeeds").expect("it was stored");
    assert_eq!(meta.media_type, "audio/ogg; codecs=opus", "the first put stays as it was");
    assert_eq!(store.tail().await.expect("a read succeeds"), 1);
}

/// Nothing is attached to a bite that is not there.
pub async fn a_label_needs_its_bite(store: Store) {
    put(&store, said(1, "bite")).await;
    for label in [Label::User, Label::Transcription] {
        refused(&store, labelled(label, said(2, "to nothing")), ErrorKind::NotFound).await;
        let elsewhere = NewBite { conversation: conversation("c-2"), ..said(1, "to nothing") };
        refused(&store, labelled(label, elsewhere), ErrorKind::NotFound).await;
        put(&store, labelled(label, said(1, "to the bite"))).await;
        refused(&store, labelled(label, said(1, "other bytes")), ErrorKind::Conflict).await;
    }
}

/// The entry of an attached record names whose bite it belongs to; the record itself keeps its own author.
pub async fn a_label_of_a_bite_is_logged_for_its_author(store: Store) {
    put(&store, said(1, "bite")).await;
    let machine = NewBite { author: who("u-machine"), ..labelled(Label::Transcription, said(1, "{}")) };
    let done = put(&store, machine).await;
    assert_eq!(done.entry.expect("it is new").event.author(), &who("u-1"));
    let meta = store.head(&done.key).await.expect("a read succeeds").expect("it was stored");
    assert_eq!(meta.author, who("u-machine"));
}

/// One place holds one record per label.
pub async fn labels_stand_beside_each_other(store: Store) {
    for label in Label::ALL {
        put(&store, labelled(label, said(1, label.as_str()))).await;
    }
    for label in Label::ALL {
        assert_eq!(body(&store, &key(1).labelled(label)).await.as_deref(), Some(label.as_str()));
        let starts = store.starts(label, &conversation("c-1")).await.expect("a scan succeeds");
        assert_eq!(starts, [1], "{label}");
    }
}

/// A deleted bite leaves nothing behind, and its neighbours alone.
pub async fn delete_takes_everything_at_its_place(store: Store) {
    for start in [1, 2] {
        for label in Label::ALL {
            put(&store, labelled(label, said(start, "x"))).await;
        }
        store.park(&key(start), "no speech", 3).await.expect("parking succeeds").expect("the bite is there");
    }
    let entry =
        store.delete(&conversation("c-1"), 1, 99).await.expect("deleting succeeds").expect("it was there");
    assert_eq!((entry.at, entry.event.key(), entry.event.author()), (99, &key(1), &who("u-1")));
    for label in Label::ALL {
        assert_eq!(store.head(&key(1).labelled(label)).await.expect("a read succeeds"), None, "{label}");
        assert!(store.head(&key(2).labelled(label)).await.expect("a read succeeds").is_some(), "{label}");
    }
    assert_eq!(store.parked_at(&key(1)).await.expect("a read succeeds"), None);
    assert!(store.parked_at(&key(2)).await.expect("a read succeeds").is_some());
    assert_eq!(store.delete(&conversation("c-1"), 1, 99).await.expect("deleting succeeds"), None);
}

/// A free place is free, whatever once stood there.
pub async fn what_was_deleted_can_be_said_again(store: Store) {
    put(&store, said(1, "old")).await;
    store.delete(&conversation("c-1"), 1, 2).await.expect("deleting succeeds").expect("it was there");
    put(&store, said(1, "new")).await;
    assert_eq!(body(&store, &key(1)).await.as_deref(), Some("new"));
}

/// `Next` finds holes, and those that a delete made.
pub async fn the_next_start_is_the_first_free_one(store: Store) {
    let next = |from| NewBite { start: Start::Next(from), ..said(0, "next") };
    for start in [10, 11, 13, 20] {
        put(&store, said(start, "at")).await;
    }
    for free in [12, 14, 15] {
        assert_eq!(put(&store, next(10)).await.key, key(free));
    }
    assert_eq!(put(&store, next(20)).await.key, key(21));
    assert_eq!(put(&store, next(5)).await.key, key(5));
    for start in [13, 11] {
        store.delete(&conversation("c-1"), start, 2).await.expect("deleting succeeds").expect("it was there");
    }
    for free in [11, 13, 16, 17, 18, 19, 22] {
        assert_eq!(put(&store, next(10)).await.key, key(free));
    }
}

/// At the end of time `Next` is refused, not wrapped around.
pub async fn no_free_start_is_a_conflict(store: Store) {
    let next = || NewBite { start: Start::Next(Millis::MAX - 1), ..said(0, "last") };
    assert_eq!(put(&store, next()).await.key.start, Millis::MAX - 1);
    assert_eq!(put(&store, next()).await.key.start, Millis::MAX);
    refused(&store, next(), ErrorKind::Conflict).await;
    refused(&store, NewBite { start: Start::Next(Millis::MAX), ..next() }, ErrorKind::Conflict).await;
}

/// Defect D4 of the original: 49 of 50 records of a second overwrote each other.
pub async fn puts_of_the_same_millisecond_all_get_their_own_start(store: Store) {
    let one = |n: u64| {
        let store = store.clone();
        async move {
            let new = NewBite { start: Start::Next(500), ..said(0, &n.to_string()) };
            let done = put(&store, new).await;
            (done.key.start, n)
        }
    };
    let mut done = together((0..300).map(one)).await;
    done.sort_unstable();
    for (i, (start, n)) in (0..).zip(done) {
        assert_eq!(start, 500 + i, "the starts follow each other without holes");
        assert_eq!(body(&store, &key(start)).await, Some(n.to_string()));
    }
}

/// `previous` and `next` are the nearest starts outside the page.
pub async fn a_scan_tells_its_neighbours(store: Store) {
    for start in [10, 20, 30, 40, 50] {
        put(&store, said(start, "x")).await;
    }
    let page = |previous, starts: &[Millis], next| ScanPage { previous, starts: starts.to_vec(), next };
    assert_eq!(scan(&store, 20, 40, 10).await, page(Some(10), &[20, 30, 40], Some(50)));
    assert_eq!(scan(&store, 20, 40, 3).await, page(Some(10), &[20, 30, 40], Some(50)));
    assert_eq!(scan(&store, 20, 40, 2).await, page(Some(10), &[20, 30], Some(40)));
    assert_eq!(scan(&store, 21, 29, 2).await, page(Some(20), &[], Some(30)));
    assert_eq!(scan(&store, 0, 5, 2).await, page(None, &[], Some(10)));
    assert_eq!(scan(&store, 60, 70, 2).await, page(Some(50), &[], None));
    assert_eq!(scan(&store, 0, Millis::MAX, 100).await, page(None, &[10, 20, 30, 40, 50], None));
}

/// 0 and the largest start are starts like others.
pub async fn a_scan_reaches_both_ends_of_time(store: Store) {
    let all = [0, 1, 0xff, 0x100, 0x4040, 1 << 32, u64::MAX - 1, u64::MAX];
    for start in all {
        put(&store, said(start, "x")).await;
    }
    assert_eq!(scan(&store, 0, u64::MAX, 100).await.starts, all);
    assert_eq!(scan(&store, u64::MAX, u64::MAX, 1).await.previous, Some(u64::MAX - 1));
    assert_eq!(scan(&store, 0, 0, 1).await, ScanPage { previous: None, starts: vec![0], next: Some(1) });
}

/// Neither a conversation with a similar name nor another label shows through.
pub async fn a_scan_stays_in_its_conversation_and_label(store: Store) {
    let names = ["c", "c-", "c-0", "c-1", "c-10", "c-2", "d"];
    for name in names {
        put(&store, NewBite { conversation: conversation(name), ..said(5, name) }).await;
    }
    put(&store, labelled(Label::User, said(5, "user"))).await;
    for name in names {
        for label in Label::ALL {
            let page =
                store.scan(label, &conversation(name), ScanRange::all()).await.expect("a scan succeeds");
            let there = label == Label::Bite || (label == Label::User && name == "c-1");
            let starts = if there { vec![5] } else { vec![] };
            assert_eq!(page, ScanPage { starts, ..ScanPage::default() }, "{label} of {name}");
            let before = ScanRange::new(6, 9, 10).expect("a range");
            let page = store.scan(label, &conversation(name), before).await.expect("a scan succeeds");
            assert_eq!(page.previous, there.then_some(5), "{label} of {name}");
        }
    }
}

/// Following the pages finds every start once.
pub async fn pages_join_without_gap_or_overlap(store: Store) {
    let all: Vec<Millis> = (0..257).map(|n| n * n).collect();
    together(all.iter().map(|start| put(&store, said(*start, "x")))).await;
    for limit in [1, 2, 64, 256, 257, 1_000] {
        let (mut found, mut range) = (Vec::new(), Some(ScanRange::new(0, u64::MAX, limit).expect("a range")));
        while let Some(r) = range {
            let page = store.scan(Label::Bite, &conversation("c-1"), r).await.expect("a scan succeeds");
            assert!(page.starts.len() <= limit.min(MAX_PAGE));
            range = page.starts.last().filter(|_| page.continues(&r)).and_then(|last| r.after(*last));
            found.extend(page.starts);
        }
        assert_eq!(found, all, "in pages of {limit}");
    }
}

/// Both list the same records.
pub async fn metas_are_those_of_the_scan(store: Store) {
    for start in [10, 20, 30] {
        put(&store, said(start, &start.to_string())).await;
        put(&store, NewBite { conversation: conversation("c-2"), ..said(start + 1, "other") }).await;
    }
    for (from, to, limit) in
        [(0, 99, 9), (10, 20, 9), (11, 29, 9), (0, 99, 2), (31, 99, 9), (0, u64::MAX, 1_000)]
    {
        let range = ScanRange::new(from, to, limit).expect("a range");
        let metas = store.metas(Label::Bite, &conversation("c-1"), range).await.expect("a list succeeds");
        let starts: Vec<_> = metas.iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, scan(&store, from, to, limit).await.starts);
        for (start, meta) in metas {
            assert_eq!(Some(meta), store.head(&key(start)).await.expect("a read succeeds"));
        }
    }
}

const DAY: Millis = 24 * 60 * 60 * 1_000;

fn named(name: &[u8], received: Millis, text: &str) -> NewBite {
    NewBite { idempotency: Some(Digest::of(name)), start: Start::Next(100), received, ..said(0, text) }
}

/// A repeated named put answers the first one's record; other bytes under the name are a conflict.
pub async fn a_named_put_happens_once(store: Store) {
    let now = 50 * DAY + 7;
    let first = put(&store, named(b"a", now, "hello")).await;
    assert!(first.entry.is_some());
    assert_eq!(put(&store, named(b"a", now + 1, "hello")).await, Put { entry: None, ..first.clone() });
    refused(&store, named(b"a", now + 2, "hullo"), ErrorKind::Conflict).await;
    assert_ne!(
        put(&store, named(b"b", now + 3, "hello")).await.key,
        first.key,
        "another name is another put"
    );
    assert_eq!(store.tail().await.expect("a read succeeds"), 2);
}

/// Not shorter over midnight, not longer either; also where the clock was set back.
pub async fn a_name_is_kept_for_24_hours(store: Store) {
    for (name, first) in [(b"midnight", 60 * DAY - 1), (b"mid--day", 60 * DAY + DAY / 2)] {
        let done = put(&store, named(name, first, "hello")).await;
        for again in [first + 1, first + DAY - 1, first - 1, first + 1 - DAY] {
            assert_eq!(put(&store, named(name, again, "hello")).await, Put { entry: None, ..done.clone() });
        }
        let later = put(&store, named(name, first + DAY, "hello")).await;
        assert!(later.entry.is_some() && later.key != done.key, "after 24 hours the name is free");
    }
}

/// A late repetition does not bring back what was deleted since.
pub async fn a_name_outlives_its_record(store: Store) {
    let done = put(&store, named(b"a", 50 * DAY, "hello")).await;
    store
        .delete(&conversation("c-1"), done.key.start, 1)
        .await
        .expect("deleting succeeds")
        .expect("it was there");
    assert_eq!(put(&store, named(b"a", 50 * DAY + 1, "hello")).await, Put { entry: None, ..done.clone() });
    assert_eq!(body(&store, &done.key).await, None);
}

/// The store takes the caller's digest, and never returns bytes that do not match it.
pub async fn the_digest_is_stored_as_given_and_verified(store: Store) {
    let wrong = Digest::of(b"something else");
    put(&store, NewBite { sha256: wrong, ..said(1, "hello") }).await;
    put(&store, said(2, "hello")).await;
    let meta = store.head(&key(1)).await.expect("a read succeeds").expect("it was stored");
    assert_eq!(meta.sha256, wrong);
    let page = store.verify(None, 10).await.expect("a verification succeeds");
    assert_eq!(page.checked, 2);
    assert_eq!(page.corrupt.iter().map(|c| c.key.clone()).collect::<Vec<_>>(), [key(1).to_string()]);
}

/// Page by page, each once.
pub async fn verify_reads_every_record(store: Store) {
    for start in 0..10 {
        put(&store, said(start, "x")).await;
        put(&store, labelled(Label::User, said(start, "y"))).await;
    }
    for limit in [1, 3, 19, 20, 21] {
        let (mut from, mut checked) = (None, 0);
        loop {
            let page = store.verify(from, limit).await.expect("a verification succeeds");
            assert!(page.corrupt.is_empty() && page.checked <= limit as u64);
            checked += page.checked;
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(checked, 20, "in pages of {limit}");
    }
}

/// What was answered can be read, at once, by everyone.
pub async fn a_read_sees_every_put_that_returned(store: Store) {
    let one = |n: u64| {
        let store = store.clone();
        async move {
            let done = put(&store, said(n, &n.to_string())).await;
            assert_eq!(body(&store, &done.key).await, Some(n.to_string()));
            let tail = store.tail().await.expect("a read succeeds");
            assert!(done.entry.expect("it is new").seq <= tail);
        }
    };
    together((0..200).map(one)).await;
}
