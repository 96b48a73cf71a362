//! Tells whoever waits that the log has grown. The log is the record; the bus is only the bell.

use crate::Result;
use crate::event::{LogEntry, Seq};
use async_trait::async_trait;
use std::sync::Arc;

/// What a subscription hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The log reaches at least this far. One signal may stand for many entries.
    Grown(Seq),
    /// Entries may have been missed: read the log.
    Gap,
    /// The bus is closed; nothing will come any more.
    Closed,
}

/// Tells of log entries.
///
/// * May lose, double, delay, merge and reorder: a subscriber reads the log from its own cursor and takes what it hears
///   here as a hint.
/// * `publish` never waits for a subscriber.
/// * A subscription hears what is published after `subscribe` returned, or [`Signal::Gap`].
#[async_trait]
pub trait Bus: Send + Sync + std::fmt::Debug {
    /// Announces an entry that is already committed.
    async fn publish(&self, entry: &LogEntry) -> Result<()>;
    /// Begins to listen.
    async fn subscribe(&self) -> Result<Box<dyn Subscription>>;
}

#[async_trait]
impl<B: Bus + ?Sized> Bus for Box<B> {
    async fn publish(&self, entry: &LogEntry) -> Result<()> {
        (**self).publish(entry).await
    }
    async fn subscribe(&self) -> Result<Box<dyn Subscription>> {
        (**self).subscribe().await
    }
}

#[async_trait]
impl<B: Bus + ?Sized> Bus for Arc<B> {
    async fn publish(&self, entry: &LogEntry) -> Result<()> {
        (**self).publish(entry).await
    }
    async fn subscribe(&self) -> Result<Box<dyn Subscription>> {
        (**self).subscribe().await
    }
}

/// One listener of a [`Bus`].
#[async_trait]
pub trait Subscription: Send {
    /// Waits for the next signal. Dropping the future loses nothing.
    async fn next(&mut self) -> Signal;
}
