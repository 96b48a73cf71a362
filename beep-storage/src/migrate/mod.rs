//! Moves a whole installation from one set of stores to another, while the first one is in use.
//!
//! Works on the traits of `beep-core` only, so any two backends will do. What moves:
//!
//! * every record (bites, what is attached to them, transcripts) with author, start, media type, times and SHA-256, by
//!   following the source's log from the beginning: deletions and parked bites come in their turn;
//! * users with their ids, also those of deleted users as far as log and kept changes name them; conversations, members
//!   with roles, pins and how far each has heard; contacts; sessions, so that nobody is signed out; pictures.
//!
//! Values with an end date (codes, limits, presence) do not move. The search index is filled from the target's log.
//!
//! **Positions.** The target numbers its log and its changes anew, in the order of the source; what was deleted has no
//! number there. A subscriber who comes with a `Last-Event-ID` from behind the target's end is told `reset`. One that the
//! target has as well is taken for its own: where nothing was ever deleted, that is the same place; else it lies behind
//! it, and what stands between is not told again. Clients should read anew after a move.
//!
//! **Workers.** The cursor of transcription goes up to the oldest bite that has neither a transcript nor was set aside,
//! so nothing that was transcribed is transcribed again.
//!
//! **Interruption.** How far it came stands in the target, as cursors of groups named `migrate/…`. Every step may be done
//! twice: what is there already is left alone, what is there and different is a [`Problem`] and never overwritten.
//!
//! Servers that work on the target begin after the move: until then the target is written by it alone.

mod bites;
mod index;
mod keys;
mod people;
mod pictures;
mod rows;
mod sync;
mod verify;

pub use keys::copy_keys;
pub use verify::{ConversationSums, Difference, Sums, Verification};

use beep_core::clock::Clock;
use beep_core::event::Seq;
use beep_core::store::Stores;
use beep_core::{ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// By when a noted cursor is durable, and a little ([`beep_core::store::BiteStore::advance`]).
const DURABLE: Duration = Duration::from_millis(1_200);

/// The names of the workers' cursors at the target.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    /// Those who transcribe.
    pub transcribe: &'static str,
    /// Those who fill the search index.
    pub index: &'static str,
}

/// What is being done, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many users and conversations were looked at.
    People(u64),
    /// The log is followed: read up to here, of so many entries.
    Log(Seq, Seq),
    /// So many records were compared.
    Verify(u64),
}

/// What was done at the target; what was there already does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Records stored: bites, attachments, transcripts.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bites deleted.
    pub deleted: u64,
    /// Bites set aside.
    pub parked: u64,
    /// Users made.
    pub users: u64,
    /// Conversations made.
    pub conversations: u64,
    /// Sessions put.
    pub sessions: u64,
    /// Pictures stored.
    pub pictures: u64,
}

/// Something that could not be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What: the key of a record, `user u-…`, `picture …`.
    pub key: String,
    /// [`ErrorKind::Conflict`] where the target holds something different, [`ErrorKind::Corrupt`] where the source is
    /// damaged.
    pub kind: ErrorKind,
    /// Why, in a sentence.
    pub reason: String,
    /// The source's log entry that it comes from, for records.
    pub(crate) seq: Option<Seq>,
}

/// One move between two installations.
pub struct Migration {
    source: Stores,
    target: Stores,
    clock: Arc<dyn Clock>,
    workers: Workers,
    groups: Groups,
    problems: BTreeMap<String, Problem>,
    moved: Moved,
    /// Whether this run looked at everybody: once is enough where something is in the way.
    looked: bool,
    watch: Box<dyn Fn(Progress) + Send + Sync>,
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("moved", &self.moved)
            .field("problems", &self.problems.len())
            .finish()
    }
}

/// The cursors in the target that say how far the move came.
struct Groups {
    /// The last entry of the source's log that is done.
    bites: String,
    /// One more than the last change of the source's directory that is done.
    people: String,
    /// 1 when everybody was looked at once.
    everybody: String,
    /// When pictures were looked through last.
    pictures: String,
}

impl Migration {
    /// A move that begins, or goes on where it was interrupted. `name` says which source it is: the same text for the
    /// same source, at most 200 bytes; with another name it begins anew, which changes nothing that is moved already.
    pub fn new(source: Stores, target: Stores, name: &str, workers: Workers, clock: Arc<dyn Clock>) -> Self {
        let group = |what: &str| format!("migrate/{name}/{what}");
        let groups = Groups {
            bites: group("bites"),
            people: group("people"),
            everybody: group("everybody"),
            pictures: group("pictures"),
        };
        let (problems, moved) = (BTreeMap::new(), Moved::default());
        Self {
            source,
            target,
            clock,
            workers,
            groups,
            problems,
            moved,
            looked: false,
            watch: Box::new(|_| ()),
        }
    }

    /// Tells `watch` how far it is.
    #[must_use]
    pub fn watched(mut self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.watch = Box::new(watch);
        self
    }

    /// Moves everything that is at the source now and not yet at the target, deletions included.
    ///
    /// Ends when it has seen the end of log and changes once. An error ends it early; calling again goes on. What cannot
    /// be moved does not end it, but is among [`Migration::problems`].
    pub async fn catch_up(&mut self) -> Result<()> {
        self.begin().await?;
        self.follow_people().await?;
        self.follow_log().await?;
        // What was said while people were looked at may be of newer ones.
        self.follow_people().await?;
        self.sweep_people().await?;
        self.move_pictures().await?;
        self.settle_transcription().await?;
        self.fill_index().await
    }

    /// As [`Migration::catch_up`], but only what stands in the log and the changes: cheap when there is nothing new.
    /// Renewed sessions, how far people have heard and pictures are not in them.
    pub async fn step(&mut self) -> Result<()> {
        self.follow_people().await?;
        self.follow_log().await?;
        self.settle_transcription().await?;
        self.fill_index().await
    }

    /// What was done so far.
    pub fn moved(&self) -> Moved {
        self.moved
    }

    /// What could not be moved, by key.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values()
    }

    /// Notes where the source's directory stands before anything is moved, so that what is deleted there from now on is
    /// seen even if this process is killed.
    async fn begin(&mut self) -> Result<()> {
        if self.target.bites.cursor(&self.groups.people).await? > 0 {
            return Ok(());
        }
        let last = self.source.directory.last_change().await?;
        self.target.bites.advance(&self.groups.people, last + 1).await?;
        if self.target.bites.capability().durable {
            tokio::time::sleep(DURABLE).await;
        }
        Ok(())
    }

    fn problem(&mut self, key: String, kind: ErrorKind, reason: impl Into<String>, seq: Option<Seq>) {
        let problem = Problem { key: key.clone(), kind, reason: reason.into(), seq };
        self.problems.insert(key, problem);
    }
}
