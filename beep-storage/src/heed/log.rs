//! The ordered log: numbers without gaps, given inside the transaction that stores what they tell.

use super::codec;
use super::env::Dbs;
use super::fault::error;
use super::write::Write;
use beep_core::clock::Millis;
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::{Error, ErrorKind, Result};
use heed::RoTxn;
use std::ops::Bound;

impl Write<'_> {
    /// Appends an event as the next entry. A log that cannot be read costs the transaction, because the record that
    /// it tells of is in it already.
    pub(super) fn log(&mut self, at: Millis, event: Event) -> heed::Result<LogEntry> {
        let lost = |e: Error| heed::Error::Decoding(e.into());
        let last = match self.memory.tail {
            Some(last) => last,
            None => tail(&self.dbs, &self.txn).map_err(lost)?,
        };
        let no_next = || lost(Error::new(ErrorKind::Corrupt, "the log has no next number"));
        let seq = last.checked_add(1).ok_or_else(no_next)?;
        let entry = LogEntry { seq, at, event };
        let value = codec::line(&entry).map_err(lost)?;
        self.append(self.dbs.log, &seq.to_be_bytes(), &value)?;
        self.memory.tail = Some(seq);
        Ok(entry)
    }
}

/// The number of the last entry.
pub(super) fn tail(dbs: &Dbs, txn: &RoTxn<'_>) -> Result<Seq> {
    dbs.log.last(txn).map_err(error)?.map_or(Ok(0), |(key, _)| number(key))
}

/// The entries behind `after`, each the next of the one before.
pub(super) fn entries(dbs: &Dbs, txn: &RoTxn<'_>, after: Seq, limit: usize) -> Result<Vec<LogEntry>> {
    let mut all = Vec::with_capacity(limit.min(1_024));
    let from = after.to_be_bytes();
    let behind = (Bound::Excluded(&from[..]), Bound::Unbounded);
    for row in dbs.log.range(txn, &behind).map_err(error)?.take(limit) {
        let (key, value) = row.map_err(error)?;
        let seq = number(key)?;
        let last = all.last().map_or(after, |entry: &LogEntry| entry.seq);
        if seq.checked_sub(1) != Some(last) {
            let sentence = format!("the log jumps from {last} to {seq}: restore it from a backup");
            return Err(Error::new(ErrorKind::Corrupt, sentence));
        }
        all.push(codec::entry(seq, value)?);
    }
    Ok(all)
}

fn number(key: &[u8]) -> Result<Seq> {
    key.try_into().map(Seq::from_be_bytes).map_err(|_| codec::damaged(key))
}
