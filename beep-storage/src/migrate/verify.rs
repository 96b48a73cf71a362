//! Compares both sides: counts, bytes and digests that do not depend on the order, and names what differs.

use super::rows::{self, Rows};
use super::{Migration, Progress};
use beep_core::Result;
use beep_core::bite::{BiteKey, Digest, Label, MAX_PAGE};
use beep_core::id::ConversationId;
use beep_core::store::{BiteStore, Stores};
use std::collections::{BTreeMap, BTreeSet};

/// Differences that are named; more are counted.
const NAMED: usize = 1_000;
/// Records per step when the target's bytes are read.
const STEP: usize = 256;
/// Bites that were set aside, compared at most.
const PARKED: usize = 100_000;
/// How often a source that is written to is caught up with before a difference counts.
const ROUNDS: usize = 10;

/// How many, how large, and a digest of what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The SHA-256 of each (for a record: key, SHA-256 of its bytes, author, time of arrival, type, length), combined
    /// by exclusive or.
    pub digest: Digest,
}

impl Default for Sums {
    fn default() -> Self {
        Self { count: 0, bytes: 0, digest: Digest([0; 32]) }
    }
}

impl Sums {
    fn add(&mut self, digest: Digest, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
        self.combine(&digest);
    }

    fn combine(&mut self, digest: &Digest) {
        self.digest.0.iter_mut().zip(digest.0).for_each(|(sum, byte)| *sum ^= byte);
    }

    fn total<'a>(sums: impl Iterator<Item = &'a Sums>) -> Self {
        sums.fold(Self::default(), |mut total, sums| {
            total.count += sums.count;
            total.bytes += sums.bytes;
            total.combine(&sums.digest);
            total
        })
    }
}

/// The records of one conversation on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationSums {
    /// The conversation.
    pub id: ConversationId,
    /// At the source.
    pub source: Sums,
    /// At the target.
    pub target: Sums,
}

/// Something that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What: the key of a record, `user u-…`, `picture …`.
    pub key: String,
    /// In what way.
    pub how: &'static str,
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Every conversation that has records on either side.
    pub conversations: Vec<ConversationSums>,
    /// Users, conversations, members, contacts and sessions: source and target.
    pub people: (Sums, Sums),
    /// Pictures: source and target.
    pub pictures: (Sums, Sums),
    /// Records of the target whose bytes were read and compared with their digests.
    pub read: u64,
    /// Differences by key, the first thousand.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub different: u64,
}

impl Verification {
    /// Whether both sides are the same.
    pub fn is_equal(&self) -> bool {
        self.different == 0
    }

    /// All records: source and target.
    pub fn records(&self) -> (Sums, Sums) {
        (
            Sums::total(self.conversations.iter().map(|c| &c.source)),
            Sums::total(self.conversations.iter().map(|c| &c.target)),
        )
    }

    pub(super) fn differs(&mut self, key: impl Into<String>, how: &'static str) {
        self.different += 1;
        if self.differences.len() < NAMED {
            self.differences.push(Difference { key: key.into(), how });
        }
    }

    fn rows(&mut self, here: &BTreeMap<String, String>, there: &BTreeMap<String, String>) {
        for (key, value) in here {
            self.people.0.add(Digest::of(format!("{key}\0{value}").as_bytes()), 0);
            match there.get(key) {
                None => self.differs(key, "only at the source"),
                Some(other) if other != value => self.differs(key, "different"),
                Some(_) => {}
            }
        }
        for (key, value) in there {
            self.people.1.add(Digest::of(format!("{key}\0{value}").as_bytes()), 0);
            if !here.contains_key(key) {
                self.differs(key, "only at the target");
            }
        }
    }
}

impl Migration {
    /// Catches up, then compares, and does both again where the source was written to meanwhile.
    pub async fn catch_up_and_verify(&mut self) -> Result<Verification> {
        for round in 1.. {
            let position = async |stores: &Stores| -> Result<_> {
                Ok((stores.bites.tail().await?, stores.directory.last_change().await?))
            };
            let before = position(&self.source).await?;
            self.catch_up().await?;
            let found = self.verify().await?;
            // The second time, because renewed sessions and what was heard move no position.
            let quiet = round > 1 && position(&self.source).await? == before;
            if found.is_equal() || quiet || round == ROUNDS || !self.problems.is_empty() {
                return Ok(found);
            }
        }
        self.verify().await
    }

