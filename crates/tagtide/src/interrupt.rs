//! SIGINT and SIGTERM: the first one ends a command in good order, the second one at once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use tokio::signal::unix::{self, SignalKind};
use tokio_util::sync::CancellationToken;

use crate::error::Outcome;
use crate::ui::Ui;

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

/// Whether somebody wants the process to end.
pub(crate) struct Interrupt {
    stop: CancellationToken,
    signal: Arc<OnceLock<Signal>>,
}

impl Signal {
    /// Returns the exit code that shells give for it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
        })
    }
}

impl Interrupt {
    /// Listens for signals from now on.
    pub(crate) fn listen() -> Result<Interrupt> {
        let say = "cannot listen for signals";
        let mut signals = Signals {
            interrupt: unix::signal(SignalKind::interrupt()).context(say)?,
            terminate: unix::signal(SignalKind::terminate()).context(say)?,
        };
        let interrupt = Interrupt { stop: CancellationToken::new(), signal: Arc::default() };
        let (stop, signal) = (interrupt.stop.clone(), Arc::clone(&interrupt.signal));
        tokio::spawn(async move {
            let first = signals.next().await;
            signal.get_or_init(|| first);
            let note = format!("{first}: finishing what is being pushed; once more ends at once");
            // Standard error may be closed; the exit code still tells.
            drop(Ui.note(&note));
            stop.cancel();
            end(signals.next().await);
        });
        Ok(interrupt)
    }

    /// Returns what is cancelled by the first signal.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Returns how a command ends that was interrupted, `None` if it was not.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.signal.get().copied().map(Outcome::Interrupted)
    }
}

struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// What is left behind is found by the next process, as after a kill.
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "who asks twice does not want to wait for anything"
)]
fn end(signal: Signal) {
    std::process::exit(i32::from(signal.code()));
}
