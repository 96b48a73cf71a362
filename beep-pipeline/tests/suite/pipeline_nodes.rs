//! Several nodes on the same stores: each bite is transcribed by one of them, one fills the index, and what a node that
//! ends or dies had in hand is done by another.

use crate::pipeline_support::{Echo, Fate, Faulty, crew, say, stores, ticking, transcribed};
use async_trait::async_trait;
use beep_core::Result;
use beep_core::id::ConversationId;
use beep_core::store::{Capability, SearchDocument, SearchIndex, SearchPage, SearchQuery, Stores};
use beep_core::transcriber::Transcriber;
use beep_core::transcript::Transcript;
use beep_pipeline::Beep;
use beep_storage::memory::MemoryEphemeral;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A store that several machines reach.
#[derive(Debug)]
struct Networked;

#[async_trait]
impl Fate for Networked {
    async fn before(&self, _call: &'static str) -> Result<()> {
        Ok(())
    }

    fn capability(&self, _of: Capability) -> Capability {
        Capability::networked(true)
    }
}

/// Counts what is put in.
#[derive(Debug)]
struct Counted(Arc<dyn SearchIndex>, AtomicU64);

#[async_trait]
impl SearchIndex for Counted {
    fn capability(&self) -> Capability {
        Capability::networked(true)
    }

    async fn index(&self, documents: Vec<SearchDocument>) -> Result<()> {
        self.1.fetch_add(documents.len() as u64, Ordering::SeqCst);
        self.0.index(documents).await
    }

    async fn remove(&self, conversation: &ConversationId, start: u64) -> Result<bool> {
        self.0.remove(conversation, start).await
    }

    async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
        self.0.search(query).await
    }

    async fn clear(&self) -> Result<()> {
        self.0.clear().await
    }

    async fn ready(&self) -> Result<()> {
        self.0.ready().await
    }
}

/// Takes a while, and counts.
#[derive(Debug, Default)]
struct Slow(AtomicU64);

#[async_trait]
impl Transcriber for Slow {
    fn model(&self) -> &str {
        "test/slow"
    }

    fn parallelism(&self) -> usize {
        2
    }

    async fn transcribe(&self, samples: Arc<[i16]>) -> Result<Transcript> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        Echo.transcribe(samples).await
    }
}

/// What the nodes share.
async fn shared() -> (Stores, Arc<Counted>) {
    let mut stores = stores().await;
    let search = Arc::new(Counted(stores.search.clone(), AtomicU64::new(0)));
    stores.bites = Faulty::new(stores.bites.clone(), Arc::new(Networked));
    stores.search = search.clone();
    stores.ephemeral = Arc::new(MemoryEphemeral::new(ticking()));
    (stores, search)
}

async fn node(stores: &Stores, transcriber: Arc<dyn Transcriber>) -> Beep {
    Beep::builder(stores.clone()).transcriber(transcriber).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_bite_is_transcribed_by_one_node_and_indexed_by_one() {
    let (stores, search) = shared().await;
    let engines = [Arc::new(Slow::default()), Arc::new(Slow::default())];
    let nodes = [node(&stores, engines[0].clone()).await, node(&stores, engines[1].clone()).await];
    for n in 1..=200 {
        say(&nodes[n as usize % 2], n, "word").await.unwrap();
    }
    nodes[0].settle().await.unwrap();
    let shares = engines.map(|engine| engine.0.load(Ordering::SeqCst));
    assert_eq!(shares[0] + shares[1], 200, "{shares:?}");
    assert!(shares.iter().all(|share| *share >= 60), "one node did nearly everything: {shares:?}");
    assert_eq!(transcribed(&*stores.bites).await.values().filter(|n| **n == 1).count(), 200);
    assert_eq!(search.1.load(Ordering::SeqCst), 200, "documents were indexed by both nodes");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_ends_leaves_its_work_to_the_others_at_once() {
    let (stores, search) = shared().await;
    let first = Beep::builder(stores.clone()).transcriber(Arc::new(Stuck)).start().await.unwrap();
    for n in 1..=4 {
        say(&first, n, "word").await.unwrap();
    }
    // The first node has all four in hand and the index besides.
    until(|| async { stores.ephemeral.keys("lease:", 10).await.unwrap().len() == 5 }).await;
    let second = node(&stores, Arc::new(Slow::default())).await;
    let begun = tokio::time::Instant::now();
    first.shutdown().await;
    assert_eq!(
        stores.ephemeral.keys("lease:index", 10).await.unwrap().len(),
        0,
        "the lease was not given back"
    );
    second.settle().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(search.1.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_node_had_in_hand_is_done_when_its_lease_ends() {
    let (stores, search) = shared().await;
    let term = Duration::from_secs(10);
    for name in ["lease:index".to_owned(), format!("lease:transcribe:{}:1", crew())] {
        stores.ephemeral.put(&name, "a dead node".into(), term).await.unwrap();
    }
    let beep = node(&stores, Arc::new(Slow::default())).await;
    say(&beep, 1, "word").await.unwrap();
    say(&beep, 2, "word").await.unwrap();
    until(|| async { transcribed(&*stores.bites).await.contains_key(&2) }).await;
    assert!(!transcribed(&*stores.bites).await.contains_key(&1), "the lease of another node was ignored");
    let begun = tokio::time::Instant::now();
    beep.settle().await.unwrap();
    assert!(begun.elapsed() < 2 * term, "{:?}", begun.elapsed());
    assert_eq!(transcribed(&*stores.bites).await.get(&1), Some(&1));
    assert_eq!(search.1.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_long_job_keeps_its_lease() {
    #[derive(Debug, Default)]
    struct Long(AtomicU64);
    #[async_trait]
    impl Transcriber for Long {
        fn model(&self) -> &str {
            "test/long"
        }

        fn parallelism(&self) -> usize {
            2
        }

        async fn transcribe(&self, samples: Arc<[i16]>) -> Result<Transcript> {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(600)).await;
            Echo.transcribe(samples).await
        }
    }
    let (stores, _) = shared().await;
    let engine = Arc::new(Long::default());
    let nodes = [node(&stores, engine.clone()).await, node(&stores, engine.clone()).await];
    say(&nodes[0], 1, "a long story").await.unwrap();
    nodes[1].settle().await.unwrap();
    assert_eq!(engine.0.load(Ordering::SeqCst), 1, "another node began it as well");
}

/// Hears nothing, ever.
#[derive(Debug)]
struct Stuck;

#[async_trait]
impl Transcriber for Stuck {
    fn model(&self) -> &str {
        "test/stuck"
    }

    fn parallelism(&self) -> usize {
        2
    }

    async fn transcribe(&self, _samples: Arc<[i16]>) -> Result<Transcript> {
        std::future::pending().await
    }
}

async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let patience = Duration::from_secs(60);
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(patience, waiting).await.expect("it never holds");
}
