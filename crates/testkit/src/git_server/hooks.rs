//! Closures of the test that run at known moments of a request.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{GitRequest, Repositories, RequestKind};

pub(super) type Hook = Box<dyn FnMut(&Repositories, &GitRequest) + Send>;

#[derive(Default)]
pub(super) struct Hooks {
    before: Mutex<Vec<Entry>>,
    after: Mutex<Vec<Entry>>,
}

#[derive(Clone)]
struct Entry {
    kind: RequestKind,
    hook: Arc<Mutex<Hook>>,
}

impl Hooks {
    pub(super) fn add_before(&self, kind: RequestKind, hook: Hook) {
        self.before.lock().push(Entry { kind, hook: Arc::new(Mutex::new(hook)) });
    }

    pub(super) fn add_after(&self, kind: RequestKind, hook: Hook) {
        self.after.lock().push(Entry { kind, hook: Arc::new(Mutex::new(hook)) });
    }

    pub(super) fn clear(&self) {
        self.before.lock().clear();
        self.after.lock().clear();
    }

    pub(super) fn run_before(&self, repositories: &Repositories, request: &GitRequest) {
        run(&self.before, repositories, request);
    }

    pub(super) fn run_after(&self, repositories: &Repositories, request: &GitRequest) {
        run(&self.after, repositories, request);
    }
}

fn run(entries: &Mutex<Vec<Entry>>, repositories: &Repositories, request: &GitRequest) {
    // Cloned so that a hook may add hooks.
    let entries = entries.lock().clone();
    for entry in entries.iter().filter(|entry| entry.kind == request.kind) {
        // Busy means that this request comes from within the hook.
        if let Some(mut hook) = entry.hook.try_lock() {
            hook(repositories, request);
        }
    }
}
