//! Tells the connected: follows the log and puts each event into the mailboxes of those who may hear it.

use super::mailbox::{Delivery, Mailbox};
use crate::workers::Follower;
use beep_core::bite::Label;
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::id::{ConversationId, UserId};
use beep_core::permission::Gate;
use beep_core::store::BiteStore;
use beep_core::transcript::Transcript;
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use serde::Serialize;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most log entries that are read again for somebody who comes back; behind more they get a reset.
pub const MAX_REPLAY: Seq = 100_000;
/// Log entries per read of a replay.
const PAGE: usize = 256;

/// One event as a subscriber gets it.
#[derive(Debug)]
pub struct Notice {
    /// Its place in the log: the `id` of the event.
    pub seq: Seq,
    /// The event as JSON, in the shape of `GET /subscribe`.
    pub json: String,
    /// The same as one event of a `text/event-stream`: written once, however many read it. JSON has no line breaks of
    /// its own, so it is always one `data` line, and nothing said can forge another field.
    pub frame: Bytes,
}

impl Notice {
    /// What it costs a mailbox.
    pub(crate) fn weight(&self) -> usize {
        self.frame.len() + 64
    }
}

/// The original's `Response`, with the event's own fields beside it.
#[derive(Serialize)]
struct Message<'a> {
    code: u16,
    r#type: &'a str,
    conversation: &'a str,
    start: u64,
    user: &'a str,
    client: &'a str,
    message: &'a str,
}

#[derive(Debug, Default)]
struct Connected {
    by_user: HashMap<UserId, Vec<Arc<Mailbox>>>,
    /// Who connects reads everything up to here from the log, and only what lies behind it from the mailbox.
    position: Seq,
}

/// Who is connected, and the task that tells them.
#[derive(Debug)]
pub(crate) struct Notifier {
    bites: Arc<dyn BiteStore>,
    gate: Arc<Gate>,
    connected: Mutex<Connected>,
}

