//! Values with an end date and counters: codes, limits, presence.

use super::Capability;
use crate::Result;
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

/// Short-lived values. Keys are 1 to 256 bytes of text.
///
/// * After its time a value is gone for every reader, swept or not.
/// * Each call is atomic, also across processes that share the store.
/// * May be lost as a whole in a crash: callers fail closed where safety asks.
#[async_trait]
pub trait Ephemeral: Send + Sync + std::fmt::Debug {
    /// What this backend can do.
    fn capability(&self) -> Capability;
    /// Sets a value, whatever was there.
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()>;
    /// Sets a value where none is; whether it did.
    async fn put_new(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool>;
    /// The value.
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;
    /// The value, removed by the same step: of several takers exactly one gets it.
    async fn take(&self, key: &str) -> Result<Option<Bytes>>;
    /// Removes a value or counter; whether it was there.
    async fn remove(&self, key: &str) -> Result<bool>;
    /// Counts one more and returns the count. The first count sets the end date; later ones do not move it.
    async fn count(&self, key: &str, ttl: Duration) -> Result<u64>;
    /// The keys that begin with `prefix`, in order, at most `limit`.
    async fn keys(&self, prefix: &str, limit: usize) -> Result<Vec<String>>;
}
