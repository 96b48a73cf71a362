//! A backup of badger, as its `backup` command writes it: for each list of pairs (each pair, before badger 1.6) its length
//! as 8 bytes, little-endian, and a protobuf message.

use super::wire::{Fields, Value};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::io::{self, Read};

/// The longest message that is read. Badger gathers some megabytes; a recording of the original had at most ten.
const MAX_MESSAGE: u64 = 256 << 20;
/// The bit of a pair's `meta` that says that the key was deleted.
const DELETED: u8 = 1;

/// One version of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: Vec<u8>,
    pub(super) value: Bytes,
    pub(super) version: u64,
    /// Seconds since 1970; 0 for never.
    pub(super) expires: u64,
    pub(super) deleted: bool,
}

/// The pairs of the next message; none at the end of the file.
///
/// [`ErrorKind::Malformed`] for what is no backup or ends in the middle of a message.
pub(super) fn next(file: &mut dyn Read) -> Result<Option<Vec<Pair>>> {
    let mut length = [0; 8];
    match fill(file, &mut length)? {
        0 => return Ok(None),
        8 => {}
        _ => return Err(malformed("it ends in the middle of a length")),
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_MESSAGE {
        return Err(malformed("it has a length that no backup has"));
    }
    // Read as it comes: a length alone must not cost memory.
    let mut message = Vec::new();
    file.take(length).read_to_end(&mut message).map_err(failed)?;
    if (message.len() as u64) < length {
        return Err(malformed("it ends in the middle of a message"));
    }
    let message = Bytes::from(message);
    pairs(&message).map(Some).ok_or_else(|| malformed("it has a message that cannot be read"))
}

/// A message has pairs in field 1, or is itself a pair, which has a version.
fn pairs(message: &Bytes) -> Option<Vec<Pair>> {
    let mut list = Vec::new();
    let mut single = false;
    for field in Fields::of(message) {
        match field? {
            (1, Value::Bytes(bytes)) => list.push(message.slice_ref(bytes)),
            (2..=6, _) => single = true,
            _ => {}
        }
    }
    if single {
        return pair(message).map(|pair| vec![pair]);
    }
    list.iter().map(pair).collect()
}

fn pair(message: &Bytes) -> Option<Pair> {
    let mut pair = Pair::default();
    for field in Fields::of(message) {
        match field? {
            (1, Value::Bytes(key)) => pair.key = key.to_vec(),
            (2, Value::Bytes(value)) => pair.value = message.slice_ref(value),
            (4, Value::Number(version)) => pair.version = version,
            (5, Value::Number(expires)) => pair.expires = expires,
            (6, Value::Bytes(meta)) => pair.deleted = meta.first().is_some_and(|m| m & DELETED != 0),
            _ => {}
        }
    }
    Some(pair)
}

fn fill(file: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(filled)
}

fn failed(e: io::Error) -> Error {
    Error::new(ErrorKind::Internal, "the backup cannot be read").with_source(e)
}

fn malformed(why: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("this is no whole backup of badger: {why}"))
}
