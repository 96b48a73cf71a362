//! What every request handler reaches: the pipeline, who checks tokens, the limits.

use crate::config::Http;
use beep_core::auth::SmsSender;
use beep_core::auth::{Authenticator, TokenIssuer};
use beep_core::clock::Millis;
use beep_core::clock::System;
use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::Beep;
use beep_pipeline::services::login::{Login, LoginOptions};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// What a server may be given beyond what it needs.
#[derive(Debug, Default)]
pub struct Extras {
    /// Why nothing is transcribed, when nothing is.
    pub transcription_off: Option<String>,
    /// Who sends codes for signing in.
    pub sms: Option<Arc<dyn SmsSender>>,
    /// Limits and test numbers of signing in.
    pub login: LoginOptions,
    /// The gateways whose word on who asks, and from where, is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// The server's state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    beep: Beep,
    authenticator: Arc<dyn Authenticator>,
    issuer: Arc<dyn TokenIssuer>,
    login: Login,
    http: Http,
    trusted_proxies: Vec<IpNet>,
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
        extras: Extras,
    ) -> Self {
        let Extras { transcription_off, sms, login, trusted_proxies } = extras;
        let login = Login::new(beep.clone(), jwt.clone(), sms, Arc::new(System), login);
        // Room for one body of the largest size at least: it would be refused for ever otherwise.
        let bodies = Semaphore::new(http.max_bodies.max(http.max_body).min(Semaphore::MAX_PERMITS));
        Self(Arc::new(Inner {
            beep,
            authenticator: jwt.clone(),
            issuer: jwt,
            login,
            http,
            trusted_proxies,
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

    /// Signing in.
    pub fn login(&self) -> &Login {
        &self.0.login
    }

    /// Whether what this address says of who asks is believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.trusted_proxies.iter().any(|network| network.contains(&address))
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
