//! The workers: every bite is transcribed and found, whatever fails on the way; what cannot be is set aside (D8).

use crate::pipeline_support::{
    Echo, Fate, Faulty, bob, crew, heard, identity, log, say, stores, transcribed, wav,
};
use async_trait::async_trait;
use beep_core::clock::System;
use beep_core::event::Event;
use beep_core::store::{Capability, SearchDocument, SearchIndex, SearchPage, SearchQuery, Start, Stores};
use beep_core::transcriber::Transcriber;
use beep_core::transcript::Transcript;
use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::outbound::{Delivery, TranscriptState};
use beep_pipeline::workers::{INDEX, MAX_ATTEMPTS, TRANSCRIBE};
use beep_pipeline::{Beep, Utterance};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

async fn echoing(stores: &Stores) -> Beep {
    Beep::builder(stores.clone()).transcriber(Arc::new(Echo)).start().await.unwrap()
}

/// Settles within a virtual hour.
async fn settle(beep: &Beep) {
    tokio::time::timeout(Duration::from_secs(3_600), beep.settle()).await.expect("it settles").unwrap();
}

async fn found(beep: &Beep, words: &str) -> Vec<u64> {
    let page = beep.query().search_in(&bob(), words, None, 100).await.unwrap();
    let mut starts: Vec<_> = page.hits.iter().map(|h| h.start).collect();
    starts.sort_unstable();
    starts
}

/// Does as its script says, one line per attempt and the last for ever, and notes when it was asked.
#[derive(Debug)]
struct Scripted {
    script: Vec<Result<&'static str, ErrorKind>>,
    asked: Mutex<Vec<Instant>>,
}

impl Scripted {
    fn new(script: &[Result<&'static str, ErrorKind>]) -> Arc<Self> {
        Arc::new(Self { script: script.to_vec(), asked: Mutex::default() })
    }

    /// The pauses between the attempts, in milliseconds.
    fn pauses(&self) -> Vec<u128> {
        self.asked.lock().unwrap().windows(2).map(|w| (w[1] - w[0]).as_millis()).collect()
    }
}

#[async_trait]
impl Transcriber for Scripted {
    fn model(&self) -> &str {
        "test/scripted"
    }

    fn parallelism(&self) -> usize {
        1
    }

    async fn transcribe(&self, _: Arc<[i16]>) -> Result<Transcript> {
        let attempt = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(Instant::now());
            asked.len() - 1
        };
        match self.script.get(attempt).or(self.script.last()).unwrap() {
            Ok(text) => Ok(Transcript { text: (*text).to_owned(), ..Transcript::default() }),
            Err(ErrorKind::Corrupt) => panic!("the engine crashed"),
            Err(kind) => Err(Error::new(*kind, "the engine is out of order")),
        }
    }
}

#[tokio::test]
async fn every_bite_is_transcribed_and_stored_once() {
    let stores = stores().await;
    let beep = echoing(&stores).await;
    for start in 0..100 {
        say(&beep, start, &format!("bite number {start}")).await.unwrap();
        // The same again is no second bite.
        say(&beep, start, &format!("bite number {start}")).await.unwrap();
    }
    settle(&beep).await;
    for start in 0..100 {
        assert_eq!(heard(&*stores.bites, start).await.unwrap(), format!("bite number {start}"));
    }
    assert!(transcribed(&*stores.bites).await.values().copied().eq(std::iter::repeat_n(1, 100)));
    assert_eq!(stores.bites.tail().await.unwrap(), 200);
    assert_eq!(found(&beep, "number").await, (0..100).collect::<Vec<_>>());
    for group in [TRANSCRIBE, INDEX] {
        assert_eq!(stores.bites.cursor(group).await.unwrap(), 200);
    }
}

/// D8: a failure that may pass is tried again with growing pauses, and what comes of it is stored.
#[tokio::test(start_paused = true)]
async fn failed_job_retries() {
    let stores = stores().await;
    let away = Err(ErrorKind::Unavailable);
    let engine = Scripted::new(&[away, away, away, Ok("at last")]);
    let beep = Beep::builder(stores.clone()).transcriber(engine.clone()).start().await.unwrap();
    say(&beep, 1, "x").await.unwrap();
    settle(&beep).await;
    assert_eq!(heard(&*stores.bites, 1).await.unwrap(), "at last");
    let pauses = engine.pauses();
    assert_eq!(pauses.len(), 3);
    assert!(pauses.windows(2).all(|w| w[1] >= 2 * w[0]) && pauses[0] >= 100, "{pauses:?}");
    assert!(stores.bites.parked(10).await.unwrap().is_empty());
    assert!(log(&*stores.bites).await.iter().all(|e| !matches!(e.event, Event::Failed { .. })));
}

