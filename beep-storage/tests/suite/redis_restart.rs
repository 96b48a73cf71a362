//! Redis that hangs, dies and comes back: calls fail in time and only then, and what was spent stays spent.
#![cfg(feature = "store-redis")]

use crate::services::redis::Server;
use beep_core::ErrorKind;
use beep_core::store::Ephemeral;
use beep_storage::redis::RedisEphemeral;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// How long a call may take.
const PROMISED: Duration = Duration::from_secs(2);
/// How long after Redis came back errors may still come.
const RETURN: Duration = Duration::from_secs(5);

async fn open(server: &Server) -> Arc<RedisEphemeral> {
    Arc::new(RedisEphemeral::open(&server.url()).await.unwrap())
}

/// Every call fails as it should, and in time, also when many come at once.
async fn fails_in_time(store: &Arc<RedisEphemeral>) {
    let calls = (0..100).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let (key, value, began) = (format!("k{n}"), Bytes::from("x"), Instant::now());
            let error = match n % 7 {
                0 => store.put(&key, value, MINUTE).await.unwrap_err(),
                1 => store.put_new(&key, value, MINUTE).await.unwrap_err(),
                2 => store.get(&key).await.unwrap_err(),
                3 => store.take(&key).await.unwrap_err(),
                4 => store.remove(&key).await.unwrap_err(),
                5 => store.count(&key, MINUTE).await.unwrap_err(),
                _ => store.keys("", 10).await.unwrap_err(),
            };
            assert!(began.elapsed() < PROMISED, "{:?}: {error}", began.elapsed());
            assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true), "{error}");
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

