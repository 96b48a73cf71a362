//! Server-sent events beside a bare hyper broadcast: 1,000 subscribers of one room, and one that stops reading.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::figures::{Figures, median, quantile};
use support::numbered_wav;
use support::process::{anon_kib, cpu, raise_file_limit, settled_anon_kib, settled_sockets, sockets};
use support::raw::Raw;
use support::rounds;
use support::running::installation::Installation;
use support::running::server::Server;
use support::running::setting;
use support::streams::{self, Delivered, Publisher, Readers, stall};
use tokio::io::AsyncReadExt;

/// Events back to back, and at 5 per second.
const BURST: u64 = 100;
const PACE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(30);
/// Readers beside one that stalls.
const FEW: usize = 20;

fn main() -> ExitCode {
    if support::raw::served() {
        return ExitCode::SUCCESS;
    }
    raise_file_limit();
    let subscribers = setting("BEEP_FIGURES_SUBSCRIBERS", 1_000) as usize;
    let dir = tempfile::tempdir().unwrap();
    // The last one speaks, the one before stalls.
    let installation = Installation::create(dir.path(), subscribers + 2);
    let mut figures = Figures::default();
    crowd(&installation, subscribers, &mut figures);
    staller(&installation, &mut figures);
    figures.finish()
}

/// What one round with one server showed.
struct Round {
    bytes_per_stream: f64,
    heads_in_time: usize,
    burst_per_s: f64,
    cpu_us: f64,
    p99_us: f64,
}

fn crowd(installation: &Installation, subscribers: usize, figures: &mut Figures) {
    let (mut beep, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let server = Server::start(installation.dir(), &[]);
        let requests = installation.people[..subscribers].iter().map(|p| subscribe("/subscribe", &p.token));
        let event = |n| speak(installation, n);
        beep.push(streams::run(round(server.address, server.pid(), requests.collect(), event)));
        drop(server);
        let raw = Raw::start();
        let requests = installation.people[..subscribers].iter().map(|p| subscribe("/events", &p.token));
        let event = |n| broadcast(installation, n);
        bare.push(streams::run(round(raw.address, raw.pid(), requests.collect(), event)));
    }
    let of =
        |rounds: &[Round], value: fn(&Round) -> f64| median(&rounds.iter().map(value).collect::<Vec<_>>());
    let mut compare = |goal: &str, value: fn(&Round) -> f64, limit: f64, least: bool| {
        let (ours, theirs) = (of(&beep, value), of(&bare, value));
        let detail = format!("beep={ours:.1} hyper={theirs:.1}");
        if least {
            figures.at_least(goal, ours / theirs, limit, &detail);
        } else {
            figures.at_most(goal, ours / theirs, limit, &detail);
        }
    };
    compare("sse-memory-vs-hyper", |r| r.bytes_per_stream, 1.35, false);
    compare("sse-burst-vs-hyper", |r| r.burst_per_s, 0.6, true);
    compare("sse-cpu-vs-hyper", |r| r.cpu_us, 1.2, false);
    compare("sse-p99-vs-hyper", |r| r.p99_us, 1.2, false);
    figures.at_most("sse-bytes-per-stream", of(&beep, |r| r.bytes_per_stream), 16.0 * 1024.0, "");
    let heads = beep.iter().map(|r| r.heads_in_time).min().unwrap_or(0);
    figures.at_least("sse-heads-within-1s", heads as f64, subscribers as f64, "the worst round");
}

/// A fresh server: all connect at once, then events back to back, then at 5 per second.
async fn round(
    address: SocketAddr,
    pid: u32,
    requests: Vec<String>,
    event: impl Fn(u64) -> Vec<u8>,
) -> Round {
    let subscribers = requests.len();
    let mut publisher = Publisher::connect(address).await.unwrap();
    // What the first event costs a process is not the streams'.
    publisher.publish(&event(next_start(1))).await.unwrap();
    let before = settled_anon_kib(pid);
    let readers = Readers::connect(address, requests.into_iter()).await;
    let after = settled_anon_kib(pid);
    assert_eq!(readers.count(), subscribers, "some streams were never opened");

    let burst = publish(&readers, &mut publisher, BURST, Duration::ZERO, &event).await;
    check(&burst, BURST, subscribers);
    let before_paced = cpu(pid);
    let events = setting("BEEP_FIGURES_PACED_EVENTS", 12);
    let paced = publish(&readers, &mut publisher, events, PACE, &event).await;
    let spent = cpu(pid).saturating_sub(before_paced);
    check(&paced, events, subscribers);
    let heads_in_time = readers.answered_within(Duration::from_secs(1));
    readers.close().await;
    Round {
        bytes_per_stream: (after.saturating_sub(before) * 1024) as f64 / subscribers as f64,
        heads_in_time,
        burst_per_s: burst.latencies_us.len() as f64 / burst.seconds,
        cpu_us: spent.as_secs_f64() * 1e6 / paced.latencies_us.len() as f64,
        p99_us: quantile(&paced.latencies_us, 0.99),
    }
}

