//! R1: `kill -9` during ingest, again and again. What was acknowledged is there afterwards, whole, once.
//!
//! `BEEP_TORTURE_CYCLES` sets the number of kills (5; CI 100; nightly 1,000), `BEEP_TORTURE_SEED` repeats a run.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

#[allow(dead_code)] // the storage crate's tests use the rest
#[path = "../../beep-storage/tests/services/mod.rs"]
mod services;
mod support;

use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::clock::{Clock, System};
use beep_core::event::{Event, LogEntry};
use beep_core::id::ConversationId;
use beep_core::store::{BiteStore, BiteStoreExt};
use beep_pipeline::samples::SAMPLES;
use beep_pipeline::workers::TRANSCRIBE;
use beep_storage::StorageConfig;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use support::http::Client;
use support::installation::{Installation, Person, wav};
use support::server::Server;
use support::{libvosk, required, setting, skipped};

const CLIENTS: usize = 8;
/// The server is killed this many milliseconds after it was ready.
const KILL_AFTER_MS: std::ops::RangeInclusive<u64> = 20..=800;
/// Starts that clients choose lie below; the server's own (milliseconds since 1970) above.
const CHOSEN: u64 = 1 << 40;
const READY_LIMIT: Duration = Duration::from_secs(2);

/// Both runs measure times and load both cores: one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// What clients know. Written before a request is sent and after its answer was read, outside the killed process.
#[derive(Default)]
struct Ledger {
    /// Start and digest of what was answered with 201.
    acknowledged: Vec<(u64, Digest)>,
    /// What was PUT at a start, acknowledged or not.
    put: HashMap<u64, Digest>,
    /// What was POSTed, acknowledged or not.
    posted: HashSet<Digest>,
    /// Answers that were neither 201 nor a connection that broke.
    refused: Vec<String>,
}

/// What reading back found.
#[derive(Default, Debug)]
struct Findings {
    intact: u64,
    lost: u64,
    corrupt: u64,
    unacknowledged_visible: u64,
    half: u64,
}

fn seed() -> u64 {
    let seed = setting("BEEP_TORTURE_SEED", System.now());
    println!("seed={seed}: repeat with BEEP_TORTURE_SEED={seed}");
    seed
}

#[test]
fn acknowledged_bites_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    survive_kills("R1", &Installation::create(dir.path(), CLIENTS), setting("BEEP_TORTURE_CYCLES", 5));
}

/// The same with the record in Postgres and larger bodies beside it.
#[test]
fn acknowledged_bites_survive_kill_9_on_postgres() {
    let Some(postgres) = services::postgres::Server::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let storage = StorageConfig {
        bites: postgres.url(),
        directory: postgres.url(),
        search: postgres.url(),
        blobs: postgres.url(),
        bodies: format!("file:{}", dir.path().join("bodies").display()),
        ..StorageConfig::embedded(dir.path())
    };
    let installation = Installation::create_in(dir.path(), storage, CLIENTS);
    survive_kills("R1-postgres", &installation, setting("BEEP_TORTURE_CYCLES", 5).div_ceil(5));
}

