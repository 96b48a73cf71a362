//! Deletes bodies that no row names.

use super::error::storage;
use super::pool::Postgres;
use crate::Bodies;
use beep_core::Result;
use beep_core::clock::{Clock, Millis};
use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How many names are compared at once.
const PAGE: usize = 1_000;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Bodies that it saw.
    pub looked: u64,
    /// Those of them that it deleted.
    pub deleted: u64,
}

/// Deletes what lies in `bodies` since before `older` (a day is a good value) and is named by no row of `db`.
///
/// * A body is written before its row, and a body that is not named when it is `older` never will be: `older` has to be
///   longer than any put takes. Where this node's clock is ahead of the database's, the database's counts.
/// * Any number of nodes may sweep at once. An error ends the sweep; the next one does what is left.
/// * **`bodies` must be this database's alone**: what another one keeps there is named by no row of this one.
pub async fn sweep(db: &Postgres, bodies: &dyn Bodies, now: Millis, older: Duration) -> Result<Swept> {
    let clock: i64 = sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        .fetch_one(db.pool())
        .await
        .map_err(storage)?;
    let older = Millis::try_from(older.as_millis()).unwrap_or(Millis::MAX);
    let before = now.min(clock.max(0) as Millis).saturating_sub(older);

    let mut swept = Swept::default();
    let mut after: Option<String> = None;
    loop {
        let page = bodies.names(after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(swept) };
        after = Some(last.clone());
        swept.looked += page.len() as u64;
        let old: Vec<String> =
            page.into_iter().filter(|(_, written)| *written < before).map(|(name, _)| name).collect();
        // Listed before it is looked for: a name that is older than any put and has no row now never gets one.
        let named = named(db, &old).await?;
        for name in old.iter().filter(|name| !named.contains(*name)) {
            bodies.delete(name).await?;
            swept.deleted += 1;
        }
    }
}

/// How often an open installation is swept, and how old what is swept has to be.
const EVERY: Duration = Duration::from_secs(60 * 60);
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Sweeps as long as anybody uses these bodies. What fails is tried at the next turn.
pub(crate) async fn keep_sweeping(db: Postgres, bodies: Weak<dyn Bodies>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(bodies) = bodies.upgrade() else { return };
        match sweep(&db, &*bodies, clock.now(), OLD).await {
            Ok(swept) => tracing::debug!(
                looked = swept.looked,
                deleted = swept.deleted,
                "bodies without a row were swept"
            ),
            Err(error) => {
                tracing::warn!(%error, "bodies without a row could not be swept; trying again in an hour")
            }
        }
    }
}

/// Those of these names that a row has.
async fn named(db: &Postgres, names: &[String]) -> Result<HashSet<String>> {
    if names.is_empty() {
        return Ok(HashSet::new());
    }
    // Every table that may name a body has to be here: what it names and this does not is deleted.
    let named: Vec<String> = sqlx::query_scalar(
        "SELECT object FROM bites WHERE object = ANY($1) UNION ALL SELECT object FROM blobs WHERE object = ANY($1)",
    )
    .bind(names)
    .fetch_all(db.pool())
    .await
    .map_err(storage)?;
    Ok(named.into_iter().collect())
}
