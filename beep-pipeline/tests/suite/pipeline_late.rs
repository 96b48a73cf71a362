//! What is done late, twice or all at once: memory stays bounded, and no work lands on another bite than its own.

use crate::pipeline_support::{Echo, Fate, Faulty, bob, crew, heard, identity, say, stores, wav};
use async_trait::async_trait;
use beep_core::bite::{Digest, Label};
use beep_core::id::ConversationId;
use beep_core::store::{
    BiteStore, Capability, NewBite, SearchDocument, SearchIndex, SearchPage, SearchQuery, Start, Stores,
};
use beep_core::transcriber::Transcriber;
use beep_core::transcript::Transcript;
use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::Beep;
use beep_pipeline::workers::MAX_TRANSCRIBED_MS;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(3_600);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn settle(beep: &Beep) {
    timeout(Duration::from_secs(3_600), beep.settle()).await.expect("it settles").unwrap();
}

/// A bite past every check, which says of itself that it is so long.
async fn put(bites: &dyn BiteStore, start: u64, said: &str, duration_ms: Option<u64>) {
    let body = Bytes::from(wav(said));
    let bite = NewBite {
        label: Label::Bite,
        conversation: crew(),
        start: Start::At(start),
        author: identity("bob"),
        media_type: "audio/wav".into(),
        duration_ms,
        sha256: Digest::of(&body),
        body,
        received: start,
        idempotency: None,
    };
    bites.put(bite).await.unwrap();
}

/// Counts who is being recognised, and lets them go on one by one.
#[derive(Debug)]
struct Counting {
    now: AtomicUsize,
    most: AtomicUsize,
    pass: Semaphore,
}

#[async_trait]
impl Transcriber for Counting {
    fn model(&self) -> &str {
        "test/counting"
    }

    fn parallelism(&self) -> usize {
        32
    }

    async fn transcribe(&self, samples: Arc<[i16]>) -> Result<Transcript> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.pass.acquire().await.unwrap().forget();
        self.now.fetch_sub(1, Ordering::SeqCst);
        Echo.transcribe(samples).await
    }
}

fn counting() -> Arc<Counting> {
    Arc::new(Counting { now: AtomicUsize::new(0), most: AtomicUsize::new(0), pass: Semaphore::new(0) })
}

/// Recordings that are held as sound at once: two hours of them, whatever the engine's width. One that does not say how
/// long it is, or is longer than it says, counts as one of the longest kind.
#[tokio::test(start_paused = true)]
async fn long_recordings_wait_for_room() {
    let two_hours = MAX_TRANSCRIBED_MS;
    let long = "x".repeat(16_000 * 3);
    for (what, said, duration_ms, at_once) in [
        ("half an hour", "half", Some(two_hours / 4 - 1_000), 4),
        ("an hour", "hour", Some(two_hours / 2 - 1_000), 2),
        ("too long to say", "endless", Some(u64::MAX), 1),
        ("no length", "unknown", None, 1),
        ("a false length", &long, Some(1), 1),
    ] {
        let stores = stores().await;
        let engine = counting();
        for start in 1..=12 {
            put(&*stores.bites, start, said, duration_ms).await;
        }
        let beep = Beep::builder(stores.clone()).transcriber(engine.clone()).start().await.unwrap();
        until(what, || engine.now.load(Ordering::SeqCst) == at_once).await;
        // Whoever could begin beyond that has had the time to.
        tokio::time::sleep(Duration::from_secs(60)).await;
        engine.pass.add_permits(100);
        settle(&beep).await;
        assert_eq!(engine.most.load(Ordering::SeqCst), at_once, "{what}");
        for start in 1..=12 {
            assert_eq!(heard(&*stores.bites, start).await.as_deref(), Some(said), "{what}");
        }
        beep.shutdown().await;
    }
}

/// Refuses this call of the worker's while it is on.
#[derive(Debug)]
struct Refuses {
    call: &'static str,
    on: AtomicBool,
    refused: AtomicUsize,
}

#[async_trait]
impl Fate for Refuses {
    async fn before(&self, call: &'static str) -> Result<()> {
        if call == self.call && self.on.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Unavailable, "the store is away"));
        }
        Ok(())
    }
}

/// A transcript whose storing was waited for is not kept for what was said at its place meanwhile.
#[tokio::test(start_paused = true)]
async fn a_late_transcript_never_lands_on_another_bite() {
    let mut stores = stores().await;
    let bites = stores.bites.clone();
    let fate = Arc::new(Refuses { call: "put", on: AtomicBool::new(false), refused: AtomicUsize::new(0) });
    stores.bites = Faulty::new(bites.clone(), fate.clone());
    let engine = counting();
    let beep = Beep::builder(stores.clone()).transcriber(engine.clone()).start().await.unwrap();
    for start in 1..=5 {
        say(&beep, start, "the first secret").await.unwrap();
        fate.refused.store(0, Ordering::SeqCst);
        fate.on.store(true, Ordering::SeqCst);
        engine.pass.add_permits(1);
        until("it waits to be stored", || fate.refused.load(Ordering::SeqCst) >= 3).await;
        beep.delete(&bob(), start).await.unwrap();
        // Past the outage, at the same place; the engine is still busy with it when the store is back.
        put(&*bites, start, "something else", Some(1)).await;
        fate.on.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(heard(&*bites, start).await, None);
        engine.pass.add_permits(1);
        settle(&beep).await;
        assert_eq!(heard(&*bites, start).await.as_deref(), Some("something else"));
    }
    let page = beep.query().search_in(&bob(), "secret", None, 10).await.unwrap();
    assert!(page.hits.is_empty(), "{:?}", page.hits);
    assert!(bites.parked(10).await.unwrap().is_empty());
    beep.shutdown().await;
}