/// D8: what does not pass is set aside after a bounded number of tries; its author is told, and the others go on.
#[tokio::test(start_paused = true)]
async fn hopeless_job_is_parked_and_told() {
    for (kind, attempts) in [
        (ErrorKind::Unavailable, MAX_ATTEMPTS),
        (ErrorKind::Invalid, 1),
        (ErrorKind::Internal, 1),
        (ErrorKind::Corrupt, 1),
    ] {
        let stores = stores().await;
        let script: Vec<_> = std::iter::repeat_n(Err(kind), attempts as usize).chain([Ok("fine")]).collect();
        let engine = Scripted::new(&script);
        let beep = Beep::builder(stores.clone()).transcriber(engine.clone()).start().await.unwrap();
        say(&beep, 1, "x").await.unwrap();
        settle(&beep).await;
        say(&beep, 2, "y").await.unwrap();
        settle(&beep).await;
        assert_eq!(engine.pauses().len() + 1, attempts as usize + 1, "{kind:?}");
        let parked = stores.bites.parked(10).await.unwrap();
        assert_eq!(parked.iter().map(|p| p.key.start).collect::<Vec<_>>(), [1]);
        assert_eq!(heard(&*stores.bites, 1).await, None);
        assert_eq!(heard(&*stores.bites, 2).await.unwrap(), "fine");
        let state = beep.query().transcript(&bob(), 1).await.unwrap();
        assert!(matches!(state, TranscriptState::Failed(_)), "{state:?}");
        let mut told = Vec::new();
        // From the beginning: on a paused clock a reader that waits for the workers would be cut off as stalled.
        let mut reader = beep.subscribe(&"bob".parse().unwrap(), None, Some(0));
        while told.len() < 4 {
            for delivery in reader.next().await.unwrap().expect("the stream goes on") {
                let Delivery::Notice(notice) = delivery else { panic!("{delivery:?}") };
                told.push(serde_json::from_str::<serde_json::Value>(&notice.json).unwrap());
            }
        }
        let kinds: Vec<_> = told.iter().map(|t| t["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["bite", "error", "bite", "transcription"]);
        assert_eq!((&told[1]["code"], &told[1]["start"]), (&500.into(), &1.into()));
        assert!(!told[1]["message"].as_str().unwrap().is_empty());
        // What the engine said stays inside when it is no sentence for people.
        assert!(!told[1]["message"].as_str().unwrap().contains("crashed"));
        beep.shutdown().await;
    }
}

/// An engine that answers only when it is let.
#[derive(Debug)]
struct Gated {
    asked: AtomicUsize,
    pass: Semaphore,
}

#[async_trait]
impl Transcriber for Gated {
    fn model(&self) -> &str {
        "test/gated"
    }

    fn parallelism(&self) -> usize {
        3
    }

    async fn transcribe(&self, samples: Arc<[i16]>) -> Result<Transcript> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.pass.acquire().await.unwrap().forget();
        Echo.transcribe(samples).await
    }
}

fn gated() -> Arc<Gated> {
    Arc::new(Gated { asked: AtomicUsize::new(0), pass: Semaphore::new(0) })
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A stop in the middle loses nothing: the cursor stands before the oldest unfinished bite, and work goes on from there.
#[tokio::test]
async fn cursor_resumes_after_a_stop_in_the_middle() {
    let stores = stores().await;
    for round in 0..5u64 {
        let engine = gated();
        let beep = Beep::builder(stores.clone()).transcriber(engine.clone()).start().await.unwrap();
        for n in 0..20 {
            say(&beep, round * 100 + n, &format!("bite {n}")).await.unwrap();
        }
        // Some are finished, some under way, some not begun.
        until("some are asked for", || engine.asked.load(Ordering::SeqCst) >= 3).await;
        engine.pass.add_permits(4);
        until("more are asked for", || engine.asked.load(Ordering::SeqCst) >= 6).await;
        beep.shutdown().await;
        let done = transcribed(&*stores.bites).await;
        let cursor = stores.bites.cursor(TRANSCRIBE).await.unwrap();
        for entry in log(&*stores.bites).await.into_iter().take_while(|e| e.seq <= cursor) {
            let start = entry.event.key().start;
            assert!(!entry.event.is_new_bite() || done.contains_key(&start), "{start} was skipped");
        }
    }
    // A pipeline without an engine leaves them waiting.
    let beep = Beep::builder(stores.clone()).start().await.unwrap();
    settle(&beep).await;
    assert!(transcribed(&*stores.bites).await.len() < 100);
    beep.shutdown().await;
    let beep = echoing(&stores).await;
    settle(&beep).await;
    let done = transcribed(&*stores.bites).await;
    assert_eq!(done.len(), 100);
    assert!(done.values().all(|times| *times == 1));
    assert_eq!(found(&beep, "bite 7").await.len(), 5);
}

/// Fails every call of these names while it is on, sometimes after having done it.
#[derive(Debug, Default)]
struct Outage {
    on: AtomicBool,
    calls: AtomicUsize,
    answers_lost: bool,
}

#[async_trait]
impl Fate for Outage {
    async fn before(&self, call: &'static str) -> Result<()> {
        let happens = self.answers_lost && ["put", "advance", "park"].contains(&call);
        if self.on.load(Ordering::SeqCst) && !happens {
            self.calls.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Unavailable, "the store is away"));
        }
        Ok(())
    }

    async fn after(&self, _: &'static str) -> Result<()> {
        if self.on.load(Ordering::SeqCst) {
            self.calls.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Internal, "the answer of the store was lost"));
        }
        Ok(())
    }
}

