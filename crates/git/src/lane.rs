//! Lanes: pushes to one branch go one after the other, and what waits shares the next push.
//!
//! A request brings a planner, a function of the files at a tip. Whenever the branch turns out to
//! have moved, all requests of the batch are planned anew on the new tip, as a stack of commits,
//! one each. A stack that the server refuses is halved until the commit it refuses stands alone.

mod batch;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    access::Access,
    commit::{CommitError, FileChange},
    error::{GitError, PushError, UpdateError},
    journal::Caller,
    mirror::Mirror,
    reference::{CommitId, RefName, Reference, Resolved},
    refspec::Refspec,
    snapshot::Snapshot,
};

/// What to change where.
#[derive(Clone)]
pub struct Request {
    /// What is checked out.
    pub checkout: Reference,
    /// The branch that gets the commit; made from the checkout if it does not exist.
    pub branch: RefName,
    /// What else to update afterwards.
    pub refspec: Option<Refspec>,
    /// Push options, in the order they are sent.
    pub options: Vec<(String, String)>,
    /// The author's, and committer's, name and e-mail address.
    pub author: (String, String),
    /// How the repository is reached.
    pub access: Access,
    /// Whose request it is.
    pub caller: Caller,
}

/// A change as its planner wants it.
#[derive(Clone, Debug)]
pub struct Change {
    /// Files with their new contents.
    pub files: Vec<FileChange>,
    /// The commit's message, verbatim.
    pub message: String,
}

/// What a planner makes of the files at a tip.
#[derive(Clone, Debug)]
pub struct Plan<T> {
    /// The change, if there is one.
    pub change: Option<Change>,
    /// Whatever the caller wants to know of the plan that counts in the end.
    pub detail: T,
}

/// What an update came to.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    /// What the checkout reference was.
    pub checkout: Resolved,
    /// The commit the plan was made on; with others in the same push, theirs.
    pub base: CommitId,
    /// The planner's own.
    pub detail: T,
    /// The commit, if there was something to change.
    pub pushed: Option<Pushed>,
}

/// A commit on its branch.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The commit.
    pub commit: CommitId,
    /// The branch it is on.
    pub branch: RefName,
    /// Its message.
    pub message: String,
    /// What became of the refspec: the references updated. The commit is on its branch anyhow.
    pub refspec: Option<Result<Vec<RefName>, PushError>>,
}

/// All lanes of a process, by repository and branch.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<(String, RefName), Arc<Lane>>>);

/// What waits for one branch of one repository.
#[derive(Default)]
struct Lane {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pending>,
    is_running: bool,
}

/// A request that waits, or is being worked on.
struct Pending {
    mirror: Arc<Mirror>,
    request: Request,
    job: Box<dyn Job>,
}

/// A planner and whoever waits for what it comes to.
trait Job: Send {
    /// Plans on these files and keeps the detail; returns the change.
    fn plan(&mut self, files: &mut Snapshot) -> Result<Option<Change>, Planless>;

    /// Tells the outcome.
    fn finish(self: Box<Self>, end: Result<End, Failure>);
}

/// The planner failed, and keeps why.
struct Planless;

/// What is told to a job that came to its end.
struct End {
    checkout: Resolved,
    base: CommitId,
    pushed: Option<Pushed>,
}

/// What is told to a job that failed.
#[derive(Clone)]
enum Failure {
    Git(Arc<GitError>),
    Plan,
    Commit(Arc<CommitError>),
    Push(PushError),
}

struct Planner<F, T, E> {
    plan: F,
    planned: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<Outcome<T>, UpdateError<E>>>,
}

impl<F, T, E> Job for Planner<F, T, E>
where
    F: FnMut(&mut Snapshot) -> Result<Plan<T>, E> + Send,
    T: Send,
    E: Send,
{
    fn plan(&mut self, files: &mut Snapshot) -> Result<Option<Change>, Planless> {
        match (self.plan)(files) {
            Ok(Plan { change, detail }) => {
                self.planned = Some(Ok(detail));
                Ok(change)
            }
            Err(error) => {
                self.planned = Some(Err(error));
                Err(Planless)
            }
        }
    }

    fn finish(self: Box<Self>, end: Result<End, Failure>) {
        let told = match (end, self.planned) {
            (Ok(End { checkout, base, pushed }), Some(Ok(detail))) => {
                Ok(Outcome { checkout, base, detail, pushed })
            }
            (Err(Failure::Plan), Some(Err(error))) => Err(UpdateError::Plan(error)),
            (Err(Failure::Git(error)), _) => Err(UpdateError::Git(error)),
            (Err(Failure::Commit(error)), _) => Err(UpdateError::Commit(error)),
            (Err(Failure::Push(error)), _) => Err(UpdateError::Push(error)),
            (Ok(_) | Err(Failure::Plan), _) => Err(UpdateError::Stopped),
        };
        // Who does not wait any more does not want to know.
        let _ = self.reply.send(told);
    }
}

