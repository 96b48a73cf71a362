//! [`BiteStore`] in PostgreSQL: records, log and cursors in tables, large bodies beside them where there is a place.

mod batch;
mod reads;
mod rows;
mod scribe;
mod writer;

use super::error::storage;
use super::pool::Postgres;
use crate::Bodies;
use async_trait::async_trait;
use batch::{Done, Work};
use beep_core::bite::{Bite, BiteKey, BiteMeta, Label, ScanPage, ScanRange};
use beep_core::clock::{Entropy as _, Millis, System};
use beep_core::event::{LogEntry, Seq};
use beep_core::id::ConversationId;
use beep_core::store::{BiteStore, Capability, NewBite, Parked, Put, VerifyPage};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use reads::Mark;
use rows::{Place, Stored};
use std::fmt::Write as _;
use std::sync::Arc;
use writer::Writer;

/// The largest body that stands in its row where an object store could take it: below, a commit is cheaper than a round
/// trip to the object store.
const INLINE: usize = 16 << 10;

/// Bites, log and cursors in PostgreSQL.
///
/// * Any number of nodes may write: entries are numbered under a lock that is held to the end of each commit.
/// * The puts of one node that wait together are one commit. A lone put waits for nobody.
/// * An answer that was lost with its connection is looked for in the log: what is answered with an error was not
///   stored, or the error says that nobody knows.
/// * Bodies of more than 16 KiB go to the object store, where there is one, before their row is committed.
#[derive(Clone, Debug)]
pub struct PostgresBites {
    db: Postgres,
    writer: Writer,
    bodies: Option<Arc<dyn Bodies>>,
}

impl PostgresBites {
    /// The bites of this database. `bodies` takes the larger ones; without it they stand in the database.
    pub fn new(db: &Postgres, bodies: Option<Arc<dyn Bodies>>) -> Self {
        Self { db: db.clone(), writer: Writer::new(db.pool()), bodies }
    }

    /// Puts a body into the object store if that is where it belongs; its name there.
    async fn put_aside(&self, new: &NewBite) -> Result<Option<String>> {
        let Some(bodies) = self.bodies.as_ref().filter(|_| new.body.len() > INLINE) else { return Ok(None) };
        let mut random = [0; 16];
        System.fill(&mut random)?;
        let mut name = String::from("bite-");
        for byte in random.iter().chain(&new.sha256.0[..8]) {
            // Writing to a text does not fail.
            write!(name, "{byte:02x}").map_err(|e| Error::internal("naming a body", e))?;
        }
        bodies.put(&name, new.body.clone()).await?;
        Ok(Some(name))
    }

    /// Deletes bodies that nothing leads to any more. What fails is left to the sweeper.
    async fn drop_bodies(&self, names: impl IntoIterator<Item = String>) {
        let Some(bodies) = &self.bodies else { return };
        for name in names {
            if let Err(error) = bodies.delete(&name).await {
                tracing::debug!(name, %error, "a body that nothing leads to stays for the sweeper");
            }
        }
    }

    /// The bytes of a record that came without them.
    async fn body(&self, stored: &Stored) -> Result<Bytes> {
        let Place::Object(name) = &stored.place else { return Err(stored.lost()) };
        let Some(bodies) = &self.bodies else {
            let sentence =
                "this record's bytes are in an object store: name it in the configuration (store.bodies)";
            return Err(Error::new(ErrorKind::Unavailable, sentence));
        };
        bodies.get(name).await?.ok_or_else(|| stored.lost())
    }
}

#[async_trait]
impl BiteStore for PostgresBites {
    fn capability(&self) -> Capability {
        Capability::networked(true)
    }

