//! Honest figures: what they were measured on, CPU time instead of wall time, how costs grow.
//!
//! Everything that is not told by this system (Linux has the files that are read here) is said to
//! be unknown, or is measured by the clock on the wall.

use std::fs;
use std::time::{Duration, Instant};

/// Returns what figures are measured on: cores, processor, memory, and what else it is doing.
pub fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
        value.unwrap_or("unknown").to_owned()
    };
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("machine: {n_cores} cores, {model}, memory {memory}, load {}", load.trim())
}

/// Returns the CPU time of this thread that a run takes: what others do meanwhile does not count.
pub fn cpu_time(run: impl FnOnce()) -> Duration {
    let (start, started) = (thread_time(), Instant::now());
    run();
    let elapsed = started.elapsed();
    match (start, thread_time()) {
        (Some(start), Some(end)) => end.saturating_sub(start),
        _ => elapsed,
    }
}

/// Returns the least CPU time of several runs: what is above it is the machine's noise.
pub fn least_cpu_time(n_runs: usize, mut run: impl FnMut()) -> Duration {
    (0..n_runs).map(|_| cpu_time(&mut run)).min().unwrap_or_default()
}

/// Returns the exponent with which a cost grows: the slope, by least squares, of the line through
/// the points (size, cost) in logarithms. One is linear, zero is flat.
pub fn growth(points: &[(f64, f64)]) -> f64 {
    let logarithms: Vec<_> = points.iter().map(|(size, cost)| (size.ln(), cost.ln())).collect();
    let n_points = logarithms.len() as f64;
    let mean_size = logarithms.iter().map(|point| point.0).sum::<f64>() / n_points;
    let mean_cost = logarithms.iter().map(|point| point.1).sum::<f64>() / n_points;
    let product = |(size, cost): &(f64, f64)| (size - mean_size) * (cost - mean_cost);
    let square = |(size, _): &(f64, f64)| (size - mean_size).powi(2);
    logarithms.iter().map(product).sum::<f64>() / logarithms.iter().map(square).sum::<f64>()
}

/// Returns the CPU time of this thread so far, if the system tells.
fn thread_time() -> Option<Duration> {
    // The kernel brings the figure up to date when the thread yields.
    std::thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::{cpu_time, growth};
    use std::hint::black_box;

    #[test]
    fn growth_is_the_exponent() {
        for exponent in [0.0, 0.5, 1.0, 2.0] {
            let cost = |size: f64| (size, 3.0 * size.powf(exponent));
            let found = growth(&[cost(10.0), cost(100.0), cost(5_000.0)]);
            assert!((found - exponent).abs() < 1e-9, "{found}");
        }
        // Two of three steps are flat.
        let found = growth(&[(1.0, 1.0), (10.0, 1.0), (100.0, 1.0), (1_000.0, 10.0)]);
        assert!((found - 0.3).abs() < 1e-9, "{found}");
    }

    #[test]
    fn work_takes_time() {
        let work = || {
            black_box((0..2_000_000_u64).fold(0, |sum, n| black_box(sum ^ n)));
        };
        assert!(cpu_time(work) > std::time::Duration::ZERO);
    }
}