/// An index that holds up who puts something in.
#[derive(Debug)]
struct Held {
    inner: Arc<dyn SearchIndex>,
    waiting: AtomicUsize,
    removed: AtomicUsize,
    pass: Semaphore,
}

#[async_trait]
impl SearchIndex for Held {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    async fn index(&self, documents: Vec<SearchDocument>) -> Result<()> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.pass.acquire().await.unwrap().forget();
        self.inner.index(documents).await
    }

    async fn remove(&self, conversation: &ConversationId, start: u64) -> Result<bool> {
        let removed = self.inner.remove(conversation, start).await;
        self.removed.fetch_add(1, Ordering::SeqCst);
        removed
    }

    async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
        self.inner.search(query).await
    }

    async fn clear(&self) -> Result<()> {
        self.inner.clear().await
    }

    async fn ready(&self) -> Result<()> {
        self.inner.ready().await
    }
}

/// Two pipelines on one store, each with an index worker. One has taken a deleted bite's words out already when the other
/// puts them in, having read them before: they are taken out again, at once.
#[tokio::test(start_paused = true)]
async fn words_of_a_deleted_bite_are_not_findable_by_a_second_index_worker() {
    let stores = stores().await;
    let held = Arc::new(Held {
        inner: stores.search.clone(),
        waiting: AtomicUsize::new(0),
        removed: AtomicUsize::new(0),
        pass: Semaphore::new(0),
    });
    let fate = Arc::new(Refuses { call: "log", on: AtomicBool::new(false), refused: AtomicUsize::new(0) });
    let bites = Faulty::new(stores.bites.clone(), fate.clone());
    let slow = Stores { search: held.clone(), bites, ..stores.clone() };
    let two = Beep::builder(slow).start().await.unwrap();
    let one = Beep::builder(stores.clone()).transcriber(Arc::new(Echo)).start().await.unwrap();
    let found = async || {
        let page = one.query().search_in(&bob(), "whispered", None, 10).await.unwrap();
        page.hits.iter().map(|hit| hit.start).collect::<Vec<_>>()
    };
    say(&one, 1, "whispered").await.unwrap();
    settle(&one).await;
    until("the second has read the words", || held.waiting.load(Ordering::SeqCst) == 1).await;
    assert_eq!(found().await, [1]);
    // From here on it reads nothing: that the bite was deleted it would hear of otherwise, unless it ended before.
    fate.on.store(true, Ordering::SeqCst);
    one.delete(&bob(), 1).await.unwrap();
    settle(&one).await;
    assert!(found().await.is_empty());
    held.pass.add_permits(1);
    until("they are taken out", || held.removed.load(Ordering::SeqCst) >= 1).await;
    assert!(found().await.is_empty());
    fate.on.store(false, Ordering::SeqCst);
    say(&one, 2, "whispered again").await.unwrap();
    held.pass.add_permits(10);
    settle(&one).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(found().await, [2]);
    one.shutdown().await;
    two.shutdown().await;
}

/// Why a recording could not be transcribed is not said of another one that stands at its place by the time it can be
/// noted.
#[tokio::test(start_paused = true)]
async fn a_late_failure_never_parks_another_bite() {
    let mut stores = stores().await;
    let bites = stores.bites.clone();
    let fate = Arc::new(Refuses { call: "park", on: AtomicBool::new(true), refused: AtomicUsize::new(0) });
    stores.bites = Faulty::new(bites.clone(), fate.clone());
    let engine = counting();
    let beep = Beep::builder(stores.clone()).transcriber(engine.clone()).start().await.unwrap();
    engine.pass.add_permits(1);
    say(&beep, 1, "fail nobody understands this").await.unwrap();
    until("it waits to be parked", || fate.refused.load(Ordering::SeqCst) >= 3).await;
    beep.delete(&bob(), 1).await.unwrap();
    put(&*bites, 1, "something else", Some(1)).await;
    fate.on.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    engine.pass.add_permits(1);
    settle(&beep).await;
    assert_eq!(heard(&*bites, 1).await.as_deref(), Some("something else"));
    assert!(bites.parked(10).await.unwrap().is_empty());
    let failed = crate::pipeline_support::log(&*bites).await;
    assert!(failed.iter().all(|e| !matches!(e.event, beep_core::event::Event::Failed { .. })), "{failed:#?}");
    beep.shutdown().await;
}
