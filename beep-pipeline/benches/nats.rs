//! Fan-out over NATS: log entries published by one node until two others have heard of them, beside bare async-nats doing
//! the same: the same messages to the same kind of stream, acknowledged, with an ordered consumer each.
//!
//! Both wait after each window of entries until everybody has heard it, so neither gains by leaving any out.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

#[path = "../../beep-storage/tests/services/nats.rs"]
#[allow(dead_code)] // the tests use the rest
mod nats;
#[path = "../../beep-storage/tests/services/skip.rs"]
mod skip;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use beep_core::bite::{BiteKey, Label};
use beep_core::bus::{Bus, Signal, Subscription};
use beep_core::event::{Event, LogEntry};
use beep_core::id::Identity;
use beep_pipeline::bus::NatsBus;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use nats::NatsServer;
use skip::skip;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Entries that are published before everybody is waited for: what a busy node has under way at once.
const WINDOW: u64 = 256;
const WINDOWS: u64 = 20;
/// Who hears, besides who publishes.
const OTHERS: usize = 2;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let Some(server) = NatsServer::start() else { return ExitCode::SUCCESS };
        let rounds = std::env::var("BEEP_FIGURES_ROUNDS").map_or(5, |n| n.parse().unwrap());
        let (mut beep, mut bare) = (Beep::start(&server).await, Bare::start(&server).await);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // The first turns are not counted: connections and streams are fresh.
        for round in 0..=rounds {
            let (a, b) = (beep.turn().await, bare.turn().await);
            if round > 0 {
                ours.push(a);
                theirs.push(b);
            }
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let value = ours / theirs;
        println!(
            "goal=nats-fan-out value={value:.3} limit=0.7 limit_is=at-least {} beep={ours:.0}/s bare={theirs:.0}/s",
            if value >= 0.7 { "reached" } else { "MISSED" }
        );
        let report = std::env::var("BEEP_FIGURES").is_ok_and(|mode| mode == "report");
        ExitCode::from(u8::from(value < 0.7 && !report))
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn entry(seq: u64) -> LogEntry {
    let author = Identity { user: "u-alice".parse().unwrap(), device: "phone".parse().unwrap() };
    let key = BiteKey::new(Label::Bite, "c-crew".parse().unwrap(), 1_700_000_000_000 + seq);
    LogEntry { seq, at: 1_700_000_000_000, event: Event::Stored { key, author } }
}

/// Windows until everybody heard them; entries per second.
async fn timed<F: AsyncFnMut(u64, u64)>(first: u64, mut window: F) -> f64 {
    let begun = Instant::now();
    for n in 0..WINDOWS {
        let from = first + n * WINDOW;
        window(from, from + WINDOW).await;
    }
    (WINDOW * WINDOWS) as f64 / begun.elapsed().as_secs_f64()
}

struct Beep {
    publisher: NatsBus,
    _others: Vec<NatsBus>,
    heard: Vec<Box<dyn Subscription>>,
    next: u64,
}

impl Beep {
    async fn start(server: &NatsServer) -> Self {
        let open = || async { NatsBus::open(&server.url("stream=OURS&prefix=ours")).await.unwrap() };
        let publisher = open().await;
        let (mut others, mut heard) = (Vec::new(), Vec::new());
        for _ in 0..OTHERS {
            let other = open().await;
            heard.push(other.subscribe().await.unwrap());
            others.push(other);
        }
        Self { publisher, _others: others, heard, next: 1 }
    }

    async fn turn(&mut self) -> f64 {
        let Self { publisher, heard, next, .. } = self;
        let first = *next;
        *next += WINDOW * WINDOWS;
        timed(first, async |from, to| {
            for seq in from..to {
                publisher.publish(&entry(seq)).await.unwrap();
            }
            join_all(heard.iter_mut().map(|heard| async move {
                while !matches!(heard.next().await, Signal::Grown(seq) if seq >= to - 1) {}
            }))
            .await;
        })
        .await
    }
}

struct Bare {
    publisher: Context,
    heard: Vec<Ordered>,
    next: u64,
}

impl Bare {
    async fn start(server: &NatsServer) -> Self {
        let connect = || async { jetstream::new(async_nats::connect(server.address()).await.unwrap()) };
        let publisher = connect().await;
        let config = Config {
            name: "THEIRS".into(),
            subjects: vec!["theirs.>".into()],
            max_messages: 100_000,
            duplicate_window: Duration::from_secs(120),
            ..Config::default()
        };
        publisher.get_or_create_stream(config).await.unwrap();
        let mut heard = Vec::new();
        for _ in 0..OTHERS {
            let context = connect().await;
            let stream = context.get_stream("THEIRS").await.unwrap();
            let consumer = OrderedConfig {
                deliver_subject: context.client().new_inbox(),
                deliver_policy: DeliverPolicy::New,
                ..OrderedConfig::default()
            };
            heard.push(stream.create_consumer(consumer).await.unwrap().messages().await.unwrap());
        }
        Self { publisher, heard, next: 1 }
    }

    async fn turn(&mut self) -> f64 {
        let Self { publisher, heard, next } = self;
        let first = *next;
        *next += WINDOW * WINDOWS;
        timed(first, async |from, to| {
            let mut acks = Vec::new();
            for seq in from..to {
                let payload: Bytes = serde_json::to_vec(&entry(seq)).unwrap().into();
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("theirs-{seq}"));
                acks.push(publisher.publish_with_headers("theirs.log.bite", headers, payload).await.unwrap());
            }
            let acknowledged = join_all(acks.into_iter().map(|ack| async move { drop(ack.await.unwrap()) }));
            let everywhere = join_all(heard.iter_mut().map(|heard| async move {
                for _ in from..to {
                    heard.next().await.unwrap().unwrap();
                }
            }));
            tokio::join!(acknowledged, everywhere);
        })
        .await
    }
}