fn survive_kills(goal: &str, installation: &Installation, cycles: u64) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = seed();
    let mut rng = SmallRng::seed_from_u64(seed);
    let settings = installation.settings();
    let settings: Vec<_> = settings.iter().map(|(name, url)| (name.as_str(), url.as_str())).collect();
    let start = || Server::start(installation.dir(), &settings);
    let ledger = Mutex::new(Ledger::default());
    let next = AtomicU64::new(1);
    let mut ready = Vec::new();
    let mut each_cycle = Findings::default();
    let mut bad_cycles = 0;
    let mut last = Span::default();
    for cycle in 0..cycles {
        let mut server = start();
        ready.push(server.ready_after);
        let found = read_back(&server, installation, &ledger.lock().unwrap(), &last);
        bad_cycles += u64::from(!found.good());
        each_cycle.add(&found);
        last = Span::begin(&ledger.lock().unwrap(), &next);
        let life = Duration::from_millis(rng.random_range(KILL_AFTER_MS));
        thread::scope(|scope| {
            for (n, person) in installation.people.iter().enumerate() {
                let rng = SmallRng::seed_from_u64(seed ^ (cycle << 8) ^ (n as u64 + 1));
                let (ledger, next, address) = (&ledger, &next, server.address);
                let room = &installation.conversation;
                scope.spawn(move || speak(address, room, person, rng, ledger, next));
            }
            thread::sleep(life); // not for luck: this is the moment of the kill
            server.kill();
        });
        last.end(&ledger.lock().unwrap(), &next);
    }
    let server = start();
    ready.push(server.ready_after);
    let ledger = ledger.into_inner().unwrap();
    let found = read_back(&server, installation, &ledger, &Span::all(&ledger, &next));
    bad_cycles += u64::from(!found.good());
    drop(server);
    let stored = check_log(installation, &ledger);

    ready.sort();
    let p99 = ready[(ready.len() - 1) * 99 / 100];
    let fail = bad_cycles + u64::from(p99 > READY_LIMIT) + ledger.refused.len() as u64;
    println!(
        "goal={goal} pass={} fail={fail} cycles={cycles} acknowledged={} lost={} corrupt={} half={} \
         unacknowledged_visible={} stored={stored} ready_p99_ms={} limit_ms={} seed={seed}",
        cycles - bad_cycles.min(cycles),
        ledger.acknowledged.len(),
        found.lost + each_cycle.lost,
        found.corrupt + each_cycle.corrupt,
        found.half + each_cycle.half,
        found.unacknowledged_visible,
        p99.as_millis(),
        READY_LIMIT.as_millis(),
    );
    assert_eq!(ledger.refused, [""; 0], "a client was refused without reason");
    assert!(found.good() && bad_cycles == 0, "at the end {found:?}; after each kill {each_cycle:?}");
    assert!(
        ledger.acknowledged.len() as u64 > cycles,
        "hardly anything was acknowledged: the run proves nothing"
    );
    assert!(p99 <= READY_LIMIT, "restart to ready took {p99:?}");
}

impl Findings {
    fn good(&self) -> bool {
        self.lost + self.corrupt + self.half == 0
    }

    fn add(&mut self, other: &Self) {
        self.intact += other.intact;
        self.lost += other.lost;
        self.corrupt += other.corrupt;
        self.unacknowledged_visible += other.unacknowledged_visible;
        self.half += other.half;
    }
}

/// What one cycle added to the ledger.
#[derive(Default)]
struct Span {
    acknowledged: std::ops::Range<usize>,
    chosen: std::ops::Range<u64>,
}

impl Span {
    fn begin(ledger: &Ledger, next: &AtomicU64) -> Self {
        let (n, number) = (ledger.acknowledged.len(), next.load(Ordering::SeqCst));
        Self { acknowledged: n..n, chosen: number..number }
    }

    fn end(&mut self, ledger: &Ledger, next: &AtomicU64) {
        self.acknowledged.end = ledger.acknowledged.len();
        self.chosen.end = next.load(Ordering::SeqCst);
    }

    fn all(ledger: &Ledger, next: &AtomicU64) -> Self {
        Self { acknowledged: 0..ledger.acknowledged.len(), chosen: 1..next.load(Ordering::SeqCst) }
    }
}

/// The start of the n-th chosen bite: every one different, and in no order, so that pages of the tree split anywhere.
fn chosen_start(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % CHOSEN
}

/// One client: sends bites until the connection breaks.
fn speak(
    address: std::net::SocketAddr,
    room: &ConversationId,
    person: &Person,
    mut rng: SmallRng,
    ledger: &Mutex<Ledger>,
    next: &AtomicU64,
) {
    let Ok(mut client) = Client::connect(address) else { return };
    loop {
        let body = noise(&mut rng);
        let digest = Digest::of(&body);
        let answer = if rng.random_ratio(1, 5) {
            ledger.lock().unwrap().posted.insert(digest);
            client.send("POST", &format!("/publish/conversation/{room}"), &person.token, &body)
        } else {
            let start = chosen_start(next.fetch_add(1, Ordering::SeqCst));
            ledger.lock().unwrap().put.insert(start, digest);
            client.send("PUT", &format!("/publish/conversation/{room}/start/{start}"), &person.token, &body)
        };
        let Ok(answer) = answer else { return };
        let mut ledger = ledger.lock().unwrap();
        match (answer.status, answer.json()["start"].as_u64()) {
            (201, Some(start)) => ledger.acknowledged.push((start, digest)),
            _ => ledger.refused.push(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))),
        }
    }
}

