//! [`Ephemeral`] in memory. A counter is a value that reads as decimal digits.

use async_trait::async_trait;
use beep_core::clock::{Clock, Millis};
use beep_core::store::{Capability, Ephemeral};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many values there are before a write looks for ended ones; doubles with what is left.
const SWEEP_FROM: usize = 1_024;

/// Short-lived values in memory.
pub struct MemoryEphemeral {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, (Millis, Bytes)>,
    sweep_at: usize,
}

impl fmt::Debug for MemoryEphemeral {
    // Values may be secrets: codes, pins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryEphemeral").finish_non_exhaustive()
    }
}

impl MemoryEphemeral {
    /// An empty store; `clock` tells when values end.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, ttl: Duration) -> Millis {
        self.clock.now().saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
    }
}

impl State {
    fn current(&self, key: &str, now: Millis) -> Option<&(Millis, Bytes)> {
        self.values.get(key).filter(|(ends, _)| *ends > now)
    }

    fn set(&mut self, key: &str, ends: Millis, value: Bytes, now: Millis) {
        self.values.insert(key.to_owned(), (ends, value));
        if self.values.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.values.retain(|_, (ends, _)| *ends > now);
            self.sweep_at = self.values.len() * 2;
        }
    }
}

#[async_trait]
impl Ephemeral for MemoryEphemeral {
    fn capability(&self) -> Capability {
        Capability::new(false, false)
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        self.state().set(checked(key)?, self.end(ttl), value, self.clock.now());
        Ok(())
    }

    async fn put_new(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        let mut state = self.state();
        let now = self.clock.now();
        if state.current(checked(key)?, now).is_some() {
            return Ok(false);
        }
        state.set(key, self.end(ttl), value, now);
        Ok(true)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.state().current(checked(key)?, self.clock.now()).map(|(_, value)| value.clone()))
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let now = self.clock.now();
        let taken = self.state().values.remove(checked(key)?);
        Ok(taken.filter(|(ends, _)| *ends > now).map(|(_, value)| value))
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        Ok(self.take(key).await?.is_some())
    }

    async fn count(&self, key: &str, ttl: Duration) -> Result<u64> {
        let mut state = self.state();
        let now = self.clock.now();
        let (ends, count) = match state.current(checked(key)?, now) {
            None => (self.end(ttl), 0),
            Some((ends, value)) => {
                let digits = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                let count =
                    digits.ok_or_else(|| Error::new(ErrorKind::Conflict, "a value stands there, no counter"));
                (*ends, count?)
            }
        };
        let count: u64 = u64::saturating_add(count, 1);
        state.set(key, ends, count.to_string().into(), now);
        Ok(count)
    }

    async fn keys(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        let now = self.clock.now();
        let state = self.state();
        let rows = state.values.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(rows.filter(|(_, (ends, _))| *ends > now).map(|(key, _)| key.clone()).take(limit).collect())
    }
}

fn checked(key: &str) -> Result<&str> {
    if (1..=256).contains(&key.len()) {
        return Ok(key);
    }
    Err(Error::new(ErrorKind::Malformed, "the key of a short-lived value must be 1 to 256 bytes long"))
}
