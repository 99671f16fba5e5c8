//! What an execution may cost, and what it has cost so far.

use std::collections::BTreeMap;
use std::rc::Rc;

use golang::regexp::Regexp;

use crate::value::Map;

/// Bytes of a produced string that cost one step.
pub(crate) const BYTES_PER_STEP: usize = 4;

/// The most that an execution may use. There is no clock in it: the same template on the same data always ends alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps: evaluated nodes, produced list items, four bytes of a produced string each count one.
    pub steps: u64,
    /// Bytes of output.
    pub output: usize,
    /// Nested blocks, parentheses and template calls together.
    pub depth: usize,
}

impl Default for Limits {
    /// A million steps, 64 KiB of output, 250 levels: generous for a message, a fraction of a second at worst.
    fn default() -> Self {
        Limits { steps: 1_000_000, output: 64 * 1024, depth: 250 }
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// The steps are used up.
    #[error(
        "the template needs more than {0} steps: make loops, repetitions and long strings smaller"
    )]
    Steps(u64),
    /// The output would be too long.
    #[error("the template writes more than {0} bytes")]
    Output(usize),
    /// Too many nested blocks, parentheses or template calls.
    #[error("the template nests or calls itself more than {0} levels deep")]
    Depth(usize),
    /// A value holds too many levels of lists and maps, perhaps itself.
    #[error("a value nests more than {0} levels deep (does it hold itself?)")]
    Nesting(usize),
}

/// The account of one or more executions that share [`Limits`].
///
/// Maps that templates changed are emptied when the run ends, so that a map that was put into itself is freed.
#[derive(Debug)]
pub struct Run {
    limits: Limits,
    steps: u64,
    written: usize,
    changed: Vec<Map>,
    pub(crate) regexps: BTreeMap<Rc<[u8]>, Rc<Regexp>>,
}

impl Run {
    /// Returns a fresh account.
    pub fn new(limits: Limits) -> Self {
        Run { limits, steps: 0, written: 0, changed: Vec::new(), regexps: BTreeMap::new() }
    }

    /// Returns the limits of this run.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the steps used so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Counts `steps` more, or says that they are used up.
    pub fn charge(&mut self, steps: u64) -> Result<(), Limit> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limits.steps { Err(Limit::Steps(self.limits.steps)) } else { Ok(()) }
    }

    /// Counts a string of so many bytes that is about to be made.
    pub fn charge_bytes(&mut self, bytes: usize) -> Result<(), Limit> {
        self.charge((bytes / BYTES_PER_STEP) as u64)
    }

    /// Returns how many bytes a string may have before its making exceeds the steps that are left.
    pub fn bytes_left(&self) -> usize {
        let left = self.limits.steps.saturating_sub(self.steps);
        usize::try_from(left).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_STEP)
    }

    pub(crate) fn charge_output(&mut self, bytes: usize) -> Result<(), Limit> {
        self.written = self.written.saturating_add(bytes);
        if self.written > self.limits.output {
            Err(Limit::Output(self.limits.output))
        } else {
            Ok(())
        }
    }

    pub(crate) fn output_left(&self) -> usize {
        self.limits.output.saturating_sub(self.written)
    }

    pub(crate) fn remember_changed(&mut self, map: &Map) {
        if map.mark_changed() {
            self.changed.push(map.clone());
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        for map in self.changed.drain(..) {
            map.clear();
        }
    }
}