/// A WAV file of 100 bytes to 64 KiB with random samples; short ones are as likely as long ones.
fn noise(rng: &mut SmallRng) -> Vec<u8> {
    let size = 2f64.powf(rng.random_range(100f64.log2()..=16.0)) as usize;
    wav(size / 2 * 2, |samples| rng.fill_bytes(samples))
}

/// Compares what clients know of this part with what the server answers.
fn read_back(server: &Server, installation: &Installation, ledger: &Ledger, part: &Span) -> Findings {
    let acknowledged = &ledger.acknowledged[part.acknowledged.clone()];
    let known: HashSet<u64> = acknowledged.iter().map(|(start, _)| *start).collect();
    let unsure: Vec<(u64, Digest)> = part
        .chosen
        .clone()
        .map(chosen_start)
        .filter(|start| !known.contains(start))
        .filter_map(|start| Some((start, *ledger.put.get(&start)?)))
        .collect();
    let mut found = Findings::default();
    thread::scope(|scope| {
        let reader = |all: Vec<(u64, Digest)>, sure: bool| {
            scope.spawn(move || {
                let mut client = Client::connect(server.address).unwrap();
                let mut found = Findings::default();
                for (start, digest) in all {
                    let token = &installation.people[0].token;
                    let path = format!("/bite/conversation/{}/start/{start}", installation.conversation);
                    let answer = client.get(&path, token).unwrap();
                    match (answer.status, Digest::of(&answer.body) == digest, sure) {
                        (200, true, true) => found.intact += 1,
                        (200, true, false) => found.unacknowledged_visible += 1,
                        (404, _, true) => found.lost += 1,
                        (404, _, false) => {}
                        (_, _, true) => found.corrupt += 1,
                        (_, _, false) => found.half += 1,
                    }
                }
                found
            })
        };
        let (first, second) = acknowledged.split_at(acknowledged.len() / 2);
        let readers = [reader(first.to_vec(), true), reader(second.to_vec(), true), reader(unsure, false)];
        readers.into_iter().for_each(|r| found.add(&r.join().unwrap()));
    });
    found
}

