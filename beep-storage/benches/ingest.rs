//! How much of bare LMDB's speed is left when bites are stored: `cargo bench -p beep-storage --bench ingest`.
//!
//! Runs of LMDB alone and of [`HeedBites`] alternate on the same disk, because a shared disk changes by the minute;
//! the medians are compared. A goal that is missed fails the run.
//!
//! `BEEP_BENCH_ROUNDS` (5), `BEEP_BENCH_SECONDS` per run (1.5), `BEEP_BENCH_SCAN_BITES` (1,000,000),
//! `BEEP_BENCH_DIR` (the temporary folder).

use beep_core::bite::{Digest, Label, ScanRange};
use beep_core::id::{ConversationId, Identity};
use beep_core::store::{BiteStore, NewBite, Start};
use beep_storage::heed::{HeedBites, HeedEnv};
use bytes::Bytes;
use heed::types::Bytes as Raw;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const SIZE: usize = 4_096;

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A run: puts per second, and microseconds of CPU per put, all threads.
#[derive(Clone, Copy, Debug)]
struct Run {
    rate: f64,
    cpu_us: f64,
}

fn timed(work: impl FnOnce(Duration) -> u64) -> Run {
    let limit = Duration::from_secs_f64(setting("BEEP_BENCH_SECONDS", 1.5));
    let (cpu, begun) = (cpu_seconds(), Instant::now());
    let done = work(limit) as f64;
    Run { rate: done / begun.elapsed().as_secs_f64(), cpu_us: (cpu_seconds() - cpu) * 1e6 / done }
}

/// User and system time of this process; 0 where there is no procfs.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn scratch() -> TempDir {
    let dir: PathBuf = setting("BEEP_BENCH_DIR", std::env::temp_dir().display().to_string()).into();
    tempfile::tempdir_in(dir).expect("a temporary folder")
}

/// LMDB alone, `batch` puts per durable transaction, with keys as long as those of bites.
#[allow(unsafe_code)]
fn bare(batch: u64) -> Run {
    let dir = scratch();
    // SAFETY: the folder is private to this process.
    let env =
        unsafe { heed::EnvOpenOptions::new().map_size(32 << 30).open(dir.path()) }.expect("an environment");
    let txn = env.write_txn().expect("a transaction");
    let db = env
        .create_databases_and_commit(txn, |opener, txn| {
            opener.create_database::<Raw, Raw>(txn, None).map(heed::CommitOrAbort::<_, ()>::Commit)
        })
        .expect("a database")
        .unwrap_commit();
    let body = vec![7u8; SIZE];
    timed(|limit| {
        let (begun, mut seq) = (Instant::now(), 0u64);
        while begun.elapsed() < limit {
            let mut txn = env.write_txn().expect("a transaction");
            for _ in 0..batch {
                let key = [&b"\x01\x22c-0123456789abcdef0123456789abcdef"[..], &seq.to_be_bytes()].concat();
                db.put(&mut txn, &key, &body).expect("a put");
                seq += 1;
            }
            txn.commit().expect("a commit");
        }
        seq
    })
}

fn bite(conversation: &ConversationId, start: u64, body: &Bytes, sha256: Digest) -> NewBite {
    NewBite {
        label: Label::Bite,
        conversation: conversation.clone(),
        start: Start::At(start),
        author: Identity {
            user: "u-0123456789abcdef0123456789abcdef".parse().expect("a user"),
            device: "phone".parse().expect("a device"),
        },
        media_type: "audio/ogg; codecs=opus".into(),
        duration_ms: Some(1_000),
        sha256,
        body: body.clone(),
        received: 1_700_000_000_000,
        idempotency: None,
    }
}

/// Bites by this many callers at once, each waiting for its answer, in this many conversations.
fn ours(runtime: &Runtime, callers: u64, conversations: u64) -> Run {
    let dir = scratch();
    let store = HeedBites::new(&HeedEnv::open(dir.path()).expect("an environment"));
    let names =
        (0..conversations).map(|n| format!("c-0123456789abcdef01234567{n:08x}").parse().expect("a name"));
    let names: Arc<[ConversationId]> = names.collect();
    let body = Bytes::from(vec![7u8; SIZE]);
    let sha256 = Digest::of(&body);
    many(runtime, callers, move |n| {
        let new = bite(&names[(n % names.len() as u64) as usize], n, &body, sha256);
        let store = store.clone();
        async move { drop(store.put(new).await.expect("a put")) }
    })
}

/// What tokio alone costs: a thread answers each caller at once and stores nothing.
fn echo(runtime: &Runtime, callers: u64) -> Run {
    let (queue, requests) = std::sync::mpsc::channel::<oneshot::Sender<()>>();
    let thread = std::thread::spawn(move || {
        requests.into_iter().for_each(|answer| answer.send(()).expect("the caller waits"))
    });
    let run = many(runtime, callers, move |_| {
        let queue = queue.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            queue.send(answer).expect("the thread runs");
            answered.await.expect("an answer");
        }
    });
    thread.join().expect("the thread ends with its queue");
    run
}

