//! [`BiteStore`] in LMDB. Durable, and shared with other processes that open the same folder.

use super::codec::{self, Header};
use super::env::{Dbs, HeedEnv};
use super::fault::{Abort, error};
use super::log;
use super::put::put;
use super::write::Write;
use async_trait::async_trait;
use beep_core::bite::{Bite, BiteKey, BiteMeta, Label, ScanPage, ScanRange};
use beep_core::clock::Millis;
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::id::ConversationId;
use beep_core::store::{BiteStore, Capability, CorruptRecord, NewBite, Parked, Put, VerifyPage};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use heed::RoTxn;
use heed::types::DecodeIgnore;
use serde::{Deserialize, Serialize};
use std::ops::Bound;

/// The largest value that is read, hashed and copied on the caller's own thread (about 0.2 ms).
const READ_HERE: usize = 256 << 10;
/// The most log entries or metas that are read on the caller's own thread.
const LIST_HERE: usize = 256;

/// Bites, log and cursors in LMDB.
///
/// Differs from the trait's guarantees in nothing. Reads run on the caller's thread except long ones, which need a
/// tokio runtime; so do writes, which wait for the group commit of their process.
#[derive(Clone, Debug)]
pub struct HeedBites {
    env: HeedEnv,
}

impl HeedBites {
    /// The bites of this environment.
    pub fn new(env: &HeedEnv) -> Self {
        Self { env: env.clone() }
    }
}

/// Why a bite was set aside, as stored.
#[derive(Serialize, Deserialize)]
struct Aside<'a> {
    reason: &'a str,
    at: u64,
}

#[async_trait]
impl BiteStore for HeedBites {
    fn capability(&self) -> Capability {
        Capability::new(true, true)
    }

    async fn put(&self, bite: NewBite) -> Result<Put> {
        let sum = codec::sum(&bite.body); // here, not on the one thread that everybody waits for
        self.env.writer().run(bite.body.len() + 512, move |write| put(write, &bite, sum)).await
    }

