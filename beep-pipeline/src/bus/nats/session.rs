//! The task behind the bus: sends what waits, rings for what comes, and begins anew whenever something breaks.

use super::Outbox;
use super::options::NatsOptions;
use super::stream::{Link, away};
use super::subscription::Bell;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use beep_core::bite::Label;
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::{Error, ErrorKind, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Messages that were sent and not yet acknowledged.
const IN_FLIGHT: usize = 256;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// After so many looks at a link it holds, even if nobody says anything.
const HOLDS: u32 = 5;

/// Runs until dropped. Says when the first try is over, however it went.
pub(super) async fn run(
    options: NatsOptions,
    bell: Arc<Bell>,
    outbox: Arc<Outbox>,
    tried: oneshot::Sender<()>,
) {
    let mut tried = Some(tried);
    let mut health = Health::default();
    loop {
        let over = match Link::establish(&options).await {
            Ok(link) => {
                health.meet(&link);
                // What others published in between was not heard here.
                bell.gap();
                drop(tried.take());
                hold(link, &options, &bell, &outbox, &mut health).await
            }
            Err(e) => e,
        };
        health.broke(&over);
        drop(tried.take());
        tokio::time::sleep(health.pause).await;
        health.pause = (health.pause * 2).min(MAX_PAUSE);
    }
}

/// Uses this link until something breaks; returns what.
async fn hold(
    mut link: Link,
    options: &NatsOptions,
    bell: &Bell,
    outbox: &Outbox,
    health: &mut Health,
) -> Error {
    let lookout = link.lookout();
    let mut look = pin!(lookout.look());
    let mut looks = 0;
    let mut acks = FuturesUnordered::new();
    let mut unconfirmed: BTreeMap<Seq, LogEntry> = BTreeMap::new();
    let mut position = None;
    let over = loop {
        tokio::select! {
            entry = outbox.next(), if acks.len() < IN_FLIGHT => {
                let sent = send(&link.context, options, &entry).await;
                let seq = entry.seq;
                unconfirmed.insert(seq, entry);
                match sent {
                    Ok(ack) => acks.push(async move { (seq, ack.await) }),
                    Err(e) => break e,
                }
            }
            Some((seq, ack)) = acks.next() => match ack {
                Ok(_) => {
                    unconfirmed.remove(&seq);
                    health.holds();
                }
                Err(e) => break away("NATS did not take a log entry").with("seq", seq).with_source(e),
            },
            message = link.messages.next() => match message {
                Some(Ok(message)) => {
                    health.holds();
                    let place = message.info().map_or(0, |info| info.stream_sequence);
                    // What was removed before it came here leaves a hole.
                    if position.is_some_and(|before| place != before + 1) {
                        bell.gap();
                    }
                    position = Some(place);
                    match decode(&message.payload) {
                        Ok(seq) => bell.grown(seq),
                        Err(e) => health.garbage(&message.subject, &e),
                    }
                }
                Some(Err(e)) => break away("NATS stopped to deliver").with_source(e),
                None => break away("NATS ended our subscription"),
            },
            looked = &mut look => {
                look.set(lookout.look());
                looks += 1;
                match looked {
                    Ok(()) if looks == HOLDS => health.holds(),
                    Ok(()) => {}
                    Err(e) => break e,
                }
            }
        }
    };
    // The newest stands for all that may not have arrived; where it did, its id makes it a double.
    if let Some((_, entry)) = unconfirmed.pop_last() {
        outbox.put_back(entry);
    }
    over
}

async fn send(context: &Context, options: &NatsOptions, entry: &LogEntry) -> Result<PublishAckFuture> {
    let what = match &entry.event {
        Event::Stored { key, .. } => match key.label {
            Label::Bite => "bite",
            Label::User => "user",
            Label::Transcription => "transcription",
        },
        Event::Deleted { .. } => "deleted",
        Event::Failed { .. } => "failed",
        _ => "other",
    };
    let payload = serde_json::to_vec(entry).map_err(|e| Error::internal("writing a log entry", e))?;
    let message = PublishMessage::build()
        .payload(payload.into())
        .message_id(format!("{}-{}", options.prefix, entry.seq));
    let sent = context.send_publish(format!("{}.{what}", options.subjects()), message).await;
    sent.map_err(|e| away("NATS did not take a log entry").with("seq", entry.seq).with_source(e))
}

/// How far the log reaches according to a message; [`ErrorKind::Malformed`] when it is none of ours.
pub fn decode(payload: &[u8]) -> Result<Seq> {
    #[derive(Deserialize)]
    struct Heard {
        seq: Seq,
    }
    let heard: Heard = serde_json::from_slice(payload)
        .map_err(|e| Error::new(ErrorKind::Malformed, "this is no log entry").with_source(e))?;
    Ok(heard.seq)
}

/// What was said about NATS in the log of the server: each trouble once.
struct Health {
    /// An outage was warned of and is not over.
    out: bool,
    garbage: bool,
    server: Option<String>,
    pause: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self { out: false, garbage: false, server: None, pause: FIRST_PAUSE }
    }
}

impl Health {
    fn meet(&mut self, link: &Link) {
        let version = link.server().version;
        if self.server.as_ref() == Some(&version) {
            return;
        }
        // Until 2.9 NATS cannot sync before it acknowledges, and later it does not unless told to.
        tracing::info!(
            server = version,
            "NATS is treated as lossy, whatever it acknowledges: it rings the bell, the store is the record"
        );
        self.server = Some(version);
    }

    fn broke(&mut self, why: &Error) {
        if !std::mem::replace(&mut self.out, true) {
            tracing::warn!(error = %why, "NATS is away; nodes find each other's entries by looking at the log, until it is back");
        }
    }

    /// Something went through.
    fn holds(&mut self) {
        self.pause = FIRST_PAUSE;
        if std::mem::replace(&mut self.out, false) {
            tracing::info!("NATS is back");
        }
    }

    fn garbage(&mut self, subject: &str, why: &Error) {
        if !std::mem::replace(&mut self.garbage, true) {
            tracing::warn!(subject, error = %why, "somebody else publishes on our subjects in NATS; that is ignored, and further ones are not told");
        }
    }
}
