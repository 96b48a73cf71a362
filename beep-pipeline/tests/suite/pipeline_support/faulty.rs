//! A bite store whose every call can be held up, refused before it happens, or lose its answer after it happened.

use async_trait::async_trait;
use beep_core::Result;
use beep_core::bite::{Bite, BiteKey, BiteMeta, Label, ScanPage, ScanRange};
use beep_core::clock::Millis;
use beep_core::event::{LogEntry, Seq};
use beep_core::id::ConversationId;
use beep_core::store::{BiteStore, Capability, NewBite, Parked, Put, VerifyPage};
use std::sync::Arc;

/// What happens to the calls.
#[async_trait]
pub trait Fate: Send + Sync + std::fmt::Debug {
    /// Before a call of this name reaches the store; an error keeps it from getting there.
    async fn before(&self, call: &'static str) -> Result<()>;

    /// What the store says that it can do.
    fn capability(&self, of: Capability) -> Capability {
        of
    }

    /// After the store has done it; an error replaces its answer.
    async fn after(&self, _call: &'static str) -> Result<()> {
        Ok(())
    }
}

/// A store with a fate.
#[derive(Clone, Debug)]
pub struct Faulty {
    pub inner: Arc<dyn BiteStore>,
    pub fate: Arc<dyn Fate>,
}

impl Faulty {
    /// The store, with this fate from now on.
    pub fn new(inner: Arc<dyn BiteStore>, fate: Arc<dyn Fate>) -> Arc<Self> {
        Arc::new(Self { inner, fate })
    }

    async fn pass<T>(&self, call: &'static str, reach: impl Future<Output = Result<T>>) -> Result<T> {
        self.fate.before(call).await?;
        let answer = reach.await?;
        self.fate.after(call).await?;
        Ok(answer)
    }
}

#[async_trait]
impl BiteStore for Faulty {
    fn capability(&self) -> Capability {
        self.fate.capability(self.inner.capability())
    }

    async fn put(&self, bite: NewBite) -> Result<Put> {
        self.pass("put", self.inner.put(bite)).await
    }

    async fn get(&self, key: &BiteKey) -> Result<Option<Bite>> {
        self.pass("get", self.inner.get(key)).await
    }

    async fn head(&self, key: &BiteKey) -> Result<Option<BiteMeta>> {
        self.pass("head", self.inner.head(key)).await
    }

    async fn delete(
        &self,
        conversation: &ConversationId,
        start: Millis,
        at: Millis,
    ) -> Result<Option<LogEntry>> {
        self.pass("delete", self.inner.delete(conversation, start, at)).await
    }

    async fn scan(&self, label: Label, conversation: &ConversationId, range: ScanRange) -> Result<ScanPage> {
        self.pass("scan", self.inner.scan(label, conversation, range)).await
    }

    async fn metas(
        &self,
        label: Label,
        conversation: &ConversationId,
        range: ScanRange,
    ) -> Result<Vec<(Millis, BiteMeta)>> {
        self.pass("metas", self.inner.metas(label, conversation, range)).await
    }

    async fn log(&self, after: Seq, limit: usize) -> Result<Vec<LogEntry>> {
        self.pass("log", self.inner.log(after, limit)).await
    }

    async fn tail(&self) -> Result<Seq> {
        self.pass("tail", self.inner.tail()).await
    }

    async fn cursor(&self, group: &str) -> Result<Seq> {
        self.pass("cursor", self.inner.cursor(group)).await
    }

    async fn advance(&self, group: &str, seq: Seq) -> Result<()> {
        self.pass("advance", self.inner.advance(group, seq)).await
    }

    async fn park(&self, key: &BiteKey, reason: &str, at: Millis) -> Result<Option<LogEntry>> {
        self.pass("park", self.inner.park(key, reason, at)).await
    }

    async fn parked_at(&self, key: &BiteKey) -> Result<Option<Parked>> {
        self.pass("parked_at", self.inner.parked_at(key)).await
    }

    async fn parked(&self, limit: usize) -> Result<Vec<Parked>> {
        self.pass("parked", self.inner.parked(limit)).await
    }

    async fn verify(&self, from: Option<Vec<u8>>, limit: usize) -> Result<VerifyPage> {
        self.pass("verify", self.inner.verify(from, limit)).await
    }

    async fn ready(&self) -> Result<()> {
        self.pass("ready", self.inner.ready()).await
    }
}