fn many<F>(runtime: &Runtime, callers: u64, one: impl Fn(u64) -> F + Clone + Send + 'static) -> Run
where
    F: Future<Output = ()> + Send,
{
    timed(|limit| {
        let (begun, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        runtime.block_on(async {
            let caller = |_| {
                let (one, next) = (one.clone(), next.clone());
                tokio::spawn(async move {
                    while begun.elapsed() < limit {
                        one(next.fetch_add(1, Ordering::Relaxed)).await;
                    }
                })
            };
            for caller in (0..callers).map(caller).collect::<Vec<_>>() {
                caller.await.expect("a caller");
            }
        });
        next.load(Ordering::Relaxed)
    })
}

/// The 99th percentile of scans of 100 starts each in a conversation of this many: within the same thousand starts in
/// its middle, and anywhere in it.
fn scan_p99(runtime: &Runtime, bites: u64) -> (Duration, Duration) {
    let dir = scratch();
    let store = HeedBites::new(&HeedEnv::open(dir.path()).expect("an environment"));
    let conversation: ConversationId = "c-0123456789abcdef0123456789abcdef".parse().expect("a name");
    let body = Bytes::from_static(b"0123456789abcdef");
    let (next, sha256) = (Arc::new(AtomicU64::new(0)), Digest::of(&body));
    runtime.block_on(async {
        let writer = |_| {
            let (store, conversation, body, next) =
                (store.clone(), conversation.clone(), body.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= bites {
                        break;
                    }
                    store.put(bite(&conversation, n, &body, sha256)).await.expect("a put");
                }
            })
        };
        for writer in (0..512).map(writer).collect::<Vec<_>>() {
            writer.await.expect("a writer");
        }
        let scans = async |first: u64, width: u64| {
            let mut took = Vec::new();
            for i in 0..20_000u64 {
                let from = first + i.wrapping_mul(2_654_435_761) % width;
                let range = ScanRange::new(from, u64::MAX, 100).expect("a range");
                let begun = Instant::now();
                store.scan(Label::Bite, &conversation, range).await.expect("a scan");
                took.push(begun.elapsed());
            }
            took.sort_unstable();
            took[took.len() * 99 / 100]
        };
        (scans(bites / 2 - 450, 900).await, scans(0, bites).await)
    })
}

fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the goal; whether it is met. `sign` is 1 where more is better, -1 where less is.
fn goal(name: &str, value: f64, limit: f64, sign: f64, detail: &str) -> bool {
    let met = (value - limit) * sign >= 0.0;
    println!(
        "goal={name} value={value:.2} limit={limit} pass={} fail={} {detail}",
        u8::from(met),
        u8::from(!met)
    );
    met
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (mut bare64, mut ours64, mut bare1, mut ours1, mut spread, mut tokio) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    for round in 0..setting("BEEP_BENCH_ROUNDS", 5) {
        bare64.push(bare(64));
        ours64.push(ours(&runtime, 64, 1));
        bare1.push(bare(1));
        ours1.push(ours(&runtime, 1, 1));
        spread.push(ours(&runtime, 64, 64));
        tokio.push(echo(&runtime, 64));
        eprintln!(
            "round {round}: bare64 {:.0}/s, ours64 {:.0}/s, bare1 {:.0}/s, ours1 {:.0}/s, 64 conversations {:.0}/s",
            bare64[round].rate, ours64[round].rate, bare1[round].rate, ours1[round].rate, spread[round].rate
        );
    }
    let rate = |runs: &[Run]| median(runs, |run| run.rate);
    let cpu = |runs: &[Run]| median(runs, |run| run.cpu_us);
    let ratio =
        |a: &[Run], b: &[Run]| (rate(a) / rate(b), format!("ours={:.0}/s bare={:.0}/s", rate(a), rate(b)));
    let (many, many_detail) = ratio(&ours64, &bare64);
    let (one, one_detail) = ratio(&ours1, &bare1);
    let cpu_detail =
        format!("ours={:.1}us tokio={:.1}us bare={:.1}us", cpu(&ours64), cpu(&tokio), cpu(&bare64));
    let mut met = vec![
        goal("heed-ingest-64", many, 0.7, 1.0, &many_detail),
        goal("heed-ingest-1", one, 0.75, 1.0, &one_detail),
        goal("heed-cpu-per-bite-us", cpu(&ours64) - cpu(&tokio), 20.0, -1.0, &cpu_detail),
    ];
    println!(
        "info=heed-ingest-64-conversations value={:.2} ours={:.0}/s",
        rate(&spread) / rate(&bare64),
        rate(&spread)
    );
    let bites = setting("BEEP_BENCH_SCAN_BITES", 1_000_000);
    let ((few, _), (lots, anywhere)) = (scan_p99(&runtime, 1_000), scan_p99(&runtime, bites));
    let detail = format!("p99 among 1000={few:?}, among {bites}={lots:?}, anywhere in those={anywhere:?}");
    met.push(goal("scan-independence", lots.as_secs_f64() / few.as_secs_f64(), 1.5, -1.0, &detail));
    if met.into_iter().all(|met| met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