/// Until a call succeeds again.
async fn returns(store: &RedisEphemeral) {
    let began = Instant::now();
    while let Err(e) = store.put("back", Bytes::new(), MINUTE).await {
        assert!(began.elapsed() < RETURN, "{e}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_not_waited_for() {
    let Some(server) = Server::start(&[]).await else { return };
    let (store, idle) = (open(&server).await, open(&server).await);
    server.halt();
    fails_in_time(&store).await;
    // New connections hang as well.
    fails_in_time(&store).await;
    let began = Instant::now();
    let opened = RedisEphemeral::open(&server.url()).await.unwrap();
    assert!(began.elapsed() < PROMISED);
    server.go_on();
    for store in [&*store, &idle, &opened] {
        returns(store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_away_is_not_waited_for() {
    let Some(mut server) = Server::start(&[]).await else { return };
    let (store, idle) = (open(&server).await, open(&server).await);
    server.kill();
    fails_in_time(&store).await;
    let opened = open(&server).await;
    server.restart().await;
    // Whoever asked for nothing meanwhile does not notice: the connection is known to be gone.
    idle.put("a", Bytes::from("x"), MINUTE).await.unwrap();
    for store in [&*store, &opened] {
        returns(store).await;
    }
    assert_eq!(opened.get("a").await.unwrap().unwrap(), "x");
}

/// A snapshot from before holds codes that were spent since, and counts that went on.
#[tokio::test]
async fn a_snapshot_brings_nothing_back() {
    let Some(mut server) = Server::start(&["--save", "3600 1"]).await else { return };
    let store = open(&server).await;
    store.put("code", Bytes::from("c"), MINUTE).await.unwrap();
    store.count("tries", MINUTE).await.unwrap();
    server.told("SAVE").await;
    store.take("code").await.unwrap().unwrap();
    server.kill();
    server.restart().await;
    assert_ne!(server.told("DBSIZE").await, redis::Value::Int(0), "the snapshot was read");
    assert_eq!(store.take("code").await.unwrap(), None);
    assert_eq!(store.keys("", 10).await.unwrap(), Vec::<String>::new());
    assert_eq!(store.count("tries", MINUTE).await.unwrap(), 1);
}

#[tokio::test]
async fn an_emptied_redis_goes_on_as_an_empty_one() {
    let Some(server) = Server::start(&[]).await else { return };
    let store = open(&server).await;
    store.put("code", Bytes::from("c"), MINUTE).await.unwrap();
    store.count("n", MINUTE).await.unwrap();
    server.told("FLUSHALL").await;
    server.told("SCRIPT FLUSH").await;
    assert_eq!(store.take("code").await.unwrap(), None);
    assert_eq!(store.count("n", MINUTE).await.unwrap(), 1);
    assert_eq!(store.count("n", MINUTE).await.unwrap(), 2);
}

/// What the callers of the test below saw.
#[derive(Default)]
struct Seen {
    errors: Mutex<Vec<(Instant, String)>>,
    /// Of which run, the number, and when it was answered.
    counts: Mutex<Vec<(u64, u64, Instant)>>,
    /// How often each code was got.
    taken: Mutex<HashMap<u64, u32>>,
    slowest: Mutex<Duration>,
}

impl Seen {
    fn errors<T>(&self, began: Instant, answer: beep_core::Result<T>) -> Option<T> {
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = slowest.max(began.elapsed());
        answer
            .map_err(|e| {
                assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}");
                self.errors.lock().unwrap().push((Instant::now(), e.to_string()));
            })
            .ok()
    }
}

/// Counts, and puts codes that it and others take, until told to stop.
async fn caller(
    nodes: [Arc<RedisEphemeral>; 2],
    seen: Arc<Seen>,
    run: Arc<AtomicU64>,
    codes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::SeqCst) {
        let now = run.load(Ordering::SeqCst);
        let began = Instant::now();
        let counted = nodes[0].count(&format!("n{now}"), MINUTE).await;
        if let Some(count) = seen.errors(began, counted) {
            seen.counts.lock().unwrap().push((now, count, Instant::now()));
        }
        let code = codes.fetch_add(1, Ordering::SeqCst);
        let key = format!("code{code}");
        let began = Instant::now();
        seen.errors(began, nodes[0].put_new(&key, Bytes::from("c"), MINUTE).await);
        let takers = (0..4).map(|n| {
            let (node, seen, key) = (nodes[n % 2].clone(), seen.clone(), key.clone());
            tokio::spawn(async move {
                let began = Instant::now();
                if let Some(Some(_)) = seen.errors(began, node.take(&key).await) {
                    *seen.taken.lock().unwrap().entry(code).or_default() += 1;
                }
            })
        });
        for taker in takers.collect::<Vec<_>>() {
            taker.await.unwrap();
        }
    }
}

/// R7. `BEEP_RESTARTS=20` for the whole run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_redis_killed_and_restarted_under_load() {
    let restarts: u64 = std::env::var("BEEP_RESTARTS").map_or(5, |n| n.parse().unwrap());
    let Some(mut server) = Server::start(&[]).await else { return };
    let nodes = [open(&server).await, open(&server).await];
    let (seen, run, codes) = (Arc::new(Seen::default()), Arc::default(), Arc::default());
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let nodes = [nodes[n % 2].clone(), nodes[(n + 1) % 2].clone()];
            tokio::spawn(caller(nodes, seen.clone(), Arc::clone(&run), Arc::clone(&codes), stop.clone()))
        })
        .collect();
    let mut outages = Vec::new();
    for n in 0..restarts {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let killed = Instant::now();
        server.kill();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.restart().await;
        outages.push((killed, Instant::now()));
        // What is counted from here on is counted by this run of the server.
        run.store(n + 1, Ordering::SeqCst);
        for node in &nodes {
            returns(node).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }

    let errors = seen.errors.lock().unwrap();
    let latest = |at: Instant| {
        let outage = outages.iter().rev().find(|(killed, _)| at >= *killed);
        outage.map(|(_, back)| at.saturating_duration_since(*back))
    };
    let mut after = Duration::ZERO;
    for (at, error) in errors.iter() {
        after = after.max(latest(*at).unwrap_or_else(|| panic!("before any outage: {error}")));
    }
    assert!(after <= RETURN, "an error {after:?} after the return");
    let slowest = *seen.slowest.lock().unwrap();
    assert!(slowest < PROMISED, "{slowest:?}");

    let twice = seen.taken.lock().unwrap().values().filter(|n| **n > 1).count();
    assert_eq!(twice, 0, "a code was spent twice");
    let mut given = HashSet::new();
    let counts = seen.counts.lock().unwrap();
    for (run, count, at) in counts.iter() {
        // A call that an outage met may have been counted by the next run.
        if outages.get(*run as usize).is_none_or(|(killed, _)| at < killed) {
            assert!(given.insert((*run, *count)), "{count} was counted twice in run {run}");
        }
    }
    println!(
        "goal=redis-restarts value={} errors={} last_error_after_return={after:?} slowest={slowest:?} counts={} codes={}",
        outages.len(),
        errors.len(),
        counts.len(),
        seen.taken.lock().unwrap().len()
    );
    assert!(given.len() > 100 && !seen.taken.lock().unwrap().is_empty(), "there was load");
}
