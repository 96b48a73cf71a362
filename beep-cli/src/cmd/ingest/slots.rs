//! Which start each file of a run gets, such that another run of the same files finds each of them again.
//!
//! A file wants one start, and other recordings may stand there: files with the same modification time, or something
//! said live. So a file goes to the first start, from the one it wants onwards, where nothing else stands. Recordings
//! stay where they are, hence whoever walks the same way again meets the same ones, and in the end either the file's
//! own recording, which means that it is there already, or a free start, which means that it is not. Nothing has to be
//! remembered: it holds after a crash, a year later, and for two runs at the same time.
//!
//! Two files with the same bytes are two recordings. What one file of this run found or stored is therefore *claimed*,
//! and the next file goes past it.

use crate::failure::{Failure, Result};
use beep_core::clock::Millis;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a file met at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// It was free, and the file is stored there now.
    Stored,
    /// The file's own recording.
    Present,
    /// Another recording.
    Other,
}

/// The starts that the files of this run have tried; `true` where one of them found or stored its recording.
#[derive(Debug, Default)]
pub struct Slots(Mutex<HashMap<Millis, Arc<tokio::sync::Mutex<bool>>>>);

impl Slots {
    /// Walks from `from` on. `attempt` stores the file at a start, or says what stands there.
    ///
    /// A start that another file is just trying is waited for: going past it before it is known to be taken could
    /// leave it free, and a later run would stop there.
    pub async fn walk(
        &self,
        from: Millis,
        attempt: impl AsyncFn(Millis) -> Result<Landing>,
    ) -> Result<(Millis, Landing)> {
        for start in from..=Millis::MAX {
            let slot = self.slot(start);
            let mut claimed = slot.lock().await;
            if *claimed {
                continue;
            }
            let landing = attempt(start).await?;
            if landing != Landing::Other {
                *claimed = true;
                return Ok((start, landing));
            }
        }
        Err(Failure::new("conflict", "no start is free from there on"))
    }

    fn slot(&self, start: Millis) -> Arc<tokio::sync::Mutex<bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(start).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicU32, Ordering};

    type Store = Mutex<HashMap<Millis, &'static str>>;

    async fn run(store: &Store, files: &[(Millis, &'static str)]) -> Vec<(Millis, Landing)> {
        let slots = Slots::default();
        join_all(files.iter().map(|(from, bytes)| {
            slots.walk(*from, async |start| {
                tokio::task::yield_now().await;
                let mut store = store.lock().unwrap();
                let there = store.get(&start).copied();
                Ok(match there {
                    None => {
                        store.insert(start, bytes);
                        Landing::Stored
                    }
                    Some(there) if there == *bytes => Landing::Present,
                    Some(_) => Landing::Other,
                })
            })
        }))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
    }

    #[tokio::test]
    async fn every_file_is_found_again() {
        let store = Store::new(HashMap::from([(10, "live"), (12, "live")]));
        // Overlapping neighbourhoods, the same start, the same bytes, and all of it at once.
        let files =
            [(10, "a"), (10, "b"), (10, "a"), (11, "a"), (11, "c"), (13, "b"), (14, "a"), (10, "live")];
        let first = run(&store, &files).await;
        assert_eq!(store.lock().unwrap().len(), 2 + files.len() - 1, "`live` is there already: {first:?}");
        assert_eq!(first.iter().filter(|(_, l)| *l == Landing::Present).count(), 1);
        for _ in 0..3 {
            let again = run(&store, &files).await;
            assert!(again.iter().all(|(_, landing)| *landing == Landing::Present), "{again:?}");
        }
        // One by one, in any order, too.
        for file in files.iter().rev() {
            assert_eq!(run(&store, &[*file]).await[0].1, Landing::Present);
        }
    }

    #[tokio::test]
    async fn two_runs_at_once_store_each_file_once() {
        let store = Store::default();
        let files: Vec<_> = (0..50).map(|n| (n / 7, ["a", "b", "c", "d", "e"][n as usize % 5])).collect();
        tokio::join!(run(&store, &files), run(&store, &files));
        let after = store.lock().unwrap().len();
        let again = run(&store, &files).await;
        assert!(again.iter().all(|(_, landing)| *landing == Landing::Present), "{again:?}");
        assert_eq!(after, files.len());
    }

    #[tokio::test]
    async fn a_crash_in_between_leaves_no_doubles() {
        let files: Vec<_> = (0..40).map(|n| (n / 9, ["x", "y", "z"][n as usize % 3])).collect();
        for crash_after in 0..40 {
            let store = Store::default();
            let stored = AtomicU32::new(0);
            let slots = Slots::default();
            for (from, bytes) in &files {
                let walked = slots.walk(*from, async |start| {
                    let mut store = store.lock().unwrap();
                    match store.get(&start).copied() {
                        None if stored.fetch_add(1, Ordering::Relaxed) >= crash_after => {
                            Err(Failure::new("io", "crash"))
                        }
                        None => {
                            store.insert(start, bytes);
                            Ok(Landing::Stored)
                        }
                        Some(there) if there == *bytes => Ok(Landing::Present),
                        Some(_) => Ok(Landing::Other),
                    }
                });
                if walked.await.is_err() {
                    break;
                }
            }
            run(&store, &files).await;
            assert_eq!(store.lock().unwrap().len(), files.len(), "crash after {crash_after}");
        }
    }
}
