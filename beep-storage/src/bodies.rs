//! Where a database keeps bytes that are too many for its rows: named, written once.

use async_trait::async_trait;
use beep_core::Result;
use beep_core::clock::Millis;
use bytes::Bytes;

/// Bytes by name, beside a database that knows the names.
///
/// * Names are unique by themselves: nobody writes other bytes under a name that was used, so a store that cannot refuse
///   a second write loses nothing.
/// * When `put` returns `Ok`, the bytes survive what the store promises to survive, and every reader sees them.
/// * The row that names the bytes is committed after them: what a crash leaves between is an orphan, never a hole.
#[async_trait]
pub trait Bodies: Send + Sync + std::fmt::Debug {
    /// Stores bytes under a name that nobody used before.
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()>;
    /// The bytes of this name; none when there are none.
    async fn get(&self, name: &str) -> Result<Option<Bytes>>;
    /// Deletes them; nothing happens where there are none.
    async fn delete(&self, name: &str) -> Result<()>;
    /// Names behind `after` in byte order, at most `limit`, each with when it was written.
    async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Millis)>>;
    /// Whether it answers now; the error says why not.
    async fn ready(&self) -> Result<()>;
}
