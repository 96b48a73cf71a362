//! A write transaction as the work in it sees it.

use super::env::{Db, Dbs};
use beep_core::event::Seq;
use heed::{PutFlags, RwTxn};
use std::collections::HashMap;
use std::io::Write as _;

/// A write transaction, with what its thread remembers of earlier ones.
pub(super) struct Write<'a> {
    pub(super) txn: RwTxn<'a>,
    pub(super) dbs: Dbs,
    pub(super) memory: Memory,
    pub(super) wrote: bool,
}

/// What the thread remembers; forgotten as soon as anything else may have written.
#[derive(Default)]
pub(super) struct Memory {
    /// The number of the last log entry.
    pub(super) tail: Option<Seq>,
    /// Per label and conversation, a range of starts that are all taken.
    pub(super) runs: HashMap<Vec<u8>, (u64, u64)>,
    /// The day up to which old idempotency names were swept.
    pub(super) swept: u64,
    /// The transaction that must come next if no other process wrote in between.
    pub(super) next: Option<usize>,
}

impl Write<'_> {
    pub(super) fn put(&mut self, db: Db, key: &[u8], value: &[u8]) -> heed::Result<()> {
        self.wrote = true;
        db.put(&mut self.txn, key, value)
    }

    /// Puts a value behind every other one.
    pub(super) fn append(&mut self, db: Db, key: &[u8], value: &[u8]) -> heed::Result<()> {
        self.wrote = true;
        db.put_with_flags(&mut self.txn, PutFlags::APPEND, key, value)
    }

    /// Puts `head` and `body` where nothing is; whether it did.
    pub(super) fn put_new(&mut self, db: Db, key: &[u8], head: &[u8], body: &[u8]) -> heed::Result<bool> {
        let there = db.get_or_put_reserved(&mut self.txn, key, head.len() + body.len(), |space| {
            space.write_all(head)?;
            space.write_all(body)
        })?;
        self.wrote |= there.is_none();
        Ok(there.is_none())
    }

    pub(super) fn remove(&mut self, db: Db, key: &[u8]) -> heed::Result<bool> {
        let removed = db.delete(&mut self.txn, key)?;
        self.wrote |= removed;
        Ok(removed)
    }
}
