//! Wall time and sleep, real or virtual, in one value.
//!
//! Everything that asks for the time takes a [`Clock`], so that a whole world
//! runs under a paused runtime at exact instants. All waiting goes through
//! tokio's timers, which a paused runtime advances by itself.

use std::future::Future;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells the time and waits. Cheap to clone; all clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

/// A timer ran out before the future it guarded was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

#[derive(Clone, Debug)]
enum Source {
    /// The machine's wall clock.
    Real,
    /// `start` at `instant`, from there on in step with tokio's timers.
    Virtual { start: Timestamp, instant: Instant },
}

impl Clock {
    /// Returns the machine's wall clock.
    pub fn real() -> Clock {
        Clock { source: Source::Real }
    }

    /// Returns a clock that shows `start` now and then follows tokio's time.
    ///
    /// Call it inside the runtime whose time it shall follow: a paused
    /// runtime has its own idea of "now".
    pub fn starting_at(start: Timestamp) -> Clock {
        Clock { source: Source::Virtual { start, instant: Instant::now() } }
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::Real => Timestamp::now(),
            Source::Virtual { start, instant } => add(*start, instant.elapsed()),
        }
    }

    /// Returns the instant of tokio's timers, for deadlines.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until `deadline`; returns at once when it has passed.
    pub async fn sleep_until(&self, deadline: Instant) {
        tokio::time::sleep_until(deadline).await;
    }

    /// Returns the future's output, or [`Elapsed`] if `duration` passes first.
    pub async fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(duration, future).await.map_err(|_| Elapsed)
    }
}

/// Returns `start + elapsed`, at the end of time when that overflows.
fn add(start: Timestamp, elapsed: Duration) -> Timestamp {
    SignedDuration::try_from(elapsed)
        .ok()
        .and_then(|elapsed| start.checked_add(elapsed).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a valid timestamp")
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_follows_the_paused_runtime_exactly() {
        let clock = Clock::starting_at(start());
        let copy = clock.clone();
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now().to_string(), "2026-03-01T13:00:00Z");
        assert_eq!(copy.now(), clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_fires_at_its_time() {
        let clock = Clock::starting_at(start());
        let late = clock.timeout(Duration::from_secs(5), clock.sleep(Duration::from_secs(6))).await;
        assert_eq!(late, Err(Elapsed));
        assert_eq!(clock.now().to_string(), "2026-03-01T12:00:05Z");
        let soon = clock.timeout(Duration::from_secs(5), async { 7 }).await;
        assert_eq!(soon, Ok(7));
    }

    #[test]
    fn time_stops_at_its_end_instead_of_overflowing() {
        assert_eq!(add(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(add(start(), Duration::MAX), Timestamp::MAX);
    }

    #[test]
    fn real_time_moves_on() {
        let clock = Clock::real();
        let before = clock.now();
        assert!(clock.now() >= before);
        assert!(
            before > start().checked_sub(SignedDuration::from_hours(24 * 3650)).expect("in range")
        );
    }
}