    /// Compares both sides as they are now, and reads every record of the target. Moves nothing.
    pub async fn verify(&self) -> Result<Verification> {
        let mut found = Verification::default();
        for id in self.conversations().await? {
            self.records(&id, &mut found).await?;
        }
        self.parked(&mut found).await?;
        self.people(&mut found).await?;
        let mut from = None;
        loop {
            let page = self.target.bites.verify(from, STEP).await?;
            found.read += page.checked;
            for record in page.corrupt {
                found.differs(record.key, "damaged at the target");
            }
            from = page.next;
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    /// Every conversation that either log or directory knows.
    async fn conversations(&self) -> Result<BTreeSet<ConversationId>> {
        let mut ids = BTreeSet::new();
        for stores in [&self.source, &self.target] {
            ids.extend(rows::conversations(stores).await?.into_keys());
            let mut position = 0;
            loop {
                let entries = stores.bites.log(position, MAX_PAGE).await?;
                let Some(last) = entries.last() else { break };
                position = last.seq;
                for entry in entries {
                    let id = &entry.event.key().conversation;
                    if !ids.contains(id) {
                        ids.insert(id.clone());
                    }
                }
            }
        }
        Ok(ids)
    }

    async fn records(&self, id: &ConversationId, found: &mut Verification) -> Result<()> {
        let (mut source, mut target) = (Sums::default(), Sums::default());
        for label in Label::ALL {
            let mut here = Rows::new(&*self.source.bites, label, id);
            let mut there = Rows::new(&*self.target.bites, label, id);
            let (mut left, mut right) = (here.next(found).await?, there.next(found).await?);
            loop {
                let start = match (&left, &right) {
                    (None, None) => break,
                    (Some((a, _)), Some((b, _))) => *a.min(b),
                    (Some((a, _)), None) | (None, Some((a, _))) => *a,
                };
                let key = BiteKey::new(label, id.clone(), start);
                let a = left.take_if(|(s, _)| *s == start).map(|(_, meta)| meta);
                let b = right.take_if(|(s, _)| *s == start).map(|(_, meta)| meta);
                match (&a, &b) {
                    (Some(a), Some(b)) if a != b => found.differs(key.to_string(), "different"),
                    (Some(_), None) => found.differs(key.to_string(), "only at the source"),
                    (None, Some(_)) => found.differs(key.to_string(), "only at the target"),
                    _ => {}
                }
                if let Some(meta) = a {
                    source.add(rows::digest(&key, &meta), meta.bytes);
                    left = here.next(found).await?;
                }
                if let Some(meta) = b {
                    target.add(rows::digest(&key, &meta), meta.bytes);
                    right = there.next(found).await?;
                }
            }
        }
        if source.count + target.count > 0 {
            found.conversations.push(ConversationSums { id: id.clone(), source, target });
        }
        (self.watch)(Progress::Verify(found.conversations.iter().map(|c| c.source.count).sum()));
        Ok(())
    }

    async fn parked(&self, found: &mut Verification) -> Result<()> {
        let rows = async |bites: &dyn BiteStore| -> Result<BTreeMap<String, String>> {
            let all = bites.parked(PARKED).await?;
            Ok(all
                .into_iter()
                .map(|p| (format!("parked {}", p.key), format!("{} {}", p.at, p.reason)))
                .collect())
        };
        let (here, there) = (rows(&*self.source.bites).await?, rows(&*self.target.bites).await?);
        found.rows(&here, &there);
        Ok(())
    }

    async fn people(&self, found: &mut Verification) -> Result<()> {
        let here = rows::conversations(&self.source).await?;
        let there = rows::conversations(&self.target).await?;
        let named = |all: BTreeMap<ConversationId, String>| {
            all.into_iter().map(|(id, looks)| (format!("conversation {id}"), looks)).collect()
        };
        found.rows(&named(here), &named(there));
        for user in rows::users(&self.source).await?.union(&rows::users(&self.target).await?) {
            let (here, there) =
                (rows::about(&self.source, user).await?, rows::about(&self.target, user).await?);
            found.rows(&here, &there);
            let (here, there) =
                (rows::pictures(&self.source, user).await?, rows::pictures(&self.target, user).await?);
            for (name, (digest, bytes)) in &here {
                found.pictures.0.add(*digest, *bytes);
                match there.get(name) {
                    None => found.differs(format!("picture {name}"), "only at the source"),
                    Some((other, _)) if other != digest => {
                        found.differs(format!("picture {name}"), "different")
                    }
                    Some(_) => {}
                }
            }
            for (name, (digest, bytes)) in &there {
                found.pictures.1.add(*digest, *bytes);
                if !here.contains_key(name) {
                    found.differs(format!("picture {name}"), "only at the target");
                }
            }
        }
        Ok(())
    }
}
