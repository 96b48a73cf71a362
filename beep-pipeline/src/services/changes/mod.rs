//! The streams of changes: follows what changes in the directory and tells each reader what is theirs to see.

mod event;
mod stream;

use super::people::{Participant, Profile, no_conversation};
use crate::outbound::{Delivery, Mailbox};
use beep_core::auth::Verified;
use beep_core::id::{ConversationId, Identity, UserId};
use beep_core::permission::Gate;
use beep_core::store::{Change, ChangeEntry, Directory, Role};
use beep_core::{ErrorKind, Result};
use event::{Object, Shown};
use futures_util::FutureExt;
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use stream::{Known, Looks, Places, Stream, shift};
use tokio::sync::{Notify, RwLock};
use tokio::time::MissedTickBehavior;

/// How often it is looked whether readers went away, and what could not be read is read again.
const SWEEP: Duration = Duration::from_secs(1);
/// Changes per look.
const PAGE: usize = 1_000;
/// Users read at once when many come into sight together.
const AT_ONCE: usize = 256;

/// Which changes a reader wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The reader, their contacts, and those who share a conversation with them.
    Users,
    /// The reader's contacts.
    Contacts,
    /// The conversations that the reader is in.
    Conversations,
    /// The members of one of them. The stream ends when the reader is no longer among them.
    Members(ConversationId),
}

/// Who is connected, and the task that tells them.
///
/// * It follows the directory by a position of its own: what the gate reads is not lost for it, nor what other processes
///   change.
/// * A change only says what changed. First the object is read, then who may see it: whoever is out by then is not told,
///   though the change that took them out is still to come.
/// * What cannot be read ends all streams: nobody is told wrongly, and all come back and get their lists anew.
#[derive(Debug)]
pub(crate) struct Changes {
    directory: Arc<dyn Directory>,
    gate: Arc<Gate>,
    /// Read while somebody connects, written while a change is told: no change is told between the look at what a reader
    /// sees and their place among the streams.
    order: RwLock<()>,
    streams: Mutex<Vec<Stream>>,
    position: AtomicU64,
    bell: Notify,
}

impl Changes {
    pub(crate) async fn new(directory: Arc<dyn Directory>, gate: Arc<Gate>) -> Result<Self> {
        let position = AtomicU64::new(directory.last_change().await?);
        let (order, streams, bell) = (RwLock::default(), Mutex::default(), Notify::new());
        Ok(Self { directory, gate, order, streams, position, bell })
    }

    /// Says that something changed, so that it is told at once.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// The directory reaches this far: what is not told yet is told at once.
    pub(crate) fn reach(&self, seq: u64) {
        if self.position.load(Ordering::SeqCst) < seq {
            self.ring();
        }
    }