/// A store that fails for minutes holds the work up and loses none of it; nobody is told otherwise.
#[tokio::test(start_paused = true)]
async fn store_outage_stalls_and_loses_nothing() {
    for answers_lost in [false, true] {
        let mut stores = stores().await;
        let bites = stores.bites.clone();
        let outage = Arc::new(Outage { answers_lost, ..Outage::default() });
        stores.bites = Faulty::new(bites.clone(), outage.clone());
        let beep = echoing(&stores).await;
        let mut acknowledged = Vec::new();
        for round in 0..5u64 {
            for n in 0..10 {
                let start = round * 100 + n;
                // Whoever got an error tries again, as clients do.
                while say(&beep, start, &format!("bite {start}")).await.is_err() {
                    tokio::time::sleep(Duration::from_secs(7)).await;
                    if outage.calls.load(Ordering::SeqCst) > 30 {
                        outage.on.store(false, Ordering::SeqCst);
                    }
                }
                acknowledged.push(start);
                if n == 5 {
                    outage.calls.store(0, Ordering::SeqCst);
                    outage.on.store(true, Ordering::SeqCst);
                }
            }
        }
        outage.on.store(false, Ordering::SeqCst);
        settle(&beep).await;
        let done = transcribed(&*bites).await;
        assert_eq!(done.keys().copied().collect::<Vec<_>>(), acknowledged);
        assert!(done.values().all(|times| *times == 1), "{done:?}");
        assert!(bites.parked(10).await.unwrap().is_empty());
        assert_eq!(found(&beep, "bite").await.len(), 50);
        beep.shutdown().await;
    }
}

/// A cursor that could not be noted is noted when the store is back, though nothing new comes.
#[tokio::test(start_paused = true)]
async fn cursor_is_noted_after_an_outage_without_new_work() {
    #[derive(Debug, Default)]
    struct NoNotes(AtomicUsize);

    #[async_trait]
    impl Fate for NoNotes {
        async fn before(&self, call: &'static str) -> Result<()> {
            if call == "advance" && self.0.fetch_add(1, Ordering::SeqCst) < 20 {
                return Err(Error::new(ErrorKind::Unavailable, "the store is away"));
            }
            Ok(())
        }
    }

    let mut stores = stores().await;
    stores.bites = Faulty::new(stores.bites.clone(), Arc::new(NoNotes::default()));
    let beep = echoing(&stores).await;
    say(&beep, 1, "x").await.unwrap();
    settle(&beep).await;
    assert_eq!(stores.bites.cursor(TRANSCRIBE).await.unwrap(), 2);
}

/// A bite that is deleted while it is being recognised leaves nothing behind, and the cursor goes on.
#[tokio::test]
async fn deleted_bite_leaves_no_transcript() {
    let stores = stores().await;
    let engine = gated();
    let beep = Beep::builder(stores.clone()).transcriber(engine.clone()).start().await.unwrap();
    for start in 1..=3 {
        say(&beep, start, "secret").await.unwrap();
    }
    until("all are under way", || engine.asked.load(Ordering::SeqCst) == 3).await;
    beep.delete(&bob(), 1).await.unwrap();
    beep.delete(&bob(), 2).await.unwrap();
    // At one of the places something else is said meanwhile: its transcript must not be the old one.
    say(&beep, 2, "other").await.unwrap();
    engine.pass.add_permits(100);
    settle(&beep).await;
    assert_eq!(heard(&*stores.bites, 1).await, None);
    assert_eq!(heard(&*stores.bites, 3).await.unwrap(), "secret");
    assert_eq!(heard(&*stores.bites, 2).await.unwrap(), "other");
    assert!(stores.bites.parked(10).await.unwrap().is_empty());
    assert_eq!(found(&beep, "secret").await, [3]);
    assert_eq!(found(&beep, "other").await, [2]);
}

