//! Which of several nodes does a piece of work: a claim that ends by itself unless its holder renews it.
//!
//! A lease saves work, it does not guard anything: workers are idempotent, so where the short-lived store is away or has
//! lost a claim, work is done twice.

use beep_core::Result;
use beep_core::clock::Entropy;
use beep_core::store::Ephemeral;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a claim outlives its last renewal: what a node that died had begun waits as long.
const TERM: Duration = Duration::from_secs(10);
/// How often a claim is renewed, and looked for again by who did not get it.
pub(crate) const RENEWAL: Duration = Duration::from_secs(3);

/// Claims of one node.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    ephemeral: Arc<dyn Ephemeral>,
    node: Bytes,
    held: Arc<Mutex<HashSet<String>>>,
}

/// A claim that is held. Dropped without [`Lease::release`] it ends by itself, or with [`Leases::release_all`].
#[derive(Debug)]
pub(crate) struct Lease {
    leases: Leases,
    name: String,
    renewing: JoinHandle<()>,
}

impl Leases {
    pub(crate) fn new(ephemeral: Arc<dyn Ephemeral>, entropy: &dyn Entropy) -> Result<Self> {
        let mut node = [0; 16];
        entropy.fill(&mut node)?;
        Ok(Self { ephemeral, node: Bytes::copy_from_slice(&node), held: Arc::default() })
    }

    /// The claim to this work, none while another node has it.
    pub(crate) async fn claim(&self, work: &str) -> Option<Lease> {
        let name = format!("lease:{work}");
        match self.ephemeral.put_new(&name, self.node.clone(), TERM).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(e) => tracing::debug!(work, error = %e, "no lease can be had; the work is done without one"),
        }
        let renewing = tokio::spawn(self.clone().renew(name.clone()));
        self.held().insert(name.clone());
        Some(Lease { leases: self.clone(), name, renewing })
    }

    /// Gives every claim of this node back: it is ending, and others can go on at once.
    pub(crate) async fn release_all(&self) {
        let held = std::mem::take(&mut *self.held());
        for name in held {
            self.remove(&name).await;
        }
    }

    async fn remove(&self, name: &str) {
        let removed = match self.ephemeral.get(name).await {
            Ok(Some(holder)) if holder == self.node => self.ephemeral.remove(name).await.map(drop),
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        };
        if let Err(e) = removed {
            tracing::debug!(lease = name, error = %e, "a lease ends by itself");
        }
    }

    fn held(&self) -> MutexGuard<'_, HashSet<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when another node has the claim.
    async fn renew(self, name: String) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let renewed = match self.ephemeral.get(&name).await {
                Ok(Some(holder)) if holder != self.node => return,
                Ok(_) => self.ephemeral.put(&name, self.node.clone(), TERM).await,
                Err(e) => Err(e),
            };
            if let Err(e) = renewed {
                tracing::debug!(lease = name, error = %e, "a lease could not be renewed");
            }
        }
    }
}

impl Lease {
    /// Waits until another node has it.
    pub(crate) async fn lost(&mut self) {
        // It ends in no other way: nobody else can abort it.
        (&mut self.renewing).await.ok();
    }

    /// Gives the claim back, so that nobody waits for its end.
    pub(crate) async fn release(self) {
        self.renewing.abort();
        self.leases.held().remove(&self.name);
        self.leases.remove(&self.name).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}