/// Publishes so many events, one after the other, at this pace, and waits until all readers have them.
async fn publish(
    readers: &Readers,
    publisher: &mut Publisher,
    events: u64,
    pace: Duration,
    event: &impl Fn(u64) -> Vec<u8>,
) -> Delivered {
    let begun = Instant::now();
    readers.begin(next_start(events));
    for n in 0..events {
        tokio::time::sleep_until((begun + pace * n as u32).into()).await;
        let number = readers.sending();
        publisher.publish(&event(number)).await.unwrap();
    }
    readers.delivered(readers.count(), PATIENCE).await
}

fn check(delivered: &Delivered, events: u64, readers: usize) {
    let wanted = events as usize * readers;
    assert_eq!(delivered.latencies_us.len(), wanted, "events that were delivered");
    assert_eq!((delivered.disorder, delivered.ended), (0, 0), "doubled or disordered events, ended streams");
}

/// A start that was never used, with room for so many behind it: the store outlives the rounds.
fn next_start(room: u64) -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1_000_000);
    NEXT.fetch_add(room, Ordering::Relaxed)
}

/// One of 21 readers takes nothing any more while 20 others listen to a busy room.
fn staller(installation: &Installation, figures: &mut Figures) {
    let server = Server::start(installation.dir(), &[]);
    let room = "c-busy".parse().unwrap();
    installation.open_room(&room, FEW + 1);
    // What it has open without any client.
    let idle = settled_sockets(server.pid());
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let (mut cut, mut slowest, mut peak) = (0, Duration::ZERO, 0);
    let rounds = rounds().min(setting("BEEP_FIGURES_STALLS", 5) as usize);
    for _ in 0..rounds {
        without.push(streams::run(busy(installation, &server)));
        streams::run(async {
            let stalled = subscribe("/subscribe", &installation.people[FEW].token);
            let mut stalled = stall(server.address, &stalled).await.unwrap();
            with.push(busy(installation, &server).await);
            peak = peak.max(anon_kib(server.pid()));
            // The server ends it by itself: it is not read here until then.
            let since = Instant::now();
            while sockets(server.pid()) > idle && since.elapsed() < Duration::from_secs(20) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            slowest = slowest.max(since.elapsed());
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(5), stalled.read_to_end(&mut rest)).await;
            cut += usize::from(ended.is_ok());
        });
    }
    let detail = format!("with={:.0}us without={:.0}us readers={FEW}", median(&with), median(&without));
    figures.at_most("sse-staller-p99", median(&with) / median(&without), 1.1, &detail);
    let detail = format!(
        "after the events {:.1} s at most; server at most {:.1} MiB",
        slowest.as_secs_f64(),
        peak as f64 / 1024.0
    );
    figures.at_least("sse-staller-cut-off", cut as f64, rounds as f64, &detail);
}

/// The 99th percentile of 20 readers' latencies, who must miss nothing.
async fn busy(installation: &Installation, server: &Server) -> f64 {
    let requests =
        installation.people[..FEW].iter().map(|p| subscribe("/subscribe?conversation=c-busy", &p.token));
    let readers = Readers::connect(server.address, requests).await;
    let mut publisher = Publisher::connect(server.address).await.unwrap();
    let speaker = &installation.people[0].token;
    let event = |n| put("c-busy", n, speaker);
    let events = setting("BEEP_FIGURES_BUSY_EVENTS", 2_000);
    let delivered = publish(&readers, &mut publisher, events, Duration::from_millis(1), &event).await;
    check(&delivered, events, FEW);
    readers.close().await;
    quantile(&delivered.latencies_us, 0.99)
}

fn subscribe(path: &str, token: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: beep\r\naccept: text/event-stream\r\nauthorization: Bearer {token}\r\n\r\n"
    )
}

fn speak(installation: &Installation, start: u64) -> Vec<u8> {
    let speaker = &installation.people[installation.people.len() - 1];
    put(installation.conversation.as_str(), start, &speaker.token)
}

fn put(room: &str, start: u64, token: &str) -> Vec<u8> {
    let body = numbered_wav(start, 1 << 10);
    let head = format!(
        "PUT /publish/conversation/{room}/start/{start} HTTP/1.1\r\nhost: beep\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// The event that Beep would send, to be sent as it is.
fn broadcast(installation: &Installation, start: u64) -> Vec<u8> {
    let person = &installation.people[installation.people.len() - 1];
    let identity = &person.identity;
    let event = format!(
        "{{\"code\":200,\"type\":\"bite\",\"conversation\":\"{}\",\"start\":{start},\"user\":\"{}\",\"client\":\"{}\",\"message\":\"\"}}",
        installation.conversation, identity.user, identity.device
    );
    let head = format!(
        "POST /publish HTTP/1.1\r\nhost: beep\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        person.token,
        event.len()
    );
    (head + &event).into_bytes()
}
