//! The running pipeline: the calls that shells make, and the tasks behind them.

use crate::builder::Builder;
use crate::bus::Bell;
use crate::grants::require;
use crate::inbound::{self, Recorded, Utterance};
use crate::outbound::{Notifier, Query, Reader};
use crate::services::changes::{Changes, Watch, Watcher};
use crate::services::people::People;
use crate::watch;
use crate::workers::{Follower, INDEX, IndexWorker, Leases, TRANSCRIBE, TranscribeWorker};
use beep_core::auth::Verified;
use beep_core::bite::{BiteKey, Label};
use beep_core::clock::{Clock, Millis, System};
use beep_core::event::Seq;
use beep_core::id::{ConversationId, UserId};
use beep_core::permission::{Action, Gate, Grant};
use beep_core::store::{BiteStore, Stores};
use beep_core::transcriber::Transcriber;
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How often a worker that one node runs for all is looked after by the others.
const STAND_BY: Duration = Duration::from_secs(3);

/// A running pipeline. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Beep(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stores: Stores,
    clock: Arc<dyn Clock>,
    bell: Arc<Bell>,
    gate: Arc<Gate>,
    notifier: Arc<Notifier>,
    changes: Arc<Changes>,
    transcriber: Option<Arc<dyn Transcriber>>,
    max_body: usize,
    leases: Option<Leases>,
    tasks: Mutex<JoinSet<()>>,
}

impl Beep {
    /// Begins to build one over these stores.
    pub fn builder(stores: Stores) -> Builder {
        Builder::new(stores)
    }

    pub(crate) async fn start(parts: Builder) -> Result<Self> {
        let Builder { stores, clock, bus, transcriber, max_body } = parts;
        let gate = Arc::new(Gate::new(stores.directory.clone()));
        gate.begin().await?;
        let bites = &stores.bites;
        let tail = bites.tail().await?;
        let notifier = Arc::new(Notifier::new(bites.clone(), gate.clone(), tail));
        let mut tasks = JoinSet::new();

        let bell = Arc::new(Bell::new(tail, bus));
        tasks.spawn(bell.clone().run(bites.clone()));
        let log = Log { bites: bites.clone(), bell: bell.clone() };

        let told = notifier.clone();
        tasks.spawn(log.clone().keep(Begin::At(tail), None, move |follower| told.clone().run(follower)));

        let networked = bites.capability().networked;
        let leases = networked.then(|| Leases::new(stores.ephemeral.clone(), &System)).transpose()?;
        let worker = IndexWorker { bites: bites.clone(), search: stores.search.clone() };
        let index = move |follower| worker.clone().run(follower);
        let kept = stores.search.capability();
        // An index that ended with the last process is filled from the beginning.
        let begin = if kept.durable { Begin::Behind(INDEX) } else { Begin::At(0) };
        tasks.spawn(log.clone().keep(begin, leases.clone(), index));

        if let Some(transcriber) = transcriber.clone() {
            let worker = TranscribeWorker::new(
                bites.clone(),
                bell.clone(),
                transcriber,
                clock.clone(),
                leases.clone(),
            );
            let transcribe = move |follower| worker.clone().run(follower);
            tasks.spawn(log.keep(Begin::Behind(TRANSCRIBE), None, transcribe));
        }

        let changes = Arc::new(Changes::new(stores.directory.clone(), gate.clone()).await?);
        tasks.spawn(changes.clone().run());
        tasks.spawn(watch::directory(stores.directory.clone(), gate.clone(), changes.clone()));
        let tasks = Mutex::new(tasks);
        Ok(Self(Arc::new(Inner {
            stores,
            clock,
            bell,
            gate,
            notifier,
            changes,
            transcriber,
            max_body,
            leases,
            tasks,
        })))
    }

    /// Who may do what.
    pub fn gate(&self) -> &Gate {
        &self.0.gate
    }

    /// The stores beneath, for what the pipeline has no word for.
    pub fn stores(&self) -> &Stores {
        &self.0.stores
    }

