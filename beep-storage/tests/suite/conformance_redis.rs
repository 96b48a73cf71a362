//! Redis gives every guarantee of short-lived values, and does what memory does.
#![cfg(feature = "store-redis")]

use crate::services::redis::{Server, Space};
use beep_core::ErrorKind;
use beep_core::clock::ManualClock;
use beep_core::conformance::ephemeral::UnderTest;
use beep_core::store::{Capability, Ephemeral};
use beep_storage::memory::MemoryEphemeral;
use beep_storage::redis::RedisEphemeral;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

async fn store(space: &Space) -> RedisEphemeral {
    RedisEphemeral::open(&space.url()).await.unwrap()
}

/// On a Redis where there is one; without, memory stands in, so that the suite runs, and the skip is said aloud.
async fn ephemeral() -> (UnderTest, Option<Space>) {
    let Some(space) = Space::fresh().await else {
        let clock = Arc::new(ManualClock::at(1_000));
        return (UnderTest::with_clock(Arc::new(MemoryEphemeral::new(clock.clone())), clock), None);
    };
    let pass = Box::new(space.passing());
    (UnderTest { store: Arc::new(store(&space).await), pass }, Some(space))
}

beep_core::ephemeral_suite!(ephemeral);

/// What may be done to a store.
#[derive(Clone, Debug)]
enum Step {
    Put(String, String, Duration),
    PutNew(String, String, Duration),
    Get(String),
    Take(String),
    Remove(String),
    Count(String, Duration),
    Keys(String, usize),
    Pass(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let long = "k".repeat(256);
    let keys: Vec<String> = ["a", "a*", "a?", "[a]", "a[b-c]", "a\\", "a:b", "a\u{0}", "é", &long, "", "b"]
        .map(str::to_owned)
        .into();
    let values = ["", "7", "word", "-1", "3.5", "\u{0}é"].map(str::to_owned);
    let ttls = [Duration::ZERO, Duration::from_micros(999), MINUTE, 60 * MINUTE, Duration::MAX];
    let key = proptest::sample::select(keys);
    let value = proptest::sample::select(values.to_vec());
    let ttl = proptest::sample::select(ttls.to_vec());
    // Far enough from each end, but for those that meet one exactly.
    let pass = proptest::sample::select(vec![Duration::from_secs(25), MINUTE]);
    prop_oneof![
        4 => (key.clone(), value.clone(), ttl.clone()).prop_map(|(k, v, t)| Step::Put(k, v, t)),
        4 => (key.clone(), value, ttl.clone()).prop_map(|(k, v, t)| Step::PutNew(k, v, t)),
        3 => key.clone().prop_map(Step::Get),
        3 => key.clone().prop_map(Step::Take),
        2 => key.clone().prop_map(Step::Remove),
        6 => (key.clone(), ttl).prop_map(|(k, t)| Step::Count(k, t)),
        4 => (key, 0..12usize).prop_map(|(k, n)| Step::Keys(k, n)),
        2 => pass.prop_map(Step::Pass),
    ]
}

/// What a store answers, errors with their kind and sentence.
async fn answer(store: &dyn Ephemeral, step: &Step) -> String {
    fn shown<T: std::fmt::Debug>(answer: beep_core::Result<T>) -> String {
        format!("{:?}", answer.map_err(|e| (e.kind(), e.message().to_owned())))
    }
    let bytes = |text: &String| Bytes::from(text.clone());
    match step {
        Step::Put(key, value, ttl) => shown(store.put(key, bytes(value), *ttl).await),
        Step::PutNew(key, value, ttl) => shown(store.put_new(key, bytes(value), *ttl).await),
        Step::Get(key) => shown(store.get(key).await),
        Step::Take(key) => shown(store.take(key).await),
        Step::Remove(key) => shown(store.remove(key).await),
        Step::Count(key, ttl) => shown(store.count(key, *ttl).await),
        Step::Keys(prefix, limit) => shown(store.keys(prefix, *limit).await),
        Step::Pass(_) => String::new(),
    }
}

#[test]
fn it_answers_as_memory_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let steps = proptest::collection::vec(step(), 1..60);
    TestRunner::new(config)
        .run(&steps, |steps| {
            runtime.block_on(async {
                let Some(space) = Space::fresh().await else { return Ok(()) };
                let (redis, pass) = (store(&space).await, space.passing());
                let clock = Arc::new(ManualClock::at(1_000));
                let memory = MemoryEphemeral::new(clock.clone());
                for (n, step) in steps.iter().enumerate() {
                    if let Step::Pass(by) = step {
                        clock.advance(by.as_millis() as u64);
                        pass(*by).await;
                    }
                    let (expected, found) = (answer(&memory, step).await, answer(&redis, step).await);
                    prop_assert_eq!(expected, found, "step {}: {:?}", n, step);
                }
                Ok(())
            })
        })
        .unwrap();
}

