//! Storing one record inside a write transaction: where it stands, whether it may, what was there before.

use super::codec::{self, Header};
use super::fault::Abort;
use super::write::Write;
use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::clock::Millis;
use beep_core::event::Event;
use beep_core::id::Identity;
use beep_core::store::{NewBite, Put, Start};
use beep_core::{Error, ErrorKind, Result};
use heed::types::DecodeIgnore;
use serde::{Deserialize, Serialize};
use std::ops::Bound;

/// How long a name for a put is remembered, and the width of the buckets that it is remembered in.
const DAY: Millis = 24 * 60 * 60 * 1_000;
/// How many old names one put sweeps at most, so that no commit becomes long.
const SWEEP: usize = 64;
/// How many conversations the thread remembers a run of taken starts for.
const RUNS: usize = 4_096;

/// What a named put did.
#[derive(Serialize, Deserialize)]
struct Done<'a> {
    received: u64,
    sha256: [u8; 32],
    key: &'a [u8],
}

/// Nothing is written before the last check has passed. `sum` is that of the body.
pub(super) fn put(write: &mut Write<'_>, new: &NewBite, sum: [u8; 8]) -> Result<Put, Abort> {
    if let Some(name) = &new.idempotency
        && let Some(key) = named(write, name, new)?
    {
        return Ok(Put { key, entry: None });
    }
    let prefix = BiteKey::prefix(new.label, &new.conversation);
    let first = match new.start {
        Start::At(start) => start,
        Start::Next(from) => behind_run(write, &prefix, from)?,
    };
    let mut key = BiteKey::new(new.label, new.conversation.clone(), first);
    let mut owner = bite_author(write, &key, new)?;
    let mut place = key.encode();
    while !insert(write, &place, new, sum)? {
        let Start::Next(_) = new.start else {
            return standing(write, &place, new).map(|()| Put { key, entry: None });
        };
        key.start = free_start(write, &prefix, key.start)?;
        owner = bite_author(write, &key, new)?;
        place = key.encode();
    }
    if let Start::Next(from) = new.start {
        remember_run(write, prefix, from, key.start);
    }
    if new.label == Label::Transcription {
        write.remove(write.dbs.parked, &key.labelled(Label::Bite).encode())?;
    }
    if let Some(name) = &new.idempotency {
        remember_name(write, name, new, &place)?;
    }
    let entry = write.log(new.received, Event::Stored { key: key.clone(), author: owner })?;
    Ok(Put { key, entry: Some(entry) })
}

fn insert(write: &mut Write<'_>, place: &[u8], new: &NewBite, sum: [u8; 8]) -> Result<bool, Abort> {
    let header = Header {
        user: new.author.user.as_str(),
        device: new.author.device.as_str(),
        media_type: &new.media_type,
        duration_ms: new.duration_ms,
        bytes: new.body.len() as u64,
        sha256: new.sha256.0,
        sum,
        received: new.received,
    };
    let head = header.encode(place)?;
    Ok(write.put_new(write.dbs.bites, place, &head, &new.body)?)
}

/// Whose bite this record is or belongs to.
fn bite_author(write: &Write<'_>, key: &BiteKey, new: &NewBite) -> Result<Identity, Abort> {
    if new.label == Label::Bite {
        return Ok(new.author.clone());
    }
    let place = key.labelled(Label::Bite).encode();
    let missing = || Error::new(ErrorKind::NotFound, format!("no bite starts at {}", key.start));
    let value = write.dbs.bites.get(&write.txn, &place)?.ok_or_else(missing)?;
    Ok(codec::record(&place, value)?.0.author()?)
}

/// Whether what stands there is this record already; else a conflict.
fn standing(write: &Write<'_>, place: &[u8], new: &NewBite) -> Result<(), Abort> {
    let value = write.dbs.bites.get(&write.txn, place)?.ok_or_else(|| codec::damaged(place))?;
    let (header, _) = codec::record(place, value)?;
    let same = header.sha256 == new.sha256.0
        && header.user == new.author.user.as_str()
        && header.device == new.author.device.as_str();
    if same {
        return Ok(());
    }
    let sentence = format!("another record stands at {} already", codec::name(place));
    Err(Error::new(ErrorKind::Conflict, sentence).into())
}

