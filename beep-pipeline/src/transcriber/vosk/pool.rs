//! A bounded place for work that blocks: so many jobs at once, on threads that no async task runs on.

use beep_core::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Tells a running job that nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    /// Whether the job may stop early: its result would go nowhere.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sets the flag when the future that waits for a job is dropped.
struct Waiting(Abandoned);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// At most `places` jobs at once, first come first served.
#[derive(Debug)]
pub(super) struct Pool {
    places: usize,
    free: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(places: usize) -> Self {
        Self { places, free: Arc::new(Semaphore::new(places)) }
    }

    pub(super) fn places(&self) -> usize {
        self.places
    }

    /// Waits for a place and runs the job in it.
    ///
    /// * Who is dropped while waiting leaves the queue; who is dropped later sets [`Abandoned`].
    /// * The place is given back when the job has really ended, so there are never more than `places` at work.
    /// * A job that panics ends in an error, not in the caller's panic.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Abandoned) -> T + Send + 'static,
    ) -> Result<T> {
        let closed = |e| Error::internal("waiting for a place", e);
        let place = Arc::clone(&self.free).acquire_owned().await.map_err(closed)?;
        let abandoned = Abandoned::default();
        let waiting = Waiting(abandoned.clone());
        let done = tokio::task::spawn_blocking(move || {
            let value = job(&abandoned);
            drop(place);
            value
        });
        let value = done.await.map_err(|e| {
            let kind = if e.is_panic() { ErrorKind::Internal } else { ErrorKind::Unavailable };
            Error::new(kind, "a job on the blocking pool did not finish").with_source(e)
        });
        drop(waiting);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn dropped_waiter_stops_the_job_and_frees_the_place() {
        let pool = Arc::new(Pool::new(1));
        let (started, has_started) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let task = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                pool.run(move |abandoned| {
                    started.send(()).unwrap();
                    while !abandoned.is_set() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    ended.send(()).unwrap();
                })
                .await
            }
        });
        tokio::task::spawn_blocking(move || has_started.recv().unwrap()).await.unwrap();
        task.abort();
        tokio::task::spawn_blocking(move || has_ended.recv().unwrap()).await.unwrap();
        assert_eq!(pool.run(|_| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn never_more_than_the_places_at_once() {
        use std::sync::atomic::AtomicUsize;
        let pool = Arc::new(Pool::new(2));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..20).map(|_| {
            let (pool, now, most) = (Arc::clone(&pool), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                pool.run(move |_| {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    now.fetch_sub(1, Ordering::SeqCst);
                })
                .await
            })
        });
        for job in jobs.collect::<Vec<_>>() {
            job.await.unwrap().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn panic_is_an_error_and_frees_the_place() {
        let pool = Pool::new(1);
        let error = pool.run(|_| panic!("on purpose")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(pool.run(|_| 1).await.unwrap(), 1);
    }
}