impl Mirror {
    /// Brings a change onto a branch, together with what others want there.
    ///
    /// The planner may be called several times, each time on the files as they would be; it has
    /// to be a function of them. Dropping the future does not undo or stop a push under way;
    /// [`Caller::stop`] stops what has not come that far.
    ///
    /// # Errors
    /// When the repository cannot be read, the planner fails, or the push is refused. Other
    /// requests of the same push are not harmed.
    pub async fn update<T, E>(
        self: &Arc<Mirror>,
        request: Request,
        plan: impl FnMut(&mut Snapshot) -> Result<Plan<T>, E> + Send + 'static,
    ) -> Result<Outcome<T>, UpdateError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (reply, told) = oneshot::channel();
        let job = Box::new(Planner { plan, planned: None, reply });
        self.core().lanes.submit(Pending { mirror: Arc::clone(self), request, job });
        told.await.unwrap_or(Err(UpdateError::Stopped))
    }

    /// Returns what [`Mirror::update`] would come to if it were the only one; nothing is pushed.
    ///
    /// # Errors
    /// As [`Mirror::update`], but for the push.
    pub async fn preview<T, E>(
        self: &Arc<Mirror>,
        request: Request,
        plan: impl FnMut(&mut Snapshot) -> Result<Plan<T>, E> + Send + 'static,
    ) -> Result<(Outcome<T>, Option<Change>), UpdateError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (reply, told) = oneshot::channel();
        let job = Box::new(Planner { plan, planned: None, reply });
        let pending = Pending { mirror: Arc::clone(self), request, job };
        let change = batch::preview(pending).await;
        let outcome = told.await.unwrap_or(Err(UpdateError::Stopped))?;
        Ok((outcome, change))
    }
}

impl Lanes {
    /// Adds a request to its lane, and sets the lane going if it stands.
    fn submit(&self, pending: Pending) {
        let key = (pending.mirror.url().to_string(), pending.request.branch.clone());
        let lane = Arc::clone(self.0.lock().entry(key).or_default());
        let mut state = lane.state.lock();
        state.waiting.push_back(pending);
        if !std::mem::replace(&mut state.is_running, true) {
            let running = Running { lane: Arc::clone(&lane), is_over: false };
            tokio::spawn(running.run());
        }
    }
}

/// A lane at work.
struct Running {
    lane: Arc<Lane>,
    /// Set when the lane stands again, from when on it is somebody else's.
    is_over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // After a panic: those who wait are told by silence, and the next request starts anew.
        let mut state = self.lane.state.lock();
        state.is_running = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

impl Running {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch() {
            batch::push(batch).await;
        }
    }

    /// Returns what can share the next push: equal credential reference, options, refspec, journal.
    fn next_batch(&mut self) -> Option<Vec<Pending>> {
        let mut state = self.lane.state.lock();
        let Some(first) = state.waiting.pop_front() else {
            // Under the lock: a request that comes now sets the lane going again.
            state.is_running = false;
            self.is_over = true;
            return None;
        };
        let mut batch = vec![first];
        let waiting = std::mem::take(&mut state.waiting);
        for pending in waiting {
            if batch.len() < batch::COMMITS_MAX && batch[0].can_share(&pending) {
                batch.push(pending);
            } else {
                state.waiting.push_back(pending);
            }
        }
        Some(batch)
    }
}

impl Pending {
    fn can_share(&self, other: &Pending) -> bool {
        Arc::ptr_eq(&self.mirror, &other.mirror)
            && self.request.options == other.request.options
            && self.request.refspec == other.request.refspec
            && self.request.caller.shares_journal(&other.request.caller)
    }
}
