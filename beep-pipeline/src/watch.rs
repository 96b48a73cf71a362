//! Watches the directory for what any process changed: one look for the gate and for the streams of changes.

use crate::services::changes::Changes;
use beep_core::bus::Signal;
use beep_core::permission::Gate;
use beep_core::store::Directory;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often it is looked where the directory does not ring: somebody removed is out within 100 ms.
const LOOK: Duration = Duration::from_millis(50);
/// The same where it does.
const LOOK_BESIDE_A_BELL: Duration = Duration::from_secs(1);

/// Runs until dropped.
pub(crate) async fn directory(directory: Arc<dyn Directory>, gate: Arc<Gate>, changes: Arc<Changes>) {
    let mut bell = None;
    let mut silent = false;
    loop {
        if bell.is_none() && !silent {
            match directory.bell().await {
                Ok(Some(rings)) => bell = Some(rings),
                Ok(None) => silent = true,
                Err(e) => {
                    tracing::warn!(error = %e, "the directory cannot be heard; it is looked at often instead")
                }
            }
        }
        let trouble = match gate.follow().await {
            Ok(_) => {
                changes.reach(gate.followed());
                false
            }
            Err(e) => {
                tracing::warn!(error = %e, "the changes of memberships cannot be read; every permission is asked anew");
                // Changes that are no longer kept cannot be caught up with: nothing is remembered, so begin behind them.
                if let Err(e) = gate.begin().await {
                    tracing::warn!(error = %e, "the directory does not answer");
                }
                changes.ring();
                true
            }
        };
        match &mut bell {
            Some(rings) if !trouble => {
                if let Ok(Signal::Closed) = timeout(LOOK_BESIDE_A_BELL, rings.next()).await {
                    bell = None;
                }
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}