/// A search index that is away while it is on.
#[derive(Debug)]
struct Search {
    inner: Arc<dyn SearchIndex>,
    away: AtomicBool,
    refused: AtomicUsize,
}

impl Search {
    fn there(&self) -> Result<&dyn SearchIndex> {
        if self.away.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Unavailable, "the index is away"));
        }
        Ok(&*self.inner)
    }
}

#[async_trait]
impl SearchIndex for Search {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    async fn index(&self, documents: Vec<SearchDocument>) -> Result<()> {
        self.there()?.index(documents).await
    }

    async fn remove(&self, conversation: &beep_core::id::ConversationId, start: u64) -> Result<bool> {
        self.there()?.remove(conversation, start).await
    }

    async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
        self.there()?.search(query).await
    }

    async fn clear(&self) -> Result<()> {
        self.there()?.clear().await
    }

    async fn ready(&self) -> Result<()> {
        self.there()?.ready().await
    }
}

/// While the index is away bites are recorded and transcribed; when it is back it has all that is still there.
#[tokio::test(start_paused = true)]
async fn index_catches_up_after_an_outage() {
    let mut stores = stores().await;
    let search = Arc::new(Search {
        inner: stores.search.clone(),
        away: AtomicBool::new(false),
        refused: AtomicUsize::new(0),
    });
    stores.search = search.clone();
    let beep = echoing(&stores).await;
    say(&beep, 1, "word one").await.unwrap();
    settle(&beep).await;
    search.away.store(true, Ordering::SeqCst);
    for start in 2..=400 {
        say(&beep, start, &format!("word {start}")).await.unwrap();
    }
    beep.delete(&bob(), 1).await.unwrap();
    beep.delete(&bob(), 3).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(search.refused.load(Ordering::SeqCst) > 3);
    assert_eq!(heard(&*stores.bites, 400).await.unwrap(), "word 400");
    assert_eq!(beep.ready().await.unwrap_err().kind(), ErrorKind::Unavailable);
    search.away.store(false, Ordering::SeqCst);
    settle(&beep).await;
    assert_eq!(found(&beep, "400").await, [400]);
    assert!(found(&beep, "one").await.is_empty());
    let (mut all, mut before) = (0, None);
    loop {
        let page = beep.query().search_in(&bob(), "word", before, 100).await.unwrap();
        assert!(page.hits.iter().all(|h| ![1, 3].contains(&h.start)));
        all += page.hits.len();
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(all, 398);
}

/// An index in memory is gone after a restart, while the bites are not: it is filled again from the log.
#[tokio::test]
async fn an_index_that_is_not_durable_is_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let mut config = beep_storage::StorageConfig::embedded(dir.path());
        config.search = "memory:".into();
        let stores = beep_storage::open(&config, Arc::new(System)).await.unwrap();
        let beep = echoing(&stores).await;
        if round == 0 {
            say(&beep, 1, "remember").await.unwrap();
        }
        let begun = std::time::Instant::now();
        while found(&beep, "remember").await != [1] {
            assert!(begun.elapsed() < Duration::from_secs(20), "not found in round {round}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        beep.shutdown().await;
    }
}

/// `settle` means: transcribed, stored, found.
#[tokio::test]
async fn settle_waits_for_everything() {
    let stores = stores().await;
    let engine = gated();
    let beep = Beep::builder(stores.clone()).transcriber(engine.clone()).start().await.unwrap();
    say(&beep, 1, "patience").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), beep.settle()).await;
    assert!(early.is_err(), "it did not wait");
    engine.pass.add_permits(1);
    settle(&beep).await;
    assert_eq!(found(&beep, "patience").await, [1]);
    assert_eq!(crew().as_str(), "c-crew");
    assert_eq!(identity("bob"), *bob().identity());
    let unheard = Utterance::new(wav(""), Start::Next(1));
    assert_eq!(beep.record(&bob(), unheard).await.unwrap().key.start, 2);
    engine.pass.add_permits(1);
    settle(&beep).await;
    assert_eq!(heard(&*stores.bites, 2).await.unwrap(), "");
}
