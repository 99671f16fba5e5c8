//! The work queue of one kind: which object is reconciled next, and when.
//!
//! Pure: time comes in as an argument (since the driver started), nothing sleeps here. An object is
//! in the queue at most once and runs at most once at a time; a mark that arrives while it runs
//! makes it run again. Namespaces take turns, so a tenant with ten thousand objects delays another
//! one by at most one object.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    time::Duration,
};

/// The first delay after a failure; Flux's `--min-retry-delay`.
pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(750);
/// The longest delay after a failure; Flux's `--max-retry-delay`.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(15 * 60);

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl ObjectKey {
    /// Returns the key of `namespace`/`name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> ObjectKey {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a finished reconciliation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something marks the object.
    Done,
    /// Another run after this time; it forgets earlier failures.
    After(Duration),
    /// Another run after the object's back-off, which doubles with every failure in a row.
    Retry,
    /// Another run at once: this one was given up and counts for nothing.
    Again,
}

/// The queue. All times are since the same start.
#[derive(Debug, Default)]
pub struct Queue {
    items: HashMap<ObjectKey, Item>,
    timers: BTreeSet<(Duration, ObjectKey)>,
    /// Ready objects by namespace, first come first served; no lane is empty.
    lanes: BTreeMap<String, VecDeque<ObjectKey>>,
    /// The namespaces that have a lane, in the order of their turns.
    turns: VecDeque<String>,
    n_running: usize,
}

#[derive(Debug, Default)]
struct Item {
    state: State,
    due: Option<Duration>,
    /// Since when it is to run: of a running object, from when it began to wait for that run, or
    /// from when it was marked for the next.
    since: Duration,
    n_failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Ready,
    Running,
    /// Running, and marked since it began.
    Dirty,
}

impl Queue {
    /// Makes `key` run as soon as it is its turn; a back-off or a timer no longer holds it.
    pub fn mark(&mut self, key: &ObjectKey, now: Duration) {
        let item = self.items.entry(key.clone()).or_default();
        if matches!(item.state, State::Idle | State::Running) {
            item.since = now;
        }
        if let Some(due) = item.due.take() {
            self.timers.remove(&(due, key.clone()));
        }
        match item.state {
            State::Idle => {
                item.state = State::Ready;
                self.enter_lane(key.clone());
            }
            State::Running => item.state = State::Dirty,
            State::Ready | State::Dirty => {}
        }
    }

    /// Returns the next object to run; it counts as running until [`Queue::finish`].
    pub fn pop(&mut self, now: Duration) -> Option<ObjectKey> {
        self.wake_due(now);
        let namespace = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&namespace)?;
        let key = lane.pop_front()?;
        if lane.is_empty() {
            self.lanes.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        self.items.entry(key.clone()).or_default().state = State::Running;
        self.n_running += 1;
        Some(key)
    }

    /// Returns how long an object that [`Queue::pop`] has just given had waited for it.
    pub fn waited(&self, key: &ObjectKey, now: Duration) -> Duration {
        self.items.get(key).map_or(Duration::ZERO, |item| now.saturating_sub(item.since))
    }

    /// Ends the run of `key` that [`Queue::pop`] began. A mark from meanwhile wins over `next`.
    pub fn finish(&mut self, key: &ObjectKey, next: Next, now: Duration) {
        let Some(item) = self.items.get_mut(key) else { return };
        let dirty = match item.state {
            State::Idle | State::Ready => return,
            State::Running => next == Next::Again,
            State::Dirty => true,
        };
        self.n_running -= 1;
        item.state = State::Idle;
        let delay = match next {
            Next::Done | Next::Again => None,
            Next::After(delay) => Some(delay),
            Next::Retry => Some(retry_delay(item.n_failures)),
        };
        item.n_failures = match next {
            Next::Retry => item.n_failures.saturating_add(1),
            Next::Again => item.n_failures,
            Next::Done | Next::After(_) => 0,
        };
        if dirty {
            let since = if next == Next::Again { now } else { item.since };
            self.mark(key, since);
        } else if let Some(delay) = delay {
            let due = now.saturating_add(delay);
            item.due = Some(due);
            self.timers.insert((due, key.clone()));
        } else {
            self.items.remove(key);
        }
    }

    /// Drops what is planned for `key`, which no longer exists. A run that has begun still finishes.
    pub fn forget(&mut self, key: &ObjectKey) {
        let Some(item) = self.items.get_mut(key) else { return };
        if let Some(due) = item.due.take() {
            self.timers.remove(&(due, key.clone()));
        }
        match item.state {
            State::Dirty => item.state = State::Running,
            State::Running => {}
            State::Ready => {
                self.leave_lane(key);
                self.items.remove(key);
            }
            State::Idle => {
                self.items.remove(key);
            }
        }
    }

