//! Ends the process at a counted durable step, so that a test sees what the next run makes of it.
//!
//! Whatever leaves something behind (a file, a transaction, a push) says so by an event with the
//! target `durable`. Who wants to see the steps asks for them: `--log-level off,durable=trace`.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{Layer, filter::Targets, layer::Context, registry::LookupSpan};

use crate::args::{ABORT_AT, Environment};
use crate::error::Usage;

/// Counts the steps.
struct FailPoint {
    /// The step at which the process ends, counted from 1.
    at: u64,
    n_steps: AtomicU64,
}

/// Returns the layer that ends this process, if the environment asks for it.
pub(crate) fn layer<S>(environment: &Environment) -> Result<Option<impl Layer<S>>, Usage>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(at) = environment.get(ABORT_AT) else { return Ok(None) };
    let at = at.parse().map_err(|_| Usage(format!("{ABORT_AT} `{at}` is not a number")))?;
    let durable = Targets::new().with_target("durable", Level::TRACE);
    Ok(Some(FailPoint { at, n_steps: AtomicU64::new(0) }.with_filter(durable)))
}

impl<S: Subscriber> Layer<S> for FailPoint {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        if self.n_steps.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            // No destructor runs: as a kill from outside.
            std::process::abort();
        }
    }
}
