//! When a request may go to a host: rate, concurrency, and pauses it asked for.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Most hosts whose state is kept; idle ones make room.
const HOSTS_MAX: usize = 4_096;

/// Longest pause that a host can ask for.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// How much one host is asked.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Scans and manifest lookups that may start each second, at most.
    pub per_second: u32,
    /// How many may start at once after a quiet time.
    pub burst: u32,
    /// Requests under way at the same time.
    pub concurrent: usize,
}

impl Default for Rate {
    fn default() -> Rate {
        Rate { per_second: 100, burst: 100, concurrent: 16 }
    }
}

/// Returns how far into its interval an object's scan should start, so that
/// objects with equal intervals do not start together. The same object always
/// gets the same place.
pub fn spread(object: &str, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    let part = (hasher.finish() >> 32) as u32;
    interval.mul_f64(f64::from(part) / (f64::from(u32::MAX) + 1.0))
}

/// Lets requests through, host by host. Cheap to clone; clones share state.
#[derive(Clone)]
pub(crate) struct Scheduler {
    rate: Rate,
    clock: Clock,
    hosts: Arc<Mutex<HashMap<String, Arc<Host>>>>,
}

struct Host {
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    /// No request before this instant: the host asked for a pause.
    not_before: Instant,
    /// When the next start is due if the rate is used up (a virtual clock that
    /// may lag behind by a burst).
    next_start: Instant,
}

/// The host is asked nothing before this instant, which is too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLate {
    /// How long the wait would be.
    pub(crate) wait: Duration,
    /// Whether the host itself asked for the pause.
    pub(crate) paused: bool,
}

impl Scheduler {
    pub(crate) fn new(rate: Rate, clock: Clock) -> Scheduler {
        Scheduler { rate, clock, hosts: Arc::default() }
    }

    /// Waits until another scan of `host` may start.
    pub(crate) async fn start(&self, host: &str, deadline: Instant) -> Result<(), TooLate> {
        let slot = self.slot(host, deadline)?;
        self.clock.sleep_until(slot).await;
        Ok(())
    }