    async fn get(&self, key: &BiteKey) -> Result<Option<Bite>> {
        let at = key.encode();
        let small = self.env.read(|dbs, txn| match dbs.bites.get(txn, &at).map_err(error)? {
            Some(value) if value.len() > READ_HERE => Ok(None),
            value => value.map(|value| read(key, &at, value)).transpose().map(Some),
        })?;
        match small {
            Some(bite) => Ok(bite),
            None => {
                let key = key.clone();
                let read = move |dbs: &Dbs, txn: &RoTxn<'_>| {
                    dbs.bites.get(txn, &at).map_err(error)?.map(|value| read(&key, &at, value)).transpose()
                };
                self.env.read_long(read).await
            }
        }
    }

    async fn head(&self, key: &BiteKey) -> Result<Option<BiteMeta>> {
        let at = key.encode();
        self.env.read(|dbs, txn| {
            let value = dbs.bites.get(txn, &at).map_err(error)?;
            value.map(|value| codec::record(&at, value)?.0.meta()).transpose()
        })
    }

    async fn delete(
        &self,
        conversation: &ConversationId,
        start: Millis,
        at: Millis,
    ) -> Result<Option<LogEntry>> {
        let key = BiteKey::new(Label::Bite, conversation.clone(), start);
        self.env.writer().run(0, move |write| delete(write, &key, at)).await
    }

    async fn scan(&self, label: Label, conversation: &ConversationId, range: ScanRange) -> Result<ScanPage> {
        let prefix = BiteKey::prefix(label, conversation);
        self.env.read(|dbs, txn| scan(dbs, txn, &prefix, range))
    }

    async fn metas(
        &self,
        label: Label,
        conversation: &ConversationId,
        range: ScanRange,
    ) -> Result<Vec<(Millis, BiteMeta)>> {
        let prefix = BiteKey::prefix(label, conversation);
        let read = move |dbs: &Dbs, txn: &RoTxn<'_>| metas(dbs, txn, &prefix, range);
        if range.limit() <= LIST_HERE { self.env.read(read) } else { self.env.read_long(read).await }
    }

    async fn log(&self, after: Seq, limit: usize) -> Result<Vec<LogEntry>> {
        let read = move |dbs: &Dbs, txn: &RoTxn<'_>| log::entries(dbs, txn, after, limit);
        if limit <= LIST_HERE { self.env.read(read) } else { self.env.read_long(read).await }
    }

    async fn tail(&self) -> Result<Seq> {
        self.env.read(log::tail)
    }

    async fn cursor(&self, group: &str) -> Result<Seq> {
        let key = group_name(group)?.as_bytes();
        let stored = self.env.read(|dbs, txn| {
            let value = dbs.cursors.get(txn, key).map_err(error)?;
            value.map_or(Ok(0), |value| codec::unseal(key, value))
        })?;
        Ok(self.env.writer().cursor(group).max(stored))
    }

    async fn advance(&self, group: &str, seq: Seq) -> Result<()> {
        self.env.writer().advance(group_name(group)?, seq)
    }

    async fn park(&self, key: &BiteKey, reason: &str, at: Millis) -> Result<Option<LogEntry>> {
        let (key, reason) = (key.labelled(Label::Bite), reason.to_owned());
        self.env.writer().run(reason.len() + 512, move |write| park(write, &key, &reason, at)).await
    }

    async fn parked_at(&self, key: &BiteKey) -> Result<Option<Parked>> {
        let at = key.labelled(Label::Bite).encode();
        self.env.read(|dbs, txn| {
            let value = dbs.parked.get(txn, &at).map_err(error)?;
            value.map(|value| aside(&at, value)).transpose()
        })
    }

    async fn parked(&self, limit: usize) -> Result<Vec<Parked>> {
        self.env.read(|dbs, txn| {
            let rows = dbs.parked.iter(txn).map_err(error)?.take(limit);
            rows.map(|row| row.map_err(error).and_then(|(key, value)| aside(key, value))).collect()
        })
    }

    async fn verify(&self, from: Option<Vec<u8>>, limit: usize) -> Result<VerifyPage> {
        self.env.read_long(move |dbs, txn| verify(dbs, txn, from.as_deref(), limit)).await
    }

    async fn ready(&self) -> Result<()> {
        self.env.writer().ready().await
    }
}

fn group_name(group: &str) -> Result<&str> {
    if (1..=256).contains(&group.len()) {
        return Ok(group);
    }
    Err(Error::new(ErrorKind::Malformed, "the name of a worker group must be 1 to 256 bytes long"))
}

fn read(key: &BiteKey, at: &[u8], value: &[u8]) -> Result<Bite> {
    let (header, body) = codec::whole(at, value)?;
    Ok(Bite { key: key.clone(), meta: header.meta()?, body: Bytes::copy_from_slice(body) })
}

fn aside(at: &[u8], value: &[u8]) -> Result<Parked> {
    let Aside { reason, at: since } = codec::unseal(at, value)?;
    Ok(Parked { key: BiteKey::decode(at)?, reason: reason.to_owned(), at: since })
}

fn delete(write: &mut Write<'_>, key: &BiteKey, at: Millis) -> Result<Option<LogEntry>, Abort> {
    let place = key.encode();
    let dbs = write.dbs;
    let Some(value) = dbs.bites.get(&write.txn, &place)? else { return Ok(None) };
    let author = codec::record(&place, value)?.0.author()?;
    for label in Label::ALL {
        let place = key.labelled(label).encode();
        write.memory.runs.remove(&place[..place.len() - 8]);
        write.remove(dbs.bites, &place)?;
    }
    write.remove(dbs.parked, &place)?;
    Ok(Some(write.log(at, Event::Deleted { key: key.clone(), author })?))
}