/// The log as the library sees it: no gaps, every record once, everything acknowledged in it, nothing that nobody sent.
/// Answers how many bites are stored.
fn check_log(installation: &Installation, ledger: &Ledger) -> usize {
    let room = &installation.conversation;
    installation.with_stores(async |stores| {
        let entries = whole_log(&*stores.bites).await;
        let mut starts = HashSet::new();
        for entry in &entries {
            let Event::Stored { key, .. } = &entry.event else { panic!("nobody did {entry:?}") };
            assert_eq!(key.label, Label::Bite);
            assert!(starts.insert(key.start), "stored twice: {entry:?}");
        }
        let acknowledged: HashSet<u64> = ledger.acknowledged.iter().map(|(start, _)| *start).collect();
        assert_eq!(acknowledged.len(), ledger.acknowledged.len(), "a start was given twice");
        assert!(acknowledged.is_subset(&starts), "an acknowledged bite is not in the log");
        for start in starts.difference(&acknowledged) {
            let bite =
                stores.bites.get(&BiteKey::new(Label::Bite, room.clone(), *start)).await.unwrap().unwrap();
            let digest = Digest::of(&bite.body);
            let sent = ledger.posted.contains(&digest) || ledger.put.get(start) == Some(&digest);
            assert!(sent, "nobody sent what stands at {start}");
        }
        let listed = stores.bites.starts(Label::Bite, room).await.unwrap();
        assert_eq!(listed.len(), starts.len(), "the log and the records differ");
        let (mut from, mut checked) = (None, 0);
        loop {
            let page = stores.bites.verify(from, 10_000).await.unwrap();
            assert_eq!(page.corrupt, [], "damaged records");
            checked += page.checked;
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(checked, starts.len() as u64);
        starts.len()
    })
}

/// Every entry, after checking that they are numbered 1, 2, 3…
async fn whole_log(bites: &dyn BiteStore) -> Vec<LogEntry> {
    let mut entries: Vec<LogEntry> = Vec::new();
    let each = &mut |entry: LogEntry| {
        entries.push(entry);
        ControlFlow::Continue(())
    };
    bites.replay(0, each).await.unwrap();
    for (n, entry) in entries.iter().enumerate() {
        assert_eq!(entry.seq, n as u64 + 1, "the log has a gap");
    }
    assert_eq!(bites.tail().await.unwrap(), entries.len() as u64);
    entries
}

#[test]
fn transcription_goes_on_after_kill_9() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(library) = libvosk() else {
        assert!(!required("vosk"), "BEEP_REQUIRE asks for vosk, but there is no libvosk: set VOSK_LIB");
        skipped("transcription after kill -9: no libvosk; `beep-cli speech install`, VOSK_LIB");
        return;
    };
    let cycles = setting("BEEP_TORTURE_CYCLES", 5).div_ceil(10).max(3);
    let mut rng = SmallRng::seed_from_u64(seed());
    let dir = tempfile::tempdir().unwrap();
    let installation = Installation::create(dir.path(), 1);
    let library = library.display().to_string();
    let settings = [("BEEP_TRANSCRIBE_ENABLED", "true"), ("BEEP_TRANSCRIBE_LIBRARY", library.as_str())];
    // Which sample was acknowledged at which start.
    let mut said: HashMap<u64, &str> = HashMap::new();
    let mut cursor = 0;
    for cycle in 0..cycles {
        let mut server = Server::start(dir.path(), &settings);
        assert!(transcribes(&server), "transcription is off:\n{}", server.log());
        let life = Duration::from_millis(rng.random_range(KILL_AFTER_MS));
        let killed_at = Instant::now() + life;
        publish_samples(&server, &installation, 1_000 * (cycle + 1), 4, &mut said);
        thread::sleep(killed_at.saturating_duration_since(Instant::now()));
        server.kill();
        let now = installation.with_stores(async |stores| {
            let (cursor, tail) =
                (stores.bites.cursor(TRANSCRIBE).await.unwrap(), stores.bites.tail().await.unwrap());
            assert!(cursor <= tail, "the cursor is at {cursor}, behind the end of the log at {tail}");
            cursor
        });
        assert!(now >= cursor, "the cursor went back from {cursor} to {now}");
        cursor = now;
    }
    // A quiet period: nothing is killed any more, and everything that was ever acknowledged gets its transcript.
    let server = Server::start(dir.path(), &settings);
    publish_samples(&server, &installation, 1_000 * (cycles + 1), SAMPLES.len() as u64, &mut said);
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut right = 0;
    for (start, text) in &said {
        let heard = transcript(&server, &installation, *start, deadline);
        assert_eq!(heard, *text, "at {start}");
        right += 1;
    }
    drop(server);
    installation.with_stores(async |stores| {
        let mut transcripts: HashMap<u64, u64> = HashMap::new();
        for entry in whole_log(&*stores.bites).await {
            match entry.event {
                Event::Stored { key, .. } if key.label == Label::Transcription => {
                    *transcripts.entry(key.start).or_default() += 1;
                }
                Event::Stored { .. } => {}
                other => panic!("nobody did {other:?}"),
            }
        }
        for start in said.keys() {
            assert_eq!(transcripts.get(start), Some(&1), "transcripts of the bite at {start} in the log");
        }
        assert!(stores.bites.cursor(TRANSCRIBE).await.unwrap() >= cursor);
    });
    println!("goal=R1-transcribe pass={right} fail={} cycles={cycles}", said.len() - right);
}

fn transcribes(server: &Server) -> bool {
    let ready = Client::connect(server.address).unwrap().get("/readyz", "none").unwrap();
    ready.json()["speech"]["transcription"] == "on"
}

/// PUTs the first so many samples; those that were acknowledged go into `said`.
fn publish_samples(
    server: &Server,
    installation: &Installation,
    first: u64,
    count: u64,
    said: &mut HashMap<u64, &'static str>,
) {
    let mut client = Client::connect(server.address).unwrap();
    for (start, sample) in (first..first + count).zip(SAMPLES.iter().cycle()) {
        let path = format!("/publish/conversation/{}/start/{start}", installation.conversation);
        let answer = client.send("PUT", &path, &installation.people[0].token, sample.wav).unwrap();
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        said.insert(start, sample.text);
    }
}

/// The transcript of a bite, waited for.
fn transcript(server: &Server, installation: &Installation, start: u64, deadline: Instant) -> String {
    let mut client = Client::connect(server.address).unwrap();
    let path = format!("/transcription/conversation/{}/start/{start}", installation.conversation);
    loop {
        let answer = client.get(&path, &installation.people[0].token).unwrap();
        match answer.status {
            200 => return String::from_utf8(answer.body).unwrap(),
            202 if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            status => panic!("no transcript at {start}: {status} {}", String::from_utf8_lossy(&answer.body)),
        }
    }
}
