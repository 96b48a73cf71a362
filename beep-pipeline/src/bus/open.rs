//! From a URL to a bus: the only place that knows every bus.

use super::MemoryBus;
#[cfg(feature = "bus-nats")]
use super::NatsBus;
use beep_core::bus::Bus;
use beep_core::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Opens the bus that this URL names: `memory:` (or nothing) for one process, `nats://host` or `tls://host` for
/// several nodes.
///
/// [`ErrorKind::Malformed`] for a URL that names no bus, [`ErrorKind::Unsupported`] for one that this build lacks; the
/// message names the feature. A NATS server that is away is no error: it is waited for in the background.
pub async fn open(url: &str) -> Result<Arc<dyn Bus>> {
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "" | "memory" if matches!(url, "" | "memory:") => Ok(Arc::new(MemoryBus::default())),
        #[cfg(feature = "bus-nats")]
        "nats" | "tls" => Ok(Arc::new(NatsBus::open(url).await?)),
        #[cfg(not(feature = "bus-nats"))]
        "nats" | "tls" => {
            let sentence = format!("this build has no `{scheme}:` bus: build it with the feature `bus-nats`");
            Err(Error::new(ErrorKind::Unsupported, sentence))
        }
        // Not the whole URL: it may hold a password.
        _ => {
            let sentence = format!(
                "a URL that begins with `{scheme}` names no bus: write `memory:`, `nats://<host>` or `tls://<host>`"
            );
            Err(Error::new(ErrorKind::Malformed, sentence))
        }
    }
}