    /// Waits until a request may go to `host`; the permit is held until its
    /// answer was read.
    pub(crate) async fn admit(
        &self,
        host: &str,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, TooLate> {
        let entry = self.host(host);
        loop {
            let not_before = entry.state.lock().not_before;
            check(not_before, deadline, true)?;
            self.clock.sleep_until(not_before).await;
            let acquired = tokio::time::timeout_at(deadline, entry.permits.clone().acquire_owned());
            let Ok(Ok(permit)) = acquired.await else {
                return Err(TooLate { wait: Duration::ZERO, paused: false });
            };
            // A pause may have begun while we waited for the permit.
            if entry.state.lock().not_before <= Instant::now() {
                return Ok(permit);
            }
        }
    }

    /// Keeps all requests from `host` for `pause`.
    pub(crate) fn pause(&self, host: &str, pause: Duration) {
        let until = Instant::now() + pause.min(PAUSE_MAX);
        let entry = self.host(host);
        let mut state = entry.state.lock();
        state.not_before = state.not_before.max(until);
    }

    /// Takes the next start under the rate and returns when it is.
    fn slot(&self, host: &str, deadline: Instant) -> Result<Instant, TooLate> {
        let entry = self.host(host);
        let mut state = entry.state.lock();
        let now = Instant::now();
        let step = Duration::from_secs(1) / self.rate.per_second.max(1);
        let earliest = now.checked_sub(step * self.rate.burst.saturating_sub(1)).unwrap_or(now);
        let start = state.next_start.max(earliest);
        let at = start.max(state.not_before).max(now);
        check(at, deadline, state.not_before > now)?;
        state.next_start = start + step;
        Ok(at)
    }

    fn host(&self, host: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock();
        if let Some(entry) = hosts.get(host) {
            return entry.clone();
        }
        if hosts.len() >= HOSTS_MAX {
            let now = Instant::now();
            hosts.retain(|_, entry| {
                Arc::strong_count(entry) > 1 || entry.state.lock().not_before > now
            });
        }
        let now = Instant::now();
        let entry = Arc::new(Host {
            permits: Arc::new(Semaphore::new(self.rate.concurrent.max(1))),
            state: Mutex::new(State { not_before: now, next_start: now }),
        });
        hosts.insert(host.to_owned(), entry.clone());
        entry
    }
}

fn check(at: Instant, deadline: Instant, paused: bool) -> Result<(), TooLate> {
    if at < deadline {
        return Ok(());
    }
    Err(TooLate { wait: at.saturating_duration_since(Instant::now()), paused })
}

/// Returns how long a server asks us to wait: seconds, or a date, which counts
/// from the server's own `Date` so that its clock need not be right.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(PAUSE_MAX));
    }
    let until = http_date(value)?;
    let now = headers.get(DATE).and_then(|v| http_date(v.to_str().ok()?)).unwrap_or(now);
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    Some(wait.min(PAUSE_MAX))
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let text = text.trim().strip_suffix("GMT")?;
    jiff::fmt::rfc2822::parse(&format!("{text}+0000")).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(per_second: u32, burst: u32, concurrent: usize) -> Scheduler {
        Scheduler::new(Rate { per_second, burst, concurrent }, Clock::real())
    }

    #[tokio::test(start_paused = true)]
    async fn starts_follow_the_rate_after_a_burst() {
        let scheduler = scheduler(10, 3, 100);
        let zero = Instant::now();
        let deadline = zero + Duration::from_secs(60);
        // A quiet time earns the burst.
        scheduler.start("h", deadline).await.expect("in time");
        tokio::time::sleep(Duration::from_secs(5)).await;
        let zero = zero + Duration::from_secs(5);
        let mut starts = Vec::new();
        for _ in 0..6 {
            scheduler.start("h", deadline).await.expect("in time");
            starts.push(zero.elapsed().as_millis());
        }
        assert_eq!(starts, [0, 0, 0, 100, 200, 300].map(|ms| ms + u128::from(starts[0] != 0)));
        scheduler.start("other", deadline).await.expect("in time");
        assert!(zero.elapsed().as_millis() <= 302, "another host is not held up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_its_host_and_no_other() {
        let scheduler = scheduler(100, 100, 4);
        let zero = Instant::now();
        scheduler.pause("h", Duration::from_secs(30));
        scheduler.pause("h", Duration::from_secs(10));
        let late = scheduler.admit("h", zero + Duration::from_secs(20)).await.map(drop);
        assert_eq!(late, Err(TooLate { wait: Duration::from_secs(30), paused: true }));
        let late = scheduler.start("h", zero + Duration::from_secs(20)).await;
        assert_eq!(late, Err(TooLate { wait: Duration::from_secs(30), paused: true }));
        assert_eq!(zero.elapsed(), Duration::ZERO, "it says so at once");
        scheduler.admit("other", zero + Duration::from_secs(1)).await.map(drop).expect("free");
        assert_eq!(zero.elapsed(), Duration::ZERO);
        scheduler.admit("h", zero + Duration::from_secs(60)).await.map(drop).expect("in time");
        let waited = zero.elapsed();
        assert!((30_000..=30_001).contains(&waited.as_millis()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_begins_while_waiting_counts() {
        let scheduler = scheduler(100, 100, 1);
        let zero = Instant::now();
        let deadline = zero + Duration::from_secs(60);
        let held = scheduler.admit("h", deadline).await.expect("free");
        let waiting = tokio::spawn({
            let scheduler = scheduler.clone();
            async move { scheduler.admit("h", deadline).await.map(drop) }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        scheduler.pause("h", Duration::from_secs(9));
        drop(held);
        waiting.await.expect("no panic").expect("in time");
        assert!(zero.elapsed() >= Duration::from_secs(10), "{:?}", zero.elapsed());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().expect("a timestamp");
        let check = |retry: &str, date: Option<&str>, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry.parse().expect("a header value"));
            if let Some(date) = date {
                headers.insert(DATE, date.parse().expect("a header value"));
            }
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{retry}");
        };
        check("7", None, Some(7));
        check(" 300 ", None, Some(300));
        check("99999999999999999999999", None, Some(3600));
        check("Sun, 06 Nov 1994 08:49:37 GMT", None, Some(37));
        check("Sun, 06 Nov 1994 08:48:00 GMT", None, Some(0));
        // The server's clock is ten minutes ahead: its own date counts.
        check("Sun, 06 Nov 1994 08:59:37 GMT", Some("Sun, 06 Nov 1994 08:59:30 GMT"), Some(7));
        check("soon", None, None);
        check("-1", None, None);
        check("", None, None);
    }

    #[test]
    fn objects_are_spread_over_their_interval() {
        let interval = Duration::from_secs(300);
        let mut thirds = [0_u32; 3];
        for n in 0..3_000 {
            let at = spread(&format!("apps/repository-{n}"), interval);
            assert!(at < interval);
            thirds[usize::try_from(at.as_secs() / 100).expect("below three")] += 1;
        }
        assert!(thirds.iter().all(|n| (850..1150).contains(n)), "{thirds:?}");
        assert_eq!(spread("a/b", interval), spread("a/b", interval));
    }
}