    /// Returns when the next timer is due, if there is one. Ready objects have none.
    pub fn next_due(&self) -> Option<Duration> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Returns whether nothing is ready and nothing runs; timers may be pending.
    pub fn is_idle(&self) -> bool {
        self.turns.is_empty() && self.n_running == 0
    }

    /// Returns how many objects wait for their turn.
    pub fn n_ready(&self) -> usize {
        self.lanes.values().map(VecDeque::len).sum()
    }

    /// Returns how many objects run.
    pub fn n_running(&self) -> usize {
        self.n_running
    }

    fn wake_due(&mut self, now: Duration) {
        while self.timers.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, key)) = self.timers.pop_first() else { return };
            if let Some(item) = self.items.get_mut(&key) {
                item.since = item.due.take().unwrap_or(now);
                item.state = State::Ready;
                self.enter_lane(key);
            }
        }
    }

    fn enter_lane(&mut self, key: ObjectKey) {
        let lane = self.lanes.entry(key.namespace.clone()).or_default();
        if lane.is_empty() {
            self.turns.push_back(key.namespace.clone());
        }
        lane.push_back(key);
    }

    fn leave_lane(&mut self, key: &ObjectKey) {
        let Some(lane) = self.lanes.get_mut(&key.namespace) else { return };
        lane.retain(|ready| ready != key);
        if lane.is_empty() {
            self.lanes.remove(&key.namespace);
            self.turns.retain(|namespace| *namespace != key.namespace);
        }
    }
}