impl Notifier {
    pub(crate) fn new(bites: Arc<dyn BiteStore>, gate: Arc<Gate>, position: Seq) -> Self {
        Self { bites, gate, connected: Mutex::new(Connected { position, ..Connected::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Connected> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until dropped.
    pub(crate) async fn run(self: Arc<Self>, mut follower: Follower) {
        let mut sweep = tokio::time::interval(Duration::from_secs(1));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                entries = follower.next() => {
                    for entry in entries {
                        self.tell(&entry).await;
                    }
                }
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    async fn tell(&self, entry: &LogEntry) {
        {
            let mut connected = self.lock();
            if entry.seq <= connected.position {
                // Told before this task was begun anew.
                return;
            }
            if connected.by_user.is_empty() {
                // Under the lock that saw nobody: whoever connects from now on begins behind this entry.
                connected.position = entry.seq;
                return;
            }
        }
        let told = self.prepare(entry).await;
        let mut connected = self.lock();
        connected.position = entry.seq;
        match told {
            Ok(None) => {}
            Ok(Some((notice, audience))) => {
                let conversation = &entry.event.key().conversation;
                for user in audience.iter() {
                    if let Some(mailboxes) = connected.by_user.get_mut(user) {
                        mailboxes.retain(|m| !m.wants(conversation) || m.push(&notice));
                    }
                }
                connected.by_user.retain(|_, m| !m.is_empty());
            }
            // Who may hear it cannot be told now. Nobody is told wrongly and nobody misses it: all come back with the
            // last id that they saw, and read it from the log.
            Err(e) => {
                tracing::warn!(seq = entry.seq, error = %e, "an event could not be sent out; its readers must come back");
                connected.by_user.values().flatten().for_each(|m| m.close());
                connected.by_user.clear();
            }
        }
    }

    async fn prepare(&self, entry: &LogEntry) -> Result<Option<(Arc<Notice>, Arc<[UserId]>)>> {
        let audience = self.gate.audience(&entry.event.key().conversation).await?;
        {
            let mut connected = self.lock();
            if !audience.iter().any(|user| connected.by_user.contains_key(user)) {
                // Under the lock that saw none of them, as in `tell`.
                connected.position = entry.seq;
                return Ok(None);
            }
        }
        Ok(notice(&*self.bites, entry).await?.map(|n| (Arc::new(n), audience)))
    }

    fn sweep(&self) {
        let mut connected = self.lock();
        connected.by_user.retain(|_, mailboxes| {
            mailboxes.retain(|m| m.sweep());
            !mailboxes.is_empty()
        });
    }

    /// Connects a reader who saw everything up to `after`, or wants only what is new.
    pub(crate) fn connect(
        self: &Arc<Self>,
        user: &UserId,
        only: Option<ConversationId>,
        after: Option<Seq>,
    ) -> Reader {
        let mailbox = Arc::new(Mailbox::new(only));
        let live = {
            let mut connected = self.lock();
            connected.by_user.entry(user.clone()).or_default().push(mailbox.clone());
            connected.position
        };
        let backlog = after.filter(|after| *after != live).map(|after| Backlog { after, live });
        Reader {
            notifier: self.clone(),
            user: user.clone(),
            mailbox,
            backlog,
            seen: after.unwrap_or(live).max(live),
        }
    }

    fn disconnect(&self, user: &UserId, mailbox: &Arc<Mailbox>) {
        let mut connected = self.lock();
        if let Some(mailboxes) = connected.by_user.get_mut(user) {
            mailboxes.retain(|m| !Arc::ptr_eq(m, mailbox));
            if mailboxes.is_empty() {
                connected.by_user.remove(user);
            }
        }
    }
}

#[derive(Debug)]
struct Backlog {
    /// The last one that the reader has.
    after: Seq,
    /// What lies behind this comes by the mailbox.
    live: Seq,
}

/// One connection's view: first what it missed, then what happens.
#[derive(Debug)]
pub struct Reader {
    notifier: Arc<Notifier>,
    user: UserId,
    mailbox: Arc<Mailbox>,
    backlog: Option<Backlog>,
    /// What the mailbox holds up to here comes from the log, or is known to the reader.
    seen: Seq,
}

impl Reader {
    /// What to come back with when nothing was heard yet; none when this connection begins with what was missed.
    pub fn position(&self) -> Option<Seq> {
        self.backlog.is_none().then_some(self.seen)
    }

    /// What comes next, at least one; none when this reader was cut off. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<VecDeque<Delivery>>> {
        while let Some(backlog) = &self.backlog {
            let Backlog { after, live } = *backlog;
            // Another process of this installation may have told the reader of entries that are still to come here.
            if after > live && self.notifier.bites.tail().await? >= after {
                self.backlog = None;
                continue;
            }
            if after > live || live - after > MAX_REPLAY {
                self.backlog = None;
                self.seen = live;
                return Ok(Some([Delivery::Reset(live)].into()));
            }
            let (missed, reached) = self.missed(after, live).await?;
            self.backlog = (reached < live).then_some(Backlog { after: reached, live });
            if !missed.is_empty() {
                return Ok(Some(missed));
            }
        }
        loop {
            let Some(mut deliveries) = self.mailbox.drain().await else { return Ok(None) };
            deliveries.retain(|delivery| !matches!(delivery, Delivery::Notice(n) if n.seq <= self.seen));
            if !deliveries.is_empty() {
                return Ok(Some(deliveries));
            }
        }
    }

    /// One page of the log between what the reader has and where the mailbox begins.
    async fn missed(&self, after: Seq, live: Seq) -> Result<(VecDeque<Delivery>, Seq)> {
        let mut missed = VecDeque::new();
        let entries = self.notifier.bites.log(after, PAGE).await?;
        let mut reached = entries.last().map_or(live, |e| e.seq);
        // Asked once per page: what others said would otherwise be a question to the directory for each conversation.
        let heard: HashSet<ConversationId> =
            self.notifier.gate.hears(&self.user).await?.into_iter().collect();
        for entry in entries {
            if entry.seq > live {
                reached = live;
                break;
            }
            let conversation = &entry.event.key().conversation;
            if self.mailbox.wants(conversation) && heard.contains(conversation) {
                let notice = notice(&*self.notifier.bites, &entry).await?;
                missed.extend(notice.map(|n| Delivery::Notice(Arc::new(n))));
            }
        }
        Ok((missed, reached))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.notifier.disconnect(&self.user, &self.mailbox);
    }
}

/// What subscribers are told of an entry; none of things that are not theirs to know or gone since.
async fn notice(bites: &dyn BiteStore, entry: &LogEntry) -> Result<Option<Notice>> {
    let text;
    let (code, kind, message) = match &entry.event {
        Event::Stored { key, .. } => match key.label {
            Label::Bite => (200, "bite", ""),
            Label::User => return Ok(None),
            Label::Transcription => {
                let record = match bites.get(key).await {
                    Ok(Some(record)) => record,
                    Ok(None) => return Ok(None),
                    Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(None),
                    Err(e) => return Err(e),
                };
                text = serde_json::from_slice::<Transcript>(&record.body).map(|t| t.text).unwrap_or_default();
                (200, "transcription", text.as_str())
            }
        },
        Event::Deleted { .. } => (200, "delete", ""),
        Event::Failed { reason, .. } => (500, "error", reason.as_str()),
        _ => return Ok(None),
    };
    let (key, author) = (entry.event.key(), entry.event.author());
    let message = Message {
        code,
        r#type: kind,
        conversation: key.conversation.as_str(),
        start: key.start,
        user: author.user.as_str(),
        client: author.device.as_str(),
        message,
    };
    let json = serde_json::to_string(&message).map_err(|e| Error::internal("writing an event", e))?;
    let frame = Bytes::from(format!("id: {}\ndata: {json}\n\n", entry.seq));
    Ok(Some(Notice { seq: entry.seq, json, frame }))
}
