//! Whole lives of the loop under virtual time, each from a seed: tags come and go, people commit,
//! registry, Git host and API fail, the process is killed and started again. Whatever happens, what
//! the bot did is judged by [`testkit::History`], and in the end every branch holds what its
//! policies choose, and nothing moves any more.
//!
//! `TAGTIDE_SEEDS` says how many seeds are tried and `TAGTIDE_FIRST_SEED` with which one it begins;
//! `cargo xtask simulate` sets both.

mod simulate {
    mod ending;
    mod judge;
    mod life;
    mod objects;
    mod plan;
    mod random;
    mod wire;

    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
        thread,
    };

    /// Seeds that are tried unless somebody asks for more.
    const SEEDS: u64 = 200;
    /// Failures after which no further seed is begun.
    const FAILURES_MAX: usize = 3;

    #[test]
    fn every_life_ends_well() {
        let (first, n) = (number("TAGTIDE_FIRST_SEED", 1), number("TAGTIDE_SEEDS", SEEDS));
        let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
        let work = || {
            while failures.lock().expect("nothing panics with it").len() < FAILURES_MAX {
                let seed = next.fetch_add(1, Relaxed);
                if seed >= first + n {
                    break;
                }
                if let Err(why) = live(seed) {
                    failures.lock().expect("nothing panics with it").push((seed, why));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(work);
            }
        });
        let failures = failures.into_inner().expect("nothing panics with it");
        assert!(failures.is_empty(), "{}", shown(failures));
    }

    fn live(seed: u64) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .map_err(|error| error.to_string())?;
        let life = AssertUnwindSafe(|| runtime.block_on(life::live(&plan::Plan::of(seed))));
        catch_unwind(life).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        })
    }

    fn shown(mut failures: Vec<(u64, String)>) -> String {
        failures.sort();
        let line = |(seed, why): &(u64, String)| {
            format!(
                "seed {seed}: {why}\nreplay it with: cargo xtask simulate --first {seed} --seeds 1\n{:#?}\n",
                plan::Plan::of(*seed)
            )
        };
        failures.iter().map(line).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "a developer asks for seeds by it")]
    fn number(name: &str, default: u64) -> u64 {
        match std::env::var(name) {
            Ok(text) => text.parse().expect("the environment asks for a number of seeds"),
            Err(_) => default,
        }
    }
}
