//! Runs blocking work on threads of its own: a bounded number, each told to stop at its deadline.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{sync::Semaphore, time::Instant};

/// Blocking jobs at a time; more than there are processors only adds memory.
const JOBS_MAX: u32 = 4;

/// A bounded number of blocking jobs.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Semaphore>);

/// A job did not finish in time, or panicked.
#[derive(Debug)]
pub(crate) struct GivenUp;

/// Sets the flag when dropped, so that a job nobody waits for ends as well.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Pool {
    pub(crate) fn new() -> Pool {
        Pool(Arc::new(Semaphore::new(JOBS_MAX as usize)))
    }

    /// Returns when no job is under way.
    pub(crate) async fn idle(&self) {
        // It is never closed, and as many permits as there are come free one day.
        drop(self.0.acquire_many(JOBS_MAX).await);
    }

    /// Runs a job, which must look at its flag and stop soon after it is set.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        deadline: Instant,
        job: impl FnOnce(Arc<AtomicBool>) -> R + Send + 'static,
    ) -> Result<R, GivenUp> {
        let stop = Arc::new(AtomicBool::new(false));
        let on_drop = StopOnDrop(Arc::clone(&stop));
        let semaphore = Arc::clone(&self.0);
        let work = async move {
            let permit = semaphore.acquire_owned().await.map_err(|_| GivenUp)?;
            let job = tokio::task::spawn_blocking(move || {
                // The permit is held until the job is really over.
                let _permit = permit;
                job(stop)
            });
            job.await.map_err(|_| GivenUp)
        };
        let done = tokio::time::timeout_at(deadline, work).await;
        drop(on_drop);
        done.unwrap_or(Err(GivenUp))
    }
}
