//! What every request handler reaches: the pipeline, who checks tokens, the limits.

use crate::config::Http;
use beep_core::auth::{Authenticator, TokenIssuer};
use beep_core::clock::Millis;
use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::Beep;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// The server's state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    beep: Beep,
    authenticator: Arc<dyn Authenticator>,
    issuer: Arc<dyn TokenIssuer>,
    http: Http,
    /// Why nothing is transcribed, when nothing is.
    transcription_off: Option<String>,
    /// Bytes of bodies that may be in memory at once.
    bodies: Semaphore,
    /// Turns true when the server stops: streams end.
    closing: watch::Sender<bool>,
}

impl App {
    /// Puts the state together.
    pub fn new<J: Authenticator + TokenIssuer + 'static>(
        beep: Beep,
        jwt: Arc<J>,
        http: Http,
        transcription_off: Option<String>,
    ) -> Self {
        // Room for one body of the largest size at least: it would be refused for ever otherwise.
        let bodies = Semaphore::new(http.max_bodies.max(http.max_body).min(Semaphore::MAX_PERMITS));
        Self(Arc::new(Inner {
            beep,
            authenticator: jwt.clone(),
            issuer: jwt,
            http,
            transcription_off,
            bodies,
            closing: watch::Sender::new(false),
        }))
    }

    /// The pipeline.
    pub fn beep(&self) -> &Beep {
        &self.0.beep
    }

    pub(crate) fn authenticator(&self) -> &dyn Authenticator {
        &*self.0.authenticator
    }

    /// Who makes tokens here.
    pub fn issuer(&self) -> &dyn TokenIssuer {
        &*self.0.issuer
    }

    pub(crate) fn http(&self) -> &Http {
        &self.0.http
    }

    pub(crate) fn now(&self) -> Millis {
        self.0.beep.clock().now()
    }

    /// Why nothing is transcribed; none when it is.
    pub fn transcription_off(&self) -> Option<&str> {
        self.0.transcription_off.as_deref()
    }

    /// Room for a body of this size, before a byte of it is read; [`ErrorKind::Unavailable`] when there is none.
    pub(crate) fn room_for(&self, bytes: usize) -> Result<SemaphorePermit<'_>> {
        let full = || Error::new(ErrorKind::Unavailable, "too many uploads at once; try again in a moment");
        self.0.bodies.try_acquire_many(u32::try_from(bytes).map_err(|_| full())?).map_err(|_| full())
    }

    /// Ends the streams.
    pub(crate) fn close(&self) {
        self.0.closing.send_replace(true);
    }

    /// Resolves when the server stops.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut closing = self.0.closing.subscribe();
        async move {
            // An error means that the server is gone altogether.
            closing.wait_for(|closing| *closing).await.ok();
        }
    }
}
