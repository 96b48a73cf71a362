//! Puts a pipeline together: stores, clock, bus, transcriber, limits.

use crate::Beep;
use beep_core::Result;
use beep_core::bus::Bus;
use beep_core::clock::{Clock, System};
use beep_core::store::Stores;
use beep_core::transcriber::Transcriber;
use std::sync::Arc;

/// What a pipeline is made of. Everything but the stores has a default.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    pub(crate) stores: Stores,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bus: Option<Arc<dyn Bus>>,
    pub(crate) transcriber: Option<Arc<dyn Transcriber>>,
    pub(crate) max_body: usize,
}

impl Builder {
    pub(crate) fn new(stores: Stores) -> Self {
        Self { stores, clock: Arc::new(System), bus: None, transcriber: None, max_body: 10 << 20 }
    }

    /// Where the time comes from; the system's clock unless set.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The bus that leads to the other processes of the installation. Without one they hear of each other by looking at
    /// the log, ten times a second.
    pub fn bus(mut self, bus: Arc<dyn Bus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// What recognises speech. Without one, bites wait untranscribed until a pipeline with one starts.
    pub fn transcriber(mut self, transcriber: Arc<dyn Transcriber>) -> Self {
        self.transcriber = Some(transcriber);
        self
    }

    /// The most bytes of one bite; 10 MiB unless set.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Starts the workers, each from its durable cursor.
    pub async fn start(self) -> Result<Beep> {
        Beep::start(self).await
    }
}