/// By Redis's own clock, and also while it has not swept yet.
#[tokio::test]
async fn what_ended_is_gone_for_every_reader() {
    let Some(server) = Server::start(&[]).await else { return };
    server.told("DEBUG SET-ACTIVE-EXPIRE 0").await;
    let store = RedisEphemeral::open(&server.url()).await.unwrap();
    let soon = Duration::from_millis(30);
    for n in 0..50 {
        store.put(&format!("n{n}"), Bytes::from("x"), soon).await.unwrap();
        store.count(&format!("c{n}"), soon).await.unwrap();
    }
    store.put("stays", Bytes::from("x"), MINUTE).await.unwrap();
    let began = Instant::now();
    while store.get("n49").await.unwrap().is_some() {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(store.keys("", 1_000).await.unwrap(), ["stays"]);
    assert_eq!(store.take("n48").await.unwrap(), None);
    assert!(store.put_new("n47", Bytes::from("y"), MINUTE).await.unwrap());
    assert_eq!(store.count("c0", MINUTE).await.unwrap(), 1);
    assert!(!store.remove("n46").await.unwrap());
}

/// Of 64 on two nodes who want the same, exactly one gets it, and each count is given once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_never_both_win() {
    const RACERS: usize = 64;
    let Some(space) = Space::fresh().await else { return };
    let nodes = [Arc::new(store(&space).await), Arc::new(store(&space).await)];
    assert_eq!(nodes[0].capability(), Capability::networked(false));
    for round in 0..20 {
        nodes[0].put(&format!("code{round}"), Bytes::from("c"), MINUTE).await.unwrap();
        let racers = (0..RACERS).map(|n| {
            let node = nodes[n % 2].clone();
            tokio::spawn(async move {
                let took = node.take(&format!("code{round}")).await.unwrap().is_some();
                let put = node.put_new(&format!("pause{round}"), Bytes::new(), MINUTE).await.unwrap();
                let removed = node.remove("once").await.unwrap();
                (took, put, removed, node.count("all", MINUTE).await.unwrap())
            })
        });
        nodes[1].put("once", Bytes::new(), MINUTE).await.unwrap();
        let (mut took, mut put, mut removed, mut counts) = (0, 0, 0, Vec::new());
        for racer in racers.collect::<Vec<_>>() {
            let (t, p, r, count) = racer.await.unwrap();
            (took, put, removed) = (took + u32::from(t), put + u32::from(p), removed + u32::from(r));
            counts.push(count);
        }
        counts.sort_unstable();
        assert_eq!((took, put, removed), (1, 1, 1));
        assert!(counts.into_iter().eq((round * RACERS as u64 + 1)..=((round + 1) * RACERS as u64)));
    }
}

/// Prefixes keep installations apart, whatever they are made of; none is a pattern.
#[tokio::test]
async fn installations_share_a_database() {
    let Some(server) = Server::start(&[]).await else { return };
    let open = async |prefix: &str| RedisEphemeral::open(&format!("{}?prefix={prefix}", server.url())).await;
    let (one, all, none) = (open("one:").await.unwrap(), open("%2A").await.unwrap(), open("").await.unwrap());
    for store in [&one, &all, &none] {
        store.put("k", Bytes::from(format!("{store:p}")), MINUTE).await.unwrap();
    }
    for store in [&one, &all, &none] {
        assert_eq!(store.get("k").await.unwrap().unwrap(), format!("{store:p}"));
        assert_eq!(store.keys("", 1).await.unwrap(), ["k"]);
        assert!(store.remove("k").await.unwrap());
    }
}

/// More than Redis shows at once.
#[tokio::test]
async fn many_keys_are_listed_in_order() {
    let Some(space) = Space::fresh().await else { return };
    let store = Arc::new(store(&space).await);
    let putting = (0..3_000).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.put(&format!("k{n:04}"), Bytes::new(), MINUTE).await.unwrap() })
    });
    for put in putting.collect::<Vec<_>>() {
        put.await.unwrap();
    }
    let expected: Vec<_> = (0..3_000).map(|n| format!("k{n:04}")).collect();
    assert_eq!(store.keys("k", 1_500).await.unwrap(), expected[..1_500]);
    assert_eq!(store.keys("k", 5_000).await.unwrap(), expected);
    assert_eq!(store.keys("k29", usize::MAX).await.unwrap(), expected[2_900..]);
}

/// What others left under our keys is told apart, not read.
#[tokio::test]
async fn what_is_not_ours_is_a_conflict() {
    let Some(server) = Server::start(&[]).await else { return };
    let store = RedisEphemeral::open(&server.url()).await.unwrap();
    store.put("k", Bytes::new(), MINUTE).await.unwrap();
    let key = match server.told("KEYS *").await {
        redis::Value::Array(keys) => redis::from_redis_value::<String>(keys[0].clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    server.told(&format!("DEL {key}")).await;
    server.told(&format!("LPUSH {key} x")).await;
    assert_eq!(store.get("k").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.count("k", MINUTE).await.unwrap_err().kind(), ErrorKind::Conflict);
}