fn park(write: &mut Write<'_>, key: &BiteKey, reason: &str, at: Millis) -> Result<Option<LogEntry>, Abort> {
    let place = key.encode();
    let dbs = write.dbs;
    let Some(value) = dbs.bites.get(&write.txn, &place)? else { return Ok(None) };
    let author = codec::record(&place, value)?.0.author()?;
    write.put(dbs.parked, &place, &codec::seal(&place, &Aside { reason, at })?)?;
    let event = Event::Failed { key: key.clone(), author, reason: reason.to_owned() };
    Ok(Some(write.log(at, event)?))
}

/// The start in a key that begins with `prefix`; none when it belongs elsewhere.
fn start_in(prefix: &[u8], key: &[u8]) -> Option<Millis> {
    key.strip_prefix(prefix)?.try_into().ok().map(Millis::from_be_bytes)
}

fn place(prefix: &[u8], start: Millis) -> Vec<u8> {
    [prefix, &start.to_be_bytes()].concat()
}

fn scan(dbs: &Dbs, txn: &RoTxn<'_>, prefix: &[u8], range: ScanRange) -> Result<ScanPage> {
    // Values are never looked at: a page of long bites costs no more than one of short ones.
    let keys = dbs.bites.remap_data_type::<DecodeIgnore>();
    let from = place(prefix, range.from());
    let before = keys.get_lower_than(txn, &from).map_err(error)?;
    let mut page =
        ScanPage { previous: before.and_then(|(key, ())| start_in(prefix, key)), ..ScanPage::default() };
    let mut floor = None;
    for row in keys.range(txn, &(Bound::Included(&from[..]), Bound::Unbounded)).map_err(error)? {
        let (key, ()) = row.map_err(error)?;
        let Some(start) = start_in(prefix, key) else { break };
        if floor.is_some_and(|floor| start <= floor) || start < range.from() {
            return Err(codec::damaged(key)); // a damaged page can lead in circles
        }
        floor = Some(start);
        if start > range.to() || page.starts.len() == range.limit() {
            page.next = Some(start);
            break;
        }
        page.starts.push(start);
    }
    Ok(page)
}

fn metas(dbs: &Dbs, txn: &RoTxn<'_>, prefix: &[u8], range: ScanRange) -> Result<Vec<(Millis, BiteMeta)>> {
    let (from, to) = (place(prefix, range.from()), place(prefix, range.to()));
    let within = (Bound::Included(&from[..]), Bound::Included(&to[..]));
    let rows = dbs.bites.range(txn, &within).map_err(error)?.take(range.limit());
    rows.map(|row| {
        let (key, value) = row.map_err(error)?;
        let start = start_in(prefix, key).ok_or_else(|| codec::damaged(key))?;
        Ok((start, codec::record(key, value)?.0.meta()?))
    })
    .collect()
}

fn verify(dbs: &Dbs, txn: &RoTxn<'_>, from: Option<&[u8]>, limit: usize) -> Result<VerifyPage> {
    let behind = from.filter(|key| !key.is_empty()).map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = VerifyPage::default();
    let mut last: Option<&[u8]> = None;
    for row in dbs.bites.range(txn, &(behind, Bound::Unbounded)).map_err(error)? {
        if page.checked == limit.max(1) as u64 {
            page.next = last.map(<[u8]>::to_vec);
            break;
        }
        let (key, value) = row.map_err(error)?;
        if last.is_some_and(|last| key <= last) {
            return Err(codec::damaged(key));
        }
        page.checked += 1;
        if let Err(e) = check(key, value) {
            page.corrupt.push(CorruptRecord { key: codec::name(key), reason: e.message().to_owned() });
        }
        last = Some(key);
    }
    Ok(page)
}

fn check(key: &[u8], value: &[u8]) -> Result<()> {
    BiteKey::decode(key)?;
    let (header, _): (Header<'_>, _) = codec::proven(key, value)?;
    header.meta().map(drop)
}