    async fn put(&self, bite: NewBite) -> Result<Put> {
        let sum = rows::sum(&bite.body);
        let object = self.put_aside(&bite).await?;
        let work = Work::Put { new: Box::new(bite), sum, object: object.clone() };
        match self.writer.run(work).await {
            Ok(Done { key, entry, objects }) => {
                self.drop_bodies(objects).await;
                Ok(Put { key, entry })
            }
            Err(e) => {
                // Of an answer that says so, nothing was stored; of another, nobody knows.
                if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Full) {
                    self.drop_bodies(object).await;
                }
                Err(e)
            }
        }
    }

    async fn get(&self, key: &BiteKey) -> Result<Option<Bite>> {
        let mut tries = 0;
        loop {
            let found = within!(self.db, |db| reads::whole(db, key))?;
            let Some((stored, inline)) = found else { return Ok(None) };
            let body = match inline {
                Some(body) => Ok(Bytes::from(body)),
                None => self.body(&stored).await,
            };
            match body {
                Ok(body) => {
                    stored.compare(&body)?;
                    return Ok(Some(Bite { key: stored.key, meta: stored.meta, body }));
                }
                // Deleted, and perhaps recorded anew, between the row and its bytes.
                Err(e) if e.kind() == ErrorKind::Corrupt && tries == 0 => tries += 1,
                Err(e) => return Err(e),
            }
        }
    }

    async fn head(&self, key: &BiteKey) -> Result<Option<BiteMeta>> {
        within!(self.db, |db| reads::head(db, key))
    }

    async fn delete(
        &self,
        conversation: &ConversationId,
        start: Millis,
        at: Millis,
    ) -> Result<Option<LogEntry>> {
        let key = BiteKey::new(Label::Bite, conversation.clone(), start);
        let done = self.writer.run(Work::Delete { key, at }).await?;
        self.drop_bodies(done.objects).await;
        Ok(done.entry)
    }

    async fn scan(&self, label: Label, conversation: &ConversationId, range: ScanRange) -> Result<ScanPage> {
        within!(self.db, |db| reads::scan(db, label, conversation, range))
    }

    async fn metas(
        &self,
        label: Label,
        conversation: &ConversationId,
        range: ScanRange,
    ) -> Result<Vec<(Millis, BiteMeta)>> {
        within!(self.db, |db| reads::metas(db, label, conversation, range))
    }

    async fn log(&self, after: Seq, limit: usize) -> Result<Vec<LogEntry>> {
        within!(self.db, |db| reads::log(db, after, limit))
    }

    async fn tail(&self) -> Result<Seq> {
        within!(self.db, |db| reads::tail(db))
    }

    async fn cursor(&self, group: &str) -> Result<Seq> {
        let group = group_name(group)?;
        let stored = within!(self.db, |db| reads::cursor(db, group))?;
        Ok(stored.max(self.writer.cursor(group)))
    }

    async fn advance(&self, group: &str, seq: Seq) -> Result<()> {
        self.writer.advance(group_name(group)?, seq);
        Ok(())
    }

    async fn park(&self, key: &BiteKey, reason: &str, at: Millis) -> Result<Option<LogEntry>> {
        // The one character that Postgres does not take.
        let reason = reason.replace('\0', " ");
        Ok(self.writer.run(Work::Park { key: key.labelled(Label::Bite), reason, at }).await?.entry)
    }

    async fn parked_at(&self, key: &BiteKey) -> Result<Option<Parked>> {
        within!(self.db, |db| reads::parked_at(db, key))
    }

    async fn parked(&self, limit: usize) -> Result<Vec<Parked>> {
        within!(self.db, |db| reads::parked(db, limit))
    }

    async fn verify(&self, from: Option<Vec<u8>>, limit: usize) -> Result<VerifyPage> {
        let from = match from.filter(|from| !from.is_empty()) {
            Some(from) => Mark::decode(&from)?,
            None => Mark::BEGINNING,
        };
        let limit = limit.max(1);
        let records = within!(self.db, |db| reads::behind(db, &from, limit + 1))?;
        let mut page = VerifyPage::default();
        for (n, record) in records.into_iter().enumerate() {
            if n == limit {
                return Ok(page);
            }
            page.checked += 1;
            page.next = Some(record.mark.encode());
            let checked = match record.stored {
                Err(e) => Err(e),
                Ok(stored) => self.prove(&stored).await,
            };
            match checked {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::Corrupt => {
                    page.corrupt.push(reads::corrupt(record.name, &e))
                }
                Err(e) => return Err(e),
            }
        }
        page.next = None;
        Ok(page)
    }

    async fn ready(&self) -> Result<()> {
        if self.writer.is_full() {
            // Nobody may be writing any more who would find out that there is room again.
            within!(self.db, |db| reads::probe(db))?;
            self.writer.has_room();
        }
        self.db.ready().await?;
        match &self.bodies {
            Some(bodies) => bodies.ready().await,
            None => Ok(()),
        }
    }
}

impl PostgresBites {
    /// Compares a record's bytes with everything that is known of them. What is deleted meanwhile is no damage.
    async fn prove(&self, stored: &Stored) -> Result<()> {
        let body = match &stored.place {
            Place::Object(_) => self.body(stored).await,
            Place::Inline(id) => {
                let body = within!(self.db, |db| reads::inline(db, *id))?;
                body.map(Bytes::from).ok_or_else(|| stored.lost())
            }
        };
        let proven = body.and_then(|body| stored.prove(&body));
        match proven {
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                let still = within!(self.db, |db| reads::place_of(db, &stored.key))?;
                if still.as_ref() == Some(&stored.place) { Err(e) } else { Ok(()) }
            }
            proven => proven,
        }
    }
}

fn group_name(group: &str) -> Result<&str> {
    if (1..=256).contains(&group.len()) && !group.contains('\0') {
        return Ok(group);
    }
    Err(Error::new(ErrorKind::Malformed, "the name of a worker group must be 1 to 256 bytes long"))
}
