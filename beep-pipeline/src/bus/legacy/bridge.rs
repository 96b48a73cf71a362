//! The bridge itself: listens where old services speak, speaks where they listen.

use super::Subject;
use super::answer::{answer, respond};
use super::messages::{self, Client, Response};
use crate::Beep;
use crate::bus::nats::NatsOptions;
use crate::workers::Follower;
use async_nats::{Client as Nats, Event as NatsEvent, Message as NatsMessage};
use beep_core::event::{Event, LogEntry};
use beep_core::id::Identity;
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, select_all};
use prost::Message;
use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Messages that are worked on at the same time, on each node.
const AT_ONCE: usize = 32;
/// Messages that wait in memory: the original's bus knows no back-pressure, what is more is lost (and warned of).
const WAITING: usize = 4_096;
/// How long the server may take to begin to deliver.
const SETTLED: Duration = Duration::from_secs(5);
/// Between two tries to connect at start.
const PAUSE: Duration = Duration::from_secs(1);
/// The nodes of an installation share these messages: each is taken by one of them.
const GROUP: &str = "beep";

/// What a bridge needs to know.
#[derive(Clone, Debug)]
pub struct LegacyOptions {
    /// Where the old services' NATS is, as for [`NatsOptions::parse`]; stream and prefix do not matter here.
    pub url: String,
    /// As whom the old services read, since their requests name nobody: they get what this user may hear. Nobody: 403.
    pub reader: Option<Identity>,
    /// Whether this node tells the old `subscribe` service what was stored. Of several nodes exactly one should: two
    /// tell everything twice, and without one only what failed is told.
    pub announce: bool,
}

/// A running bridge; it ends with this value.
///
/// * A [`Bite`](super::Bite) is recorded as its client, if that is a member who may speak there. That client is told on
///   [`Subject::Response`] what became of it: 200 with the original's key once it is durable, else a code and a sentence.
/// * Whatever anyone stores, transcripts too, is told to its author the same way, by the node that announces.
/// * Of the nodes of an installation one takes each message. A bridge whose NATS is away waits for it.
#[derive(Debug)]
pub struct LegacyBridge {
    _listening: AbortOnDropHandle<()>,
    _announcing: Option<AbortOnDropHandle<()>>,
}

impl LegacyBridge {
    /// Begins; [`ErrorKind::Malformed`] when the URL is none. Waits until it listens, except where NATS is away.
    pub async fn start(beep: Beep, options: LegacyOptions) -> Result<Self> {
        let nats = NatsOptions::parse(&options.url)?;
        let announcing = if options.announce { Some(beep.follow().await?) } else { None };
        let client = Arc::new(OnceCell::new());
        let (tried, first_try) = oneshot::channel::<()>();
        let listening = tokio::spawn({
            let client = client.clone();
            async move {
                let mut tried = Some(tried);
                loop {
                    match listen(&nats, &client).await {
                        Ok((nats, incoming)) => {
                            drop(tried.take());
                            return serve(beep, options, nats, incoming).await;
                        }
                        Err(e) if tried.take().is_some() => {
                            tracing::warn!(error = %e, "the old services' NATS is away; it is waited for");
                        }
                        Err(e) => tracing::debug!(error = %e, "the old services' NATS is still away"),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        let announcing =
            announcing.map(|follower| AbortOnDropHandle::new(tokio::spawn(announce(client, follower))));
        let bridge = Self { _listening: AbortOnDropHandle::new(listening), _announcing: announcing };
        // Its sender is dropped when the first try is over, however it went.
        first_try.await.ok();
        Ok(bridge)
    }
}

fn away(source: impl StdError + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the old services' NATS cannot be reached").with_source(source)
}

type Incoming = BoxStream<'static, (Subject, NatsMessage)>;

async fn listen(options: &NatsOptions, shared: &OnceCell<Nats>) -> Result<(Nats, Incoming)> {
    let connecting = options
        .connecting()
        .await?
        .max_reconnects(None)
        .subscription_capacity(WAITING)
        .event_callback(|event| async move {
            match event {
                NatsEvent::Disconnected => tracing::warn!("the old services' NATS is away; it is waited for"),
                NatsEvent::Connected => tracing::info!("old services can be heard"),
                NatsEvent::SlowConsumer(_) => {
                    tracing::warn!("more messages of old services came than can be kept: some are lost");
                }
                _ => {}
            }
        });
    let nats = connecting.connect(&options.servers[..]).await.map_err(away)?;
    let mut heard = Vec::new();
    for subject in Subject::ALL.into_iter().filter(|s| s.is_heard()) {
        let messages = nats.queue_subscribe(subject.as_str(), GROUP.into()).await;
        let messages = messages.map_err(away)?;
        heard.push(messages.map(move |message| (subject, message)).boxed());
    }
    settled(&nats).await?;
    shared.set(nats.clone()).ok();
    Ok((nats, select_all(heard).boxed()))
}

/// Returns when the server has done everything that this connection asked for so far: it does so in order, and a flush
/// only sends.
async fn settled(nats: &Nats) -> Result<()> {
    let inbox = nats.new_inbox();
    let mut echo = nats.subscribe(inbox.clone()).await.map_err(away)?;
    nats.publish(inbox, Bytes::new()).await.map_err(away)?;
    nats.flush().await.map_err(away)?;
    match tokio::time::timeout(SETTLED, echo.next()).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Error::new(ErrorKind::Unavailable, "the old services' NATS ended the connection")),
        Err(e) => Err(away(e)),
    }
}

/// Answers each message on a task of its own, some at once.
async fn serve(beep: Beep, options: LegacyOptions, nats: Nats, mut incoming: Incoming) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let told = Arc::new(AtomicBool::new(false));
    let options = Arc::new(options);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some((subject, message)) = incoming.next() => {
                let Ok(slot) = slots.clone().acquire_owned().await else { return };
                let (beep, options, nats, told) = (beep.clone(), options.clone(), nats.clone(), told.clone());
                tasks.spawn(async move {
                    take(&beep, &options, &nats, &told, subject, message).await;
                    drop(slot);
                });
            }
            Some(done) = tasks.join_next() => {
                if let Err(e) = done {
                    tracing::error!(error = %e, "answering an old service panicked");
                }
            }
            else => return,
        }
    }
}

