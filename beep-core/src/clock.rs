//! Time and randomness as arguments: the only place that may ask the machine for either.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC: the unit of every `start`, `from`, `to` and arrival time.
pub type Millis = u64;

/// Where the wall-clock time comes from.
///
/// * Never panics; before 1970 it answers 0.
/// * May jump in either direction: nothing may rely on it growing.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, in milliseconds since 1970.
    fn now(&self) -> Millis;
}

/// Where unpredictable bytes come from.
///
/// * Unpredictable to anyone else; fit for keys and ids.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Fills `bytes` entirely, or says why it cannot.
    fn fill(&self, bytes: &mut [u8]) -> crate::Result<()>;
}

/// The machine's own clock and random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Clock for System {
    #[allow(clippy::disallowed_methods)] // the one place that reads the wall clock
    fn now(&self) -> Millis {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as Millis)
    }
}

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> crate::Result<()> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| {
            crate::Error::new(
                crate::ErrorKind::Internal,
                "the operating system's random source gave no bytes",
            )
        })
    }
}

/// A clock that tests set.
///
/// ```
/// use beep_core::clock::{Clock, ManualClock};
/// let clock = ManualClock::at(1_000);
/// clock.advance(5);
/// assert_eq!(clock.now(), 1_005);
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Millis) -> Self {
        Self(AtomicU64::new(now))
    }

    /// Moves the clock forward by `by` milliseconds.
    pub fn advance(&self, by: Millis) {
        self.0.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, now: Millis) {
        self.0.store(now, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        self.0.load(Ordering::SeqCst)
    }
}

/// A repeatable random source for tests (splitmix64). Not for keys.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// The same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> crate::Result<()> {
        for chunk in bytes.chunks_mut(8) {
            let mut z =
                self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst).wrapping_add(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