/// Returns the delay after `n_failures` earlier failures in a row.
fn retry_delay(n_failures: u32) -> Duration {
    // 2^11 × 750 ms is past the maximum, so the shift cannot overflow.
    RETRY_DELAY_MIN.saturating_mul(1 << n_failures.min(11)).min(RETRY_DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    /// Pops and finishes up to `n` objects and returns their keys in order.
    fn drain(queue: &mut Queue, n: usize) -> String {
        let mut out = Vec::new();
        for _ in 0..n {
            let Some(key) = queue.pop(Duration::ZERO) else { break };
            queue.finish(&key, Next::Done, Duration::ZERO);
            out.push(key.to_string());
        }
        out.join(" ")
    }

    #[test]
    fn namespaces_take_turns() {
        let mut queue = Queue::default();
        for name in ["1", "2", "3", "4"] {
            queue.mark(&key("big", name), Duration::ZERO);
        }
        queue.mark(&key("small", "1"), Duration::ZERO);
        queue.mark(&key("other", "1"), Duration::ZERO);
        assert_eq!(drain(&mut queue, 9), "big/1 small/1 other/1 big/2 big/3 big/4");
    }

    #[test]
    fn a_wait_is_from_the_mark_or_the_timer_to_the_run() {
        let mut queue = Queue::default();
        let a = key("ns", "a");
        let mut waited = Vec::new();
        let mut pop = |queue: &mut Queue, now: Duration| {
            assert_eq!(queue.pop(now), Some(key("ns", "a")));
            waited.push(queue.waited(&key("ns", "a"), now).as_secs());
        };
        queue.mark(&a, SECOND);
        queue.mark(&a, SECOND * 2);
        pop(&mut queue, SECOND * 4);
        // Of marks while it runs, the first counts.
        queue.mark(&a, SECOND * 5);
        queue.mark(&a, SECOND * 6);
        queue.finish(&a, Next::Done, SECOND * 7);
        pop(&mut queue, SECOND * 9);
        queue.finish(&a, Next::After(SECOND * 10), SECOND * 10);
        pop(&mut queue, SECOND * 25);
        queue.finish(&a, Next::Again, SECOND * 30);
        pop(&mut queue, SECOND * 31);
        assert_eq!(waited, [3, 4, 5, 1]);
    }

    #[test]
    fn a_mark_while_running_runs_once_more() {
        let mut queue = Queue::default();
        let a = key("ns", "a");
        queue.mark(&a, Duration::ZERO);
        assert_eq!(queue.pop(Duration::ZERO), Some(a.clone()));
        queue.mark(&a, Duration::ZERO);
        queue.mark(&a, Duration::ZERO);
        assert_eq!(queue.pop(Duration::ZERO), None, "it runs once at a time");
        queue.finish(&a, Next::After(SECOND), Duration::ZERO);
        assert_eq!(drain(&mut queue, 9), "ns/a");
        assert!(queue.is_idle());
    }

    #[test]
    fn failures_back_off_and_a_success_forgets_them() {
        let mut queue = Queue::default();
        let a = key("ns", "a");
        queue.mark(&a, Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut delays = Vec::new();
        for _ in 0..13 {
            assert_eq!(queue.pop(now), Some(a.clone()));
            queue.finish(&a, Next::Retry, now);
            let due = queue.next_due().expect("a failure has a timer");
            delays.push((due - now).as_millis());
            assert_eq!(queue.pop(due - Duration::from_millis(1)), None);
            now = due;
        }
        assert_eq!(delays[..4], [750, 1500, 3000, 6000]);
        assert_eq!(delays[9..], [384_000, 768_000, 900_000, 900_000]);
        assert_eq!(queue.pop(now), Some(a.clone()));
        queue.finish(&a, Next::After(SECOND), now);
        assert_eq!(queue.pop(now + SECOND), Some(a.clone()));
        queue.finish(&a, Next::Retry, now);
        assert_eq!(queue.next_due(), Some(now + RETRY_DELAY_MIN));
    }

    #[test]
    fn a_mark_overtakes_a_timer() {
        let mut queue = Queue::default();
        let a = key("ns", "a");
        queue.mark(&a, Duration::ZERO);
        queue.pop(Duration::ZERO);
        queue.finish(&a, Next::After(SECOND * 3600), Duration::ZERO);
        queue.mark(&a, Duration::ZERO);
        assert_eq!(drain(&mut queue, 9), "ns/a");
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn a_forgotten_object_does_not_run() {
        let mut queue = Queue::default();
        for name in ["a", "b", "c"] {
            queue.mark(&key("ns", name), Duration::ZERO);
        }
        queue.pop(Duration::ZERO);
        queue.finish(&key("ns", "a"), Next::After(SECOND), Duration::ZERO);
        queue.forget(&key("ns", "a"));
        queue.forget(&key("ns", "b"));
        assert_eq!(drain(&mut queue, 9), "ns/c");
        assert_eq!(queue.pop(SECOND * 2), None);
        assert!(queue.items.is_empty() && queue.lanes.is_empty() && queue.timers.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Mark(u8),
        Pop,
        Finish(u8, Next),
        Forget(u8),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let next = prop_oneof![
            Just(Next::Done),
            Just(Next::Retry),
            (0u64..3000).prop_map(|ms| Next::After(Duration::from_millis(ms))),
        ];
        prop_oneof![
            3 => (0u8..12).prop_map(Step::Mark),
            4 => Just(Step::Pop),
            3 => (0u8..12, next).prop_map(|(n, next)| Step::Finish(n, next)),
            1 => (0u8..12).prop_map(Step::Forget),
            1 => (0u64..5000).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Whatever happens: no object runs twice at a time, no mark is lost, nothing that nobody
        /// asked for runs, and no namespace waits longer than one turn of every other one.
        #[test]
        fn marks_are_kept_and_turns_are_fair(steps in prop::collection::vec(step(), 1..300)) {
            let mut queue = Queue::default();
            let mut now = Duration::ZERO;
            let mut running = HashSet::new();
            let mut wanted = HashSet::new();
            let mut timed = HashMap::new();
            let mut waits: HashMap<String, usize> = HashMap::new();
            let of = |n: u8| key(&format!("ns{}", n % 3), &format!("{n}"));
            for step in steps {
                match step {
                    Step::Mark(n) => {
                        queue.mark(&of(n), now);
                        wanted.insert(of(n));
                        timed.remove(&of(n));
                    }
                    Step::Forget(n) => {
                        queue.forget(&of(n));
                        wanted.remove(&of(n));
                        timed.remove(&of(n));
                    }
                    Step::Pass(ms) => now += Duration::from_millis(ms),
                    Step::Finish(n, next) => {
                        queue.finish(&of(n), next, now);
                        if running.remove(&of(n)) && !wanted.contains(&of(n)) && next != Next::Done {
                            timed.insert(of(n), ());
                        }
                    }
                    Step::Pop => {
                        let popped = queue.pop(now);
                        let ready: HashSet<_> =
                            wanted.iter().filter(|key| !running.contains(*key)).cloned().collect();
                        if popped.is_none() {
                            prop_assert!(ready.is_empty(), "lost {ready:?}");
                        }
                        if let Some(key) = popped {
                            prop_assert!(wanted.remove(&key) || timed.remove(&key).is_some());
                            let others: BTreeSet<&String> =
                                ready.iter().map(|other| &other.namespace).collect();
                            for other in others.into_iter().filter(|o| **o != key.namespace) {
                                *waits.entry(other.clone()).or_default() += 1;
                            }
                            waits.remove(&key.namespace);
                            waits.retain(|namespace, _| {
                                ready.iter().any(|key| key.namespace == *namespace)
                            });
                            // One turn of each of the two others, twice if it was forgotten between.
                            prop_assert!(waits.values().all(|n| *n <= 4), "unfair: {waits:?}");
                            prop_assert!(running.insert(key));
                        }
                    }
                }
                prop_assert_eq!(queue.n_running(), running.len());
            }
        }
    }
}