async fn take(
    beep: &Beep,
    options: &LegacyOptions,
    nats: &Nats,
    told: &AtomicBool,
    subject: Subject,
    message: NatsMessage,
) {
    let answered = answer(beep, options, subject, message.payload).await;
    if answered.garbage && !told.swap(true, Ordering::Relaxed) {
        let subject = subject.as_str();
        tracing::warn!(
            subject,
            "an old service sent what is no message of this subject; further ones are not told"
        );
    }
    match (message.reply, subject) {
        (Some(reply), _) => send(nats, reply, answered.response).await,
        // Whoever asks without an address does not want to know.
        (None, Subject::RequestStore | Subject::ScanStore) => {}
        (None, _) if answered.announced => {}
        (None, _) => send(nats, Subject::Response.as_str().into(), answered.response).await,
    }
}

/// Tells what is stored from now on, and what failed, to whoever said it.
async fn announce(client: Arc<OnceCell<Nats>>, mut follower: Follower) {
    loop {
        for entry in follower.next().await {
            let Some(response) = announcement(&entry) else { continue };
            let nats = loop {
                match client.get() {
                    Some(nats) => break nats,
                    None => tokio::time::sleep(PAUSE).await,
                }
            };
            send(nats, Subject::Response.as_str().into(), response).await;
        }
    }
}

fn announcement(entry: &LogEntry) -> Option<Response> {
    let author = entry.event.author();
    let client = Some(Client { key: author.user.to_string(), client: author.device.to_string() });
    let (code, message) = match &entry.event {
        Event::Stored { key, .. } => (200, messages::key(key)),
        Event::Failed { reason, .. } => (500, reason.clone().into()),
        // The original could not delete, so its clients have no word for it.
        _ => return None,
    };
    Some(Response { code, message, client })
}

/// A message that is larger than NATS takes would vanish, or end the connection: the original's did.
async fn send(nats: &Nats, subject: async_nats::Subject, response: Response) {
    let mut bytes = response.encode_to_vec();
    let most = nats.server_info().max_payload;
    if bytes.len() > most {
        let sentence = format!("it has more bytes than NATS carries at once ({most}): read it by HTTP");
        let too_large = respond(Err(Error::new(ErrorKind::TooLarge, sentence)));
        bytes = Response { client: response.client, ..too_large }.encode_to_vec();
    }
    if let Err(e) = nats.publish(subject, bytes.into()).await {
        tracing::warn!(error = %e, "an old service could not be answered");
    }
}
