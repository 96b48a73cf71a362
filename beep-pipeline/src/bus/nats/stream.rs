//! One connection to NATS with our stream and this node's consumer on it. What breaks is thrown away and made anew.

use super::options::{NatsOptions, PATIENCE};
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Stream};
use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::{Client, Event, ServerInfo};
use beep_core::{Error, ErrorKind, Result};
use std::error::Error as StdError;
use std::time::Duration;
use tokio::sync::watch;

/// Nobody needs an old bell: these only bound what an installation costs the server.
const MAX_AGE: Duration = Duration::from_secs(3_600);
const MAX_BYTES: i64 = 64 << 20;
const MAX_MESSAGES: i64 = 100_000;
/// How long NATS remembers ids, to drop what is published twice.
const DUPLICATES: Duration = Duration::from_secs(120);
/// How often the consumer is asked for: who deletes a stream tells nobody.
const LOOK: Duration = Duration::from_secs(1);

/// Everything that one session needs.
pub(super) struct Link {
    pub(super) context: Context,
    pub(super) messages: Ordered,
    stream: Stream,
    consumer: String,
    lost: watch::Receiver<bool>,
}

impl Link {
    /// Connects, makes the stream where there is none, and listens from now on.
    pub(super) async fn establish(options: &NatsOptions) -> Result<Self> {
        let (told, lost) = watch::channel(false);
        let connecting = options.connecting().await?.event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                told.send_replace(true);
            }
            std::future::ready(())
        });
        let client = connecting
            .connect(&options.servers[..])
            .await
            .map_err(|e| away("no NATS server can be reached").with_source(e))?;
        let context = ContextBuilder::new().timeout(PATIENCE).build(client.clone());
        let stream = context.get_or_create_stream(config(options)).await.map_err(|e| {
            away("NATS cannot give us our stream").with("stream", &options.stream).with_source(e)
        })?;
        carries(&stream, options)?;
        let (consumer, messages) = listen(&client, &stream, options)
            .await
            .map_err(|e| away("NATS gives us no consumer").with("stream", &options.stream).with_source(e))?;
        Ok(Self { context, messages, stream, consumer, lost })
    }

    /// What the server says of itself.
    pub(super) fn server(&self) -> ServerInfo {
        self.context.client().server_info()
    }

    /// What to wait for besides messages.
    pub(super) fn lookout(&self) -> Lookout {
        Lookout { stream: self.stream.clone(), consumer: self.consumer.clone(), lost: self.lost.clone() }
    }
}

/// Sees that a link is over.
pub(super) struct Lookout {
    stream: Stream,
    consumer: String,
    lost: watch::Receiver<bool>,
}

impl Lookout {
    /// Waits a while, then sees whether everything is still there. Ends early when the connection does.
    pub(super) async fn look(&self) -> Result<()> {
        let mut lost = self.lost.clone();
        if tokio::time::timeout(LOOK, lost.wait_for(|lost| *lost)).await.is_ok() {
            return Err(away("the connection to NATS is lost"));
        }
        match self.stream.consumer_info(&self.consumer).await {
            Ok(_) => Ok(()),
            Err(e) => Err(away("the stream or our consumer is gone from NATS").with_source(e)),
        }
    }
}

pub(super) fn away(sentence: &str) -> Error {
    Error::new(ErrorKind::Unavailable, sentence)
}

fn config(options: &NatsOptions) -> Config {
    Config {
        name: options.stream.clone(),
        description: Some("Beep: a bell for log entries; the store is the record".into()),
        subjects: vec![format!("{}.>", options.subjects())],
        max_age: MAX_AGE,
        max_bytes: MAX_BYTES,
        max_messages: MAX_MESSAGES,
        discard: DiscardPolicy::Old,
        duplicate_window: DUPLICATES,
        num_replicas: options.replicas,
        ..Config::default()
    }
}

/// A stream of this name may have been there, with other subjects: nothing that we publish would reach it.
fn carries(stream: &Stream, options: &NatsOptions) -> Result<()> {
    let ours = options.subjects();
    let fits = |pattern: &String| match pattern.strip_suffix('>') {
        Some(begin) => format!("{ours}.").starts_with(begin),
        None => false,
    };
    if stream.cached_info().config.subjects.iter().any(fits) {
        return Ok(());
    }
    let sentence =
        "the stream in NATS carries other subjects than ours: give this installation its own `stream=`";
    Err(Error::new(ErrorKind::Conflict, sentence).with("stream", &options.stream).with("subjects", ours))
}

async fn listen(
    client: &Client,
    stream: &Stream,
    options: &NatsOptions,
) -> Result<(String, Ordered), Box<dyn StdError + Send + Sync>> {
    let consumer = stream
        .create_consumer(OrderedConfig {
            deliver_subject: client.new_inbox(),
            deliver_policy: DeliverPolicy::New,
            filter_subject: format!("{}.>", options.subjects()),
            ..OrderedConfig::default()
        })
        .await?;
    let name = consumer.cached_info().name.clone();
    Ok((name, consumer.messages().await?))
}