    /// The log from now on, for those who follow it beside the workers.
    #[cfg(feature = "legacy-subjects")]
    pub(crate) async fn follow(&self) -> Result<Follower> {
        let Inner { stores, bell, .. } = &*self.0;
        Ok(Follower::new(stores.bites.clone(), bell.listen(), stores.bites.tail().await?))
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// The most bytes of one bite.
    pub fn max_body(&self) -> usize {
        self.0.max_body
    }

    /// Engine and model that transcribe here; none when transcription is off.
    pub fn transcriber(&self) -> Option<&str> {
        self.0.transcriber.as_ref().map(|t| t.model())
    }

    /// Records something said. When this returns `Ok`, it is durable and will be announced and transcribed.
    ///
    /// [`ErrorKind::Denied`] unless the grant allows speaking, [`ErrorKind::TooLarge`], [`ErrorKind::Invalid`] and
    /// [`ErrorKind::UnsupportedMedia`] as the bytes deserve, [`ErrorKind::Conflict`] when other bytes stand there.
    pub async fn record(&self, grant: &Grant, utterance: Utterance) -> Result<Recorded> {
        let Inner { stores, bell, clock, max_body, .. } = &*self.0;
        inbound::record(&*stores.bites, bell, grant, utterance, *max_body, clock.now()).await
    }

    /// Attaches a record to a bite; only its author may.
    pub async fn attach(&self, grant: &Grant, start: Millis, body: Bytes) -> Result<Recorded> {
        let Inner { stores, bell, clock, .. } = &*self.0;
        inbound::attach(&*stores.bites, bell, grant, start, body, clock.now()).await
    }

    /// Deletes a bite with everything that belongs to it: its author, or whoever may moderate.
    pub async fn delete(&self, grant: &Grant, start: Millis) -> Result<()> {
        require(grant, Action::Listen)?;
        let none = || Error::new(ErrorKind::NotFound, "no bite starts there");
        let Inner { stores, bell, clock, .. } = &*self.0;
        let bite = BiteKey::new(Label::Bite, grant.conversation().clone(), start);
        let meta = stores.bites.head(&bite).await?.ok_or_else(none)?;
        if meta.author.user != grant.identity().user {
            require(grant, Action::Moderate)?;
        }
        let entry = stores.bites.delete(grant.conversation(), start, clock.now()).await?.ok_or_else(none)?;
        bell.announce(&entry).await;
        Ok(())
    }

    /// Reads.
    pub fn query(&self) -> Query<'_> {
        let Inner { stores, gate, transcriber, .. } = &*self.0;
        Query { bites: &*stores.bites, search: &*stores.search, gate, transcribing: transcriber.is_some() }
    }

    /// People, conversations, members and contacts.
    pub fn people(&self) -> People<'_> {
        let Inner { stores, gate, bell, changes, clock, .. } = &*self.0;
        People { stores, gate, bell, changes, clock: &**clock, entropy: &System }
    }

    /// Everything that happens in what this user may hear, from behind `after` if given, else from now on.
    pub fn subscribe(&self, user: &UserId, only: Option<ConversationId>, after: Option<Seq>) -> Reader {
        self.0.notifier.connect(user, only, after)
    }

    /// What changes from now on of what the holder of this token may see. [`ErrorKind::NotFound`] for the members of a
    /// conversation that they are not in.
    pub async fn watch(&self, token: Arc<Verified>, watch: Watch) -> Result<Watcher> {
        self.0.changes.connect(token, watch).await
    }

    /// Waits until everything recorded so far is transcribed (where transcription is on) and can be found.
    pub async fn settle(&self) -> Result<()> {
        let bites = &self.0.stores.bites;
        let groups: &[&str] = if self.0.transcriber.is_some() { &[TRANSCRIBE, INDEX] } else { &[INDEX] };
        for group in groups {
            // What the first group adds to the log, the second has to see as well.
            let tail = bites.tail().await?;
            while bites.cursor(group).await? < tail {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    /// Whether it can take bites now; the error says why not.
    pub async fn ready(&self) -> Result<()> {
        let Stores { bites, directory, search, .. } = &self.0.stores;
        bites.ready().await?;
        directory.ready().await?;
        search.ready().await
    }

    /// Ends the workers. What they had not finished is done after the next start.
    pub async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if let Some(leases) = &self.0.leases {
            leases.release_all().await;
        }
    }
}

/// Where a worker begins.
enum Begin {
    At(Seq),
    Behind(&'static str),
}

/// The log, and what tells that it has grown.
#[derive(Clone)]
struct Log {
    bites: Arc<dyn BiteStore>,
    bell: Arc<Bell>,
}

impl Log {
    /// Runs a worker for as long as the pipeline lives. One that panics is begun anew: it is idempotent, and nobody else
    /// would do its work. With leases, one node runs it for all.
    async fn keep<F: Future<Output = ()>>(
        self,
        begin: Begin,
        leases: Option<Leases>,
        run: impl Fn(Follower) -> F,
    ) {
        loop {
            let mut lease = None;
            if let (Some(leases), Begin::Behind(group)) = (&leases, &begin) {
                lease = leases.claim(group).await;
                if lease.is_none() {
                    tokio::time::sleep(STAND_BY).await;
                    continue;
                }
            }
            let position = match begin {
                Begin::At(seq) => Ok(seq),
                Begin::Behind(group) => self.bites.cursor(group).await,
            };
            match position {
                Ok(position) => {
                    let follower = Follower::new(self.bites.clone(), self.bell.listen(), position);
                    let work = AssertUnwindSafe(run(follower)).catch_unwind();
                    let lost = async {
                        match &mut lease {
                            Some(lease) => lease.lost().await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        ended = work => if ended.is_err() {
                            tracing::error!("a worker panicked; it is begun anew");
                        },
                        () = lost => tracing::info!("another node does this work now"),
                    }
                }
                Err(e) => tracing::warn!(error = %e, "a worker cannot begin; trying again"),
            }
            if let Some(lease) = lease {
                lease.release().await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