/// Where to look for a free start: behind the run that is known to be taken, if `from` lies in it.
fn behind_run(write: &Write<'_>, prefix: &[u8], from: Millis) -> Result<Millis> {
    match write.memory.runs.get(prefix) {
        Some((first, last)) if (*first..=*last).contains(&from) => last.checked_add(1).ok_or_else(no_start),
        _ => Ok(from),
    }
}

fn remember_run(write: &mut Write<'_>, prefix: Vec<u8>, from: Millis, taken: Millis) {
    let runs = &mut write.memory.runs;
    if runs.len() >= RUNS && !runs.contains_key(&prefix) {
        runs.clear();
    }
    let run = runs.entry(prefix).or_insert((from, taken));
    // Everything from `from` to `taken` is taken; so is the run before, if the two touch.
    let touch = from <= run.1.saturating_add(1) && run.0 <= taken.saturating_add(1);
    *run = if touch { (run.0.min(from), run.1.max(taken)) } else { (from, taken) };
}

/// The first free start behind `taken`.
fn free_start(write: &Write<'_>, prefix: &[u8], taken: Millis) -> Result<Millis, Abort> {
    let mut free = taken.checked_add(1).ok_or_else(no_start)?;
    let from = [prefix, &free.to_be_bytes()].concat();
    let keys = write.dbs.bites.remap_data_type::<DecodeIgnore>();
    for row in keys.range(&write.txn, &(Bound::Included(&from[..]), Bound::Unbounded))? {
        let (key, ()) = row?;
        if key.strip_prefix(prefix) != Some(&free.to_be_bytes()[..]) {
            break;
        }
        free = free.checked_add(1).ok_or_else(no_start)?;
    }
    Ok(free)
}

fn no_start() -> Error {
    Error::new(ErrorKind::Conflict, "every start from there on is taken")
}

fn bucket(day: u64, name: &Digest) -> Vec<u8> {
    [&day.to_be_bytes()[..], &name.0].concat()
}

/// The key that the first put under this name got, within 24 hours; a conflict when its bytes were others.
fn named(write: &Write<'_>, name: &Digest, new: &NewBite) -> Result<Option<BiteKey>, Abort> {
    let today = new.received / DAY;
    // Tomorrow too: the clock may have been set back since.
    for day in today.saturating_sub(1)..=today.saturating_add(1) {
        let at = bucket(day, name);
        let Some(value) = write.dbs.puts.get(&write.txn, &at)? else { continue };
        let done: Done<'_> = codec::unseal(&at, value)?;
        if done.received.abs_diff(new.received) >= DAY {
            continue;
        }
        if done.sha256 != new.sha256.0 {
            let sentence = "this idempotency key was used for other bytes: use a new one";
            return Err(Error::new(ErrorKind::Conflict, sentence).into());
        }
        return Ok(Some(BiteKey::decode(done.key)?));
    }
    Ok(None)
}

fn remember_name(write: &mut Write<'_>, name: &Digest, new: &NewBite, place: &[u8]) -> Result<(), Abort> {
    let today = new.received / DAY;
    let at = bucket(today, name);
    let done = Done { received: new.received, sha256: new.sha256.0, key: place };
    write.put(write.dbs.puts, &at, &codec::seal(&at, &done)?)?;
    let oldest = today.saturating_sub(1);
    if write.memory.swept >= oldest {
        return Ok(());
    }
    let until = oldest.to_be_bytes();
    let old = write.dbs.puts.remap_data_type::<DecodeIgnore>();
    let old = old.range(&write.txn, &(Bound::Unbounded, Bound::Excluded(&until[..])))?.take(SWEEP);
    let old = old.map(|row| row.map(|(key, ())| key.to_vec())).collect::<heed::Result<Vec<_>>>()?;
    if old.len() < SWEEP {
        write.memory.swept = oldest;
    }
    for key in old {
        write.remove(write.dbs.puts, &key)?;
    }
    Ok(())
}
