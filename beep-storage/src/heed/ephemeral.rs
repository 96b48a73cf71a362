//! [`Ephemeral`] in LMDB: shared with other processes, and kept over restarts, which nobody may rely on.
//!
//! A counter is a value that reads as decimal digits, as in Redis. Each write goes through the group commit: it
//! waits for one sync, and costs others none.

use super::codec;
use super::env::HeedEnv;
use super::fault::{Abort, error};
use super::write::Write;
use async_trait::async_trait;
use beep_core::clock::{Clock, Millis};
use beep_core::store::{Capability, Ephemeral};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use heed::types::DecodeIgnore;
use serde::{Deserialize, Serialize};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// How many ended values one write sweeps at most.
const SWEEP: usize = 16;

/// Short-lived values in LMDB.
#[derive(Clone, Debug)]
pub struct HeedEphemeral {
    env: HeedEnv,
    clock: Arc<dyn Clock>,
}

impl HeedEphemeral {
    /// The short-lived values of this environment; `clock` tells when they end.
    pub fn new(env: &HeedEnv, clock: Arc<dyn Clock>) -> Self {
        Self { env: env.clone(), clock }
    }

    async fn change<T: Send + 'static>(
        &self,
        key: &str,
        bytes: usize,
        mut work: impl FnMut(&mut Write<'_>, &[u8], Millis) -> Result<T, Abort> + Send + 'static,
    ) -> Result<T> {
        let (key, now) = (checked(key)?.as_bytes().to_vec(), self.clock.now());
        let work = move |write: &mut Write<'_>| {
            let done = work(write, &key, now)?;
            sweep(write, now)?;
            Ok(done)
        };
        self.env.writer().run(bytes, work).await
    }
}

/// A value as stored.
#[derive(Serialize, Deserialize)]
struct Value<'a> {
    ends: u64,
    #[serde(borrow)]
    bytes: &'a [u8],
}

#[async_trait]
impl Ephemeral for HeedEphemeral {
    fn capability(&self) -> Capability {
        Capability::new(true, true)
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        let put = move |write: &mut Write<'_>, key: &[u8], now| set(write, key, &value, end(now, ttl));
        self.change(key, 512, put).await
    }

    async fn put_new(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        let put = move |write: &mut Write<'_>, key: &[u8], now| {
            if current(write, key, now)?.is_some() {
                return Ok(false);
            }
            set(write, key, &value, end(now, ttl)).map(|()| true)
        };
        self.change(key, 512, put).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let (key, now) = (checked(key)?.as_bytes(), self.clock.now());
        self.env.read(|dbs, txn| {
            let Some(value) = dbs.values.get(txn, key).map_err(error)? else { return Ok(None) };
            let value: Value<'_> = codec::unseal(key, value)?;
            Ok((value.ends > now).then(|| Bytes::copy_from_slice(value.bytes)))
        })
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let take = |write: &mut Write<'_>, key: &[u8], now| {
            let value = current(write, key, now)?;
            unset(write, key)?;
            Ok(value.map(|(_, bytes)| bytes.into()))
        };
        self.change(key, 0, take).await
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        let remove = |write: &mut Write<'_>, key: &[u8], now| {
            let there = current(write, key, now)?.is_some();
            unset(write, key)?;
            Ok(there)
        };
        self.change(key, 0, remove).await
    }

    async fn count(&self, key: &str, ttl: Duration) -> Result<u64> {
        let count = move |write: &mut Write<'_>, key: &[u8], now| {
            let (ends, count) = match current(write, key, now)? {
                None => (end(now, ttl), 0),
                Some((ends, bytes)) => {
                    let digits = std::str::from_utf8(&bytes).ok().and_then(|t| t.parse().ok());
                    (
                        ends,
                        digits.ok_or_else(|| {
                            Error::new(ErrorKind::Conflict, "a value stands there, no counter")
                        })?,
                    )
                }
            };
            let count: u64 = u64::saturating_add(count, 1);
            set(write, key, count.to_string().as_bytes(), ends)?;
            Ok(count)
        };
        self.change(key, 512, count).await
    }

    async fn keys(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        let now = self.clock.now();
        self.env.read(|dbs, txn| {
            let mut keys = Vec::new();
            // LMDB knows no empty key.
            let from = if prefix.is_empty() { Bound::Unbounded } else { Bound::Included(prefix.as_bytes()) };
            for row in dbs.values.range(txn, &(from, Bound::Unbounded)).map_err(error)? {
                let (key, value) = row.map_err(error)?;
                if keys.len() == limit || !key.starts_with(prefix.as_bytes()) {
                    break;
                }
                let value: Value<'_> = codec::unseal(key, value)?;
                let name = std::str::from_utf8(key).map_err(|_| codec::damaged(key))?;
                if keys.last().is_some_and(|last: &String| last.as_str() >= name) {
                    return Err(codec::damaged(key)); // a damaged page can lead in circles
                }
                if value.ends > now {
                    keys.push(name.to_owned());
                }
            }
            Ok(keys)
        })
    }
}

fn checked(key: &str) -> Result<&str> {
    if (1..=256).contains(&key.len()) {
        return Ok(key);
    }
    Err(Error::new(ErrorKind::Malformed, "the key of a short-lived value must be 1 to 256 bytes long"))
}

fn end(now: Millis, ttl: Duration) -> Millis {
    now.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

fn index(ends: Millis, key: &[u8]) -> Vec<u8> {
    [&ends.to_be_bytes()[..], key].concat()
}

/// End date and bytes of the value that stands at `key` now.
fn current(write: &Write<'_>, key: &[u8], now: Millis) -> Result<Option<(Millis, Vec<u8>)>, Abort> {
    let Some(value) = write.dbs.values.get(&write.txn, key)? else { return Ok(None) };
    let value: Value<'_> = codec::unseal(key, value)?;
    Ok((value.ends > now).then(|| (value.ends, value.bytes.to_vec())))
}

fn set(write: &mut Write<'_>, key: &[u8], bytes: &[u8], ends: Millis) -> Result<(), Abort> {
    unset(write, key)?;
    write.put(write.dbs.values, key, &codec::seal(key, &Value { ends, bytes })?)?;
    Ok(write.put(write.dbs.ends, &index(ends, key), b"")?)
}

fn unset(write: &mut Write<'_>, key: &[u8]) -> Result<(), Abort> {
    let Some(value) = write.dbs.values.get(&write.txn, key)? else { return Ok(()) };
    // A damaged value cannot tell its end date; its index entry is swept later.
    if let Ok(Value { ends, .. }) = codec::unseal(key, value) {
        write.remove(write.dbs.ends, &index(ends, key))?;
    }
    write.remove(write.dbs.values, key)?;
    Ok(())
}

fn sweep(write: &mut Write<'_>, now: Millis) -> Result<(), Abort> {
    let until = now.saturating_add(1).to_be_bytes();
    let ended = write.dbs.ends.remap_data_type::<DecodeIgnore>();
    let ended = ended.range(&write.txn, &(Bound::Unbounded, Bound::Excluded(&until[..])))?.take(SWEEP);
    for key in ended.map(|row| row.map(|(key, ())| key.to_vec())).collect::<heed::Result<Vec<_>>>()? {
        write.remove(write.dbs.ends, &key)?;
        let Some(name) = key.get(8..) else { continue };
        match current(write, name, now) {
            Ok(Some(_)) => {} // put anew since, with another end date
            Err(Abort::Engine(error)) => return Err(error.into()),
            Ok(None) | Err(Abort::Own(_)) => {
                write.remove(write.dbs.values, name)?;
            }
        }
    }
    Ok(())
}