    /// Runs until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = sweep.tick() => self.lock().retain(|stream| stream.mailbox.sweep()),
                () = self.bell.notified() => {}
            }
            if AssertUnwindSafe(self.round()).catch_unwind().await.is_err() {
                tracing::error!("telling a change panicked; its readers must come back");
                self.end_all();
            }
        }
    }

    /// Connects a reader. Whatever changes after this has begun to look is told. [`ErrorKind::NotFound`] for the members
    /// of a conversation that the reader is not in.
    pub(crate) async fn connect(self: &Arc<Self>, token: Arc<Verified>, watch: Watch) -> Result<Watcher> {
        let _order = self.order.read().await;
        // Before the look: what it saw already is not told again, and what it may have missed is.
        let after = self.directory.last_change().await?;
        let known = self.load(&token.identity.user, watch).await?;
        let mailbox = Arc::new(Mailbox::new(None));
        self.lock().push(Stream { token, after, mailbox: mailbox.clone(), known });
        Ok(Watcher { changes: self.clone(), mailbox })
    }

    async fn load(&self, reader: &UserId, watch: Watch) -> Result<Known> {
        let directory = &self.directory;
        Ok(match watch {
            Watch::Users => {
                let contacts = self.contacts(reader).await?;
                let mut told = self.places(reader).await?.everybody();
                told.extend(contacts.iter().cloned());
                if directory.user(reader).await?.is_some() {
                    told.insert(reader.clone());
                }
                Known::Users { contacts, told }
            }
            Watch::Contacts => Known::Contacts(self.contacts(reader).await?),
            Watch::Conversations => {
                let own = directory.memberships(reader).await?;
                Known::Conversations(own.iter().map(|m| (m.conversation.id.clone(), Looks::of(m))).collect())
            }
            Watch::Members(conversation) => {
                let seats = self.seats(&conversation).await?;
                if !seats.contains_key(reader) {
                    return Err(no_conversation());
                }
                Known::Members(conversation, seats)
            }
        })
    }

    /// Tells everything that changed since the last round.
    async fn round(&self) {
        loop {
            let page = match self.directory.changes(self.position.load(Ordering::SeqCst), PAGE).await {
                Ok(page) => page,
                Err(e) if e.kind() == ErrorKind::Invalid => {
                    tracing::warn!(error = %e, "changes were missed; their readers must come back");
                    let _order = self.order.write().await;
                    self.end_all();
                    if let Ok(last) = self.directory.last_change().await {
                        self.position.store(last, Ordering::SeqCst);
                    }
                    return;
                }
                Err(e) => {
                    tracing::warn!(error = %e, "what changed cannot be read; trying again");
                    return;
                }
            };
            if page.is_empty() {
                return;
            }
            for entry in page {
                let order = self.order.write().await;
                // Before it is told: one that cannot be told is not tried for ever.
                self.position.store(entry.seq, Ordering::SeqCst);
                if self.lock().is_empty() {
                    continue;
                }
                if let Err(e) = self.tell(&entry).await {
                    tracing::warn!(seq = entry.seq, error = %e, "a change cannot be told; readers must come back");
                    self.end_all();
                }
                drop(order);
                // A store in memory answers without ever waiting, and the readers want this thread as well.
                tokio::task::yield_now().await;
            }
        }
    }

    async fn tell(&self, entry: &ChangeEntry) -> Result<()> {
        let seq = entry.seq;
        match &entry.change {
            Change::User(user) => self.user(seq, user).await,
            Change::Conversation(conversation) => self.conversation(seq, conversation).await,
            Change::Member(conversation, user) => self.member(seq, conversation, user).await,
            Change::Contact(owner, contact) => self.contact(seq, owner, contact).await,
            Change::Session(user, device) => {
                self.admit_again(|who| who.user == *user && who.device == *device).await
            }
            _ => Ok(()),
        }
    }

    async fn user(&self, seq: u64, id: &UserId) -> Result<()> {
        if self.any(seq, |stream| stream.knows(id)) {
            let user = self.directory.user(id).await?;
            let places = self.places(id).await?;
            let profile = user.map(Profile::with_number);
            let object = Object::new(seq, id.as_str(), profile.as_ref())?;
            let mut participants = HashMap::new();
            for (conversation, seats) in &places.members {
                if let (Some(profile), Some(role)) = (&profile, seats.get(id))
                    && self.any(seq, |stream| stream.is_of_members(conversation))
                {
                    let participant = Participant { profile: profile.clone(), role: *role };
                    participants
                        .insert(conversation.clone(), Object::new(seq, id.as_str(), Some(&participant))?);
                }
            }
            self.each(seq, |stream| !stream.knows(id) || stream.user(id, &object, &places, &participants));
        }
        self.admit_again(|who| who.user == *id).await
    }

    async fn conversation(&self, seq: u64, id: &ConversationId) -> Result<()> {
        let wanted = |stream: &Stream| match &stream.known {
            Known::Conversations(told) => told.contains_key(id),
            _ => stream.is_of_members(id),
        };
        if !self.any(seq, wanted) {
            return Ok(());
        }
        let found = self.directory.conversation(id).await?;
        let seats = self.seats(id).await?;
        let object = |pinned| {
            let shown = found.as_ref().map(|conversation| Shown::new(conversation, pinned));
            Object::new(seq, id.as_str(), shown.as_ref())
        };
        let objects = [object(false)?, object(true)?];
        self.each(seq, |stream| stream.conversation(id, found.as_ref(), &seats, &objects));
        Ok(())
    }

    async fn member(&self, seq: u64, conversation: &ConversationId, user: &UserId) -> Result<()> {
        if self.any(seq, |s| s.reader() == user && matches!(s.known, Known::Conversations(_))) {
            let own = self.directory.memberships(user).await?;
            let found = own.iter().find(|m| m.conversation.id == *conversation);
            let object = Object::new(seq, conversation.as_str(), found.map(Shown::of).as_ref())?;
            let looks = found.map(Looks::of);
            self.each(seq, |s| s.reader() != user || s.membership(conversation, looks, &object));
        }
        if !self.any(seq, |stream| stream.is_of_users() || stream.is_of_members(conversation)) {
            return Ok(());
        }
        let profile = self.directory.user(user).await?.map(Profile::with_number);
        let seats = self.seats(conversation).await?;
        let participant = match (&profile, seats.get(user)) {
            (Some(profile), Some(role)) => Some(Participant { profile: profile.clone(), role: *role }),
            _ => None,
        };
        let object = Object::new(seq, user.as_str(), participant.as_ref())?;
        self.each(seq, |s| !s.is_of_members(conversation) || s.member(user, &seats, &object));
        // Of all the others, only those who know this user or are where they came.
        let is_there = seats.contains_key(user);
        let concerned = |s: &Stream| {
            let touched = if is_there { seats.contains_key(s.reader()) } else { s.knows(user) };
            s.is_of_users() && s.reader() != user && touched
        };
        if self.any(seq, concerned) {
            let places = self.places(user).await?;
            let object = Object::new(seq, user.as_str(), profile.as_ref())?;
            self.each(seq, |stream| !concerned(stream) || stream.companion(user, &object, &places));
        }
        self.review(seq, user).await
    }

    async fn contact(&self, seq: u64, owner: &UserId, contact: &UserId) -> Result<()> {
        if self.any(seq, |s| s.reader() == owner && matches!(s.known, Known::Contacts(_))) {
            let profile = self.directory.user(contact).await?.map(Profile::with_number);
            let is_one = self.contacts(owner).await?.contains(contact);
            let object = Object::new(seq, contact.as_str(), profile.as_ref())?;
            self.each(seq, |stream| stream.reader() != owner || stream.contact(contact, is_one, &object));
        }
        self.review(seq, owner).await
    }

    /// Compares whom a reader has been told of with whom they see now: after a change of their own conversations or
    /// contacts, which may bring and take many at once.
    async fn review(&self, seq: u64, reader: &UserId) -> Result<()> {
        let own = |stream: &Stream| stream.is_of_users() && stream.reader() == reader;
        if !self.any(seq, own) {
            return Ok(());
        }
        let (mut contacts, mut seen) = self.sight(reader).await?;
        let (mut gone, mut come) = (HashSet::new(), HashSet::new());
        for stream in self.lock().iter_mut().filter(|stream| own(stream)) {
            if let Known::Users { contacts: held, told } = &mut stream.known {
                held.clone_from(&contacts);
                gone.extend(told.iter().filter(|id| *id != reader && !seen.contains(*id)).cloned());
                come.extend(seen.iter().filter(|id| *id != reader && !told.contains(*id)).cloned());
            }
        }
        for id in gone {
            let object = Object::gone(seq, id.as_str())?;
            self.each(seq, |stream| !own(stream) || see(stream, &id, false, &object));
        }
        let come: Vec<_> = come.into_iter().collect();
        for some in come.chunks(AT_ONCE) {
            let mut objects = Vec::new();
            for id in some {
                let profile = self.directory.user(id).await?.map(Profile::with_number);
                objects.push((id, Object::new(seq, id.as_str(), profile.as_ref())?));
            }
            // Read again behind the objects: the reader may be out of a conversation by now.
            (contacts, seen) = self.sight(reader).await?;
            for (id, object) in objects {
                let sees = contacts.contains(id) || seen.contains(id);
                self.each(seq, |stream| !own(stream) || see(stream, id, sees, &object));
            }
        }
        Ok(())
    }

    /// The contacts of a reader, and everybody whom they see.
    async fn sight(&self, reader: &UserId) -> Result<(HashSet<UserId>, HashSet<UserId>)> {
        let contacts = self.contacts(reader).await?;
        let mut seen = self.places(reader).await?.everybody();
        seen.extend(contacts.iter().cloned());
        Ok((contacts, seen))
    }

    async fn contacts(&self, owner: &UserId) -> Result<HashSet<UserId>> {
        Ok(self.directory.contacts(owner).await?.into_iter().map(|user| user.id).collect())
    }

    async fn seats(&self, conversation: &ConversationId) -> Result<HashMap<UserId, Role>> {
        Ok(self.directory.members(conversation).await?.into_iter().map(|m| (m.user, m.role)).collect())
    }

    async fn places(&self, user: &UserId) -> Result<Places> {
        let mut places = Places::default();
        for membership in self.directory.memberships(user).await? {
            let conversation = membership.conversation.id;
            let seats = self.seats(&conversation).await?;
            // Who went in between shares nothing any more.
            if seats.contains_key(user) {
                places.members.insert(conversation, seats);
            }
        }
        Ok(places)
    }

    /// Ends the streams of these whose token is no longer good.
    async fn admit_again(&self, these: impl Fn(&Identity) -> bool) -> Result<()> {
        let tokens: Vec<_> = {
            let streams = self.lock();
            let theirs = streams.iter().filter(|stream| these(&stream.token.identity));
            theirs.map(|stream| (stream.token.clone(), stream.mailbox.clone())).collect()
        };
        if tokens.is_empty() {
            return Ok(());
        }
        // The gate may be behind this task.
        self.gate.follow().await?;
        for (token, mailbox) in tokens {
            match self.gate.admit(&token).await {
                Err(e) if e.kind() == ErrorKind::Unauthenticated => {
                    mailbox.close();
                    self.disconnect(&mailbox);
                }
                admitted => admitted?,
            }
        }
        Ok(())
    }

    /// Whether this holds for a stream that is to be told of the change at this position.
    fn any(&self, seq: u64, mut is: impl FnMut(&Stream) -> bool) -> bool {
        self.lock().iter().any(|stream| stream.after < seq && is(stream))
    }

    /// Goes through the streams that are to be told of the change at this position; those that do not go on are closed.
    fn each(&self, seq: u64, mut goes_on: impl FnMut(&mut Stream) -> bool) {
        self.lock().retain_mut(|stream| {
            let stays = stream.after >= seq || goes_on(stream);
            if !stays {
                stream.mailbox.close();
            }
            stays
        });
    }

    fn end_all(&self) {
        self.each(u64::MAX, |_| false);
    }

    fn disconnect(&self, mailbox: &Arc<Mailbox>) {
        self.lock().retain(|stream| !Arc::ptr_eq(&stream.mailbox, mailbox));
    }

    /// A panic while it was locked leaves whole streams behind, which are then ended.
    fn lock(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn see(stream: &mut Stream, user: &UserId, sees: bool, object: &Object) -> bool {
    let Known::Users { told, .. } = &mut stream.known else { return true };
    shift(told, &stream.mailbox, user, sees, false, object)
}

/// One connection's view of what changes, from when it connected.
#[derive(Debug)]
pub struct Watcher {
    changes: Arc<Changes>,
    mailbox: Arc<Mailbox>,
}

impl Watcher {
    /// What comes next, at least one; none when the stream ended: connect again and get the lists anew. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Option<VecDeque<Delivery>> {
        self.mailbox.drain().await
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.changes.disconnect(&self.mailbox);
    }
}
