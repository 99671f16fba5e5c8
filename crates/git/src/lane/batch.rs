//! One batch of a lane: planned as a stack of commits, pushed, planned anew, halved.

use std::{pin::Pin, sync::Arc};

use jiff::Timestamp;

use super::{Change, End, Failure, Pending, Planless, Pushed};
use crate::{
    access::Access,
    commit::{Commit, Signature},
    error::{GitError, PushError, RemoteError},
    journal::Intent,
    limits::Limits,
    mirror::{Mirror, Tip, WHOLE},
    push::{Packs, Update},
    reference::{self, CommitId, RefName, Reference, Resolved},
    refspec::{Destination, Refspec},
};

/// Commits in one push: halving a refused one takes at most a dozen pushes then.
pub(super) const COMMITS_MAX: usize = 200;

/// How often a batch is planned anew because others were faster.
const RACES_MAX: usize = 20;

/// How often a batch is planned anew because its mirror was damaged: a new one is not.
const DAMAGED_MAX: usize = 1;

/// A request whose checkout is known.
struct Placed {
    pending: Pending,
    checkout: Resolved,
}

/// A request with its plan: a commit in the stack, or nothing to do.
struct Planned {
    placed: Placed,
    /// What the plan was made on.
    base: CommitId,
    commit: Option<Commit>,
}

/// Requests planned on a tip.
struct Stack {
    branch: RefName,
    expected: Option<CommitId>,
    tip: Tip,
    planned: Vec<Planned>,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Brings a batch to its end; everybody in it is told.
pub(super) fn push(mut batch: Vec<Pending>) -> Work {
    // Boxed, as halves of a batch are batches.
    Box::pin(async move {
        let mut n_damaged = 0;
        for _ in 0..RACES_MAX {
            let (stack, packs) = match plan_while_wanted(batch, &mut n_damaged).await {
                Planning::Over => return,
                Planning::Damaged(again) => {
                    batch = again;
                    continue;
                }
                Planning::Ready(stack, packs) => (stack, packs),
            };
            // From here on it is brought to its end, whoever wants to stop.
            match push_stack(stack, packs).await {
                Pushing::Over => return,
                Pushing::Raced(again) => batch = again,
                Pushing::Refused(first, second) => {
                    push(first).await;
                    push(second).await;
                    return;
                }
            }
        }
        for pending in batch {
            let name = pending.request.branch.clone();
            let error = PushError::Contended { name, attempts: RACES_MAX };
            pending.job.finish(Err(Failure::Push(error)));
        }
    })
}

/// What became of planning.
enum Planning {
    /// Everybody was told: there is nothing to push.
    Over,
    /// The mirror proved damaged while it was read; the next look makes it anew.
    Damaged(Vec<Pending>),
    Ready(Stack, Packs),
}

/// Plans a batch and packs it, until nobody in it wants it any more: they are told by silence.
async fn plan_while_wanted(batch: Vec<Pending>, n_damaged: &mut usize) -> Planning {
    let stops: Vec<_> = batch.iter().map(|pending| pending.request.caller.stop.clone()).collect();
    let all_stop = async {
        for stop in &stops {
            stop.cancelled().await;
        }
    };
    tokio::select! {
        biased;
        () = all_stop => Planning::Over,
        planning = plan(batch, n_damaged) => planning,
    }
}

/// Plans one request without pushing; returns its change.
pub(super) async fn preview(pending: Pending) -> Option<Change> {
    let stop = pending.request.caller.stop.clone();
    stop.run_until_cancelled_owned(preview_one(pending)).await?
}

async fn preview_one(pending: Pending) -> Option<Change> {
    let placed = place(vec![pending]).await?;
    let (mirror, access, tip) = (placed.mirror, placed.access, placed.tip);
    let placed = placed.requests.into_iter().next()?;
    let base = tip.resolved.id;
    let planning = mirror.with_files(&tip, &access, move |files| {
        let mut placed = placed;
        let change = placed.pending.job.plan(files);
        (placed, change)
    });
    // A request that is lost with its time is told by its silence.
    let (placed, change) = planning.await.ok()?;
    let end = End { checkout: placed.checkout, base, pushed: None };
    match change {
        Ok(change) => {
            placed.pending.job.finish(Ok(end));
            change
        }
        Err(Planless) => {
            placed.pending.job.finish(Err(Failure::Plan));
            None
        }
    }
}

/// What became of a stack.
enum Pushing {
    /// Everybody was told.
    Over,
    /// The branch has moved.
    Raced(Vec<Pending>),
    /// The server refused something in it.
    Refused(Vec<Pending>, Vec<Pending>),
}

/// Requests on common ground.
struct Ground {
    mirror: Arc<Mirror>,
    access: Access,
    branch: RefName,
    expected: Option<CommitId>,
    tip: Tip,
    requests: Vec<Placed>,
}

/// Looks at branch and checkouts; tells those whose checkout does not exist.
async fn place(batch: Vec<Pending>) -> Option<Ground> {
    let first = batch.first()?;
    let mirror = Arc::clone(&first.mirror);
    let (access, branch) = (first.request.access.clone(), first.request.branch.clone());
    let checkouts: Vec<_> = batch.iter().map(|pending| pending.request.checkout.clone()).collect();
    let ground = match mirror.ground(&branch, &checkouts, &access).await {
        Ok(ground) => ground,
        Err(error) => {
            let error = Arc::new(error);
            fail(batch, &Failure::Git(error));
            return None;
        }
    };
    let mut requests = Vec::with_capacity(batch.len());
    for (pending, checkout) in batch.into_iter().zip(ground.checkouts) {
        match checkout {
            Some(checkout) => requests.push(Placed { pending, checkout }),
            None => {
                let checkout = pending.request.checkout.clone();
                let error = mirror.why_missing(&checkout, &access).await;
                pending.job.finish(Err(Failure::Git(Arc::new(error))));
            }
        }
    }
    let (tip, expected) = (ground.base?, ground.branch);
    if requests.is_empty() {
        return None;
    }
    Some(Ground { mirror, access, branch, expected, tip, requests })
}

/// Plans a batch as a stack of commits; tells those who fail, and all if there is nothing to do.
async fn plan(batch: Vec<Pending>, n_damaged: &mut usize) -> Planning {
    let Some(ground) = place(batch).await else { return Planning::Over };
    let Ground { mirror, access, branch, expected, tip, requests } = ground;
    let now = mirror.core().clock.now();
    let planning = mirror.with_files(&tip, &access, move |files| {
        requests.into_iter().map(|placed| plan_one(placed, files, now)).collect::<Vec<_>>()
    });
    // Requests that are lost with their time are told by their silence.
    let Ok(planned) = planning.await else { return Planning::Over };
    if tip.store.is_damaged() && *n_damaged < DAMAGED_MAX {
        *n_damaged += 1;
        let again = planned.into_iter().map(|attempt| attempt.placed.pending);
        return Planning::Damaged(again.collect());
    }
    let planned: Vec<Planned> = planned.into_iter().filter_map(Attempt::planned).collect();
    if planned.iter().any(|planned| planned.commit.is_some()) {
        return pack(Stack { branch, expected, tip, planned }, &access).await;
    }
    for planned in planned {
        planned.finish(&branch, None);
    }
    Planning::Over
}

async fn pack(stack: Stack, access: &Access) -> Planning {
    let mirror = Arc::clone(stack.mirror());
    match mirror.packs(&stack.tip, stack.commits(), access).await {
        Ok(packs) => Planning::Ready(stack, packs),
        Err(error) => {
            fail(stack.into_batch(), &Failure::Git(Arc::new(error)));
            Planning::Over
        }
    }
}

/// What planning a request came to.
struct Attempt {
    placed: Placed,
    base: CommitId,
    commit: Result<Option<Commit>, Failure>,
}

impl Attempt {
    /// Returns the plan, or tells the request that there is none.
    fn planned(self) -> Option<Planned> {
        let Attempt { placed, base, commit } = self;
        match commit {
            Ok(commit) => Some(Planned { placed, base, commit }),
            Err(failure) => {
                placed.pending.job.finish(Err(failure));
                None
            }
        }
    }
}

fn plan_one(mut placed: Placed, files: &mut crate::snapshot::Snapshot, now: Timestamp) -> Attempt {
    let base = files.commit_id();
    let commit = match placed.pending.job.plan(files) {
        Ok(Some(change)) => {
            let (name, email) = placed.pending.request.author.clone();
            let signature = Signature { name, email, time: now };
            let commit = files.commit(&change.files, &signature, &change.message);
            commit.map_err(|error| Failure::Commit(Arc::new(error)))
        }
        Ok(None) => Ok(None),
        Err(Planless) => Err(Failure::Plan),
    };
    Attempt { placed, base, commit }
}

/// Pushes a stack and tells everybody in it, or says what to do next.
async fn push_stack(stack: Stack, packs: Packs) -> Pushing {
    let commits = stack.commits();
    let Some(last) = commits.last().map(|commit| commit.id) else { return Pushing::Over };
    let request = stack.planned[0].placed.pending.request.clone();
    let mirror = Arc::clone(stack.mirror());
    let n_commits = commits.len();
    if let Err(error) = intend(&mirror, stack.intents(), &request).await {
        return stack.fail(&Failure::Push(error));
    }
    let name = stack.branch.clone();
    let update = Update { name: name.clone(), expected: stack.expected, new: Some(last) };
    let pushed = mirror.push_update(&update, &request.options, &packs, &request.access).await;
    match pushed {
        Ok(()) => {}
        Err(PushError::Raced { .. }) => return Pushing::Raced(stack.into_batch()),
        Err(PushError::Rejected { .. }) if n_commits > 1 => return stack.halve(),
        Err(error) => return stack.refuse(error),
    }
    keep(&mirror, &stack.tip, &name, last, packs.into_objects()).await;
    let refspec = match &request.refspec {
        Some(refspec) => {
            let ours = stack.references(last);
            Some(push_refspec(&mirror, &ours, refspec, &request).await)
        }
        None => None,
    };
    for planned in stack.planned {
        planned.finish(&name, refspec.clone());
    }
    Pushing::Over
}

/// Tells the journal of all commits, before anything is sent.
async fn intend(
    mirror: &Mirror,
    intents: Vec<Intent>,
    request: &super::Request,
) -> Result<(), PushError> {
    let Some(journal) = request.caller.journal.clone() else { return Ok(()) };
    let keeping = mirror
        .blocking(tokio::time::Instant::now() + KEEP_TIMEOUT, move |_| journal.intend(&intents));
    let kept = keeping.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    kept.map_err(|source| PushError::Journal(Arc::new(source)))
}

impl Stack {
    fn mirror(&self) -> &Arc<Mirror> {
        &self.planned[0].placed.pending.mirror
    }

    fn commits(&self) -> Vec<Commit> {
        self.planned.iter().filter_map(|planned| planned.commit.clone()).collect()
    }

    fn intents(&self) -> Vec<Intent> {
        let time = self.mirror().core().clock.now();
        let intent = |planned: &Planned| {
            let commit = planned.commit.as_ref()?;
            Some(Intent {
                owner: planned.placed.pending.request.caller.owner.clone(),
                url: self.mirror().url().clone(),
                branch: self.branch.clone(),
                base: self.tip.resolved.id,
                commit: commit.id,
                message: commit.message.clone(),
                time,
            })
        };
        self.planned.iter().filter_map(intent).collect()
    }

    /// Returns our references once the push branch is at `last`.
    fn references(&self, last: CommitId) -> Ours {
        let mut references = vec![(self.branch.clone(), last)];
        for planned in &self.planned {
            let Resolved { name, id, .. } = &planned.placed.checkout;
            let name = name.clone().filter(|name| references.iter().all(|(n, _)| n != name));
            references.extend(name.map(|name| (name, *id)));
        }
        let below = self.planned.iter().map(|planned| planned.base).collect();
        Ours { references, below }
    }

    fn into_batch(self) -> Vec<Pending> {
        self.planned.into_iter().map(|planned| planned.placed.pending).collect()
    }

    /// Splits the requests so that each half has half of the commits.
    fn halve(self) -> Pushing {
        let n_commits = self.planned.iter().filter(|planned| planned.commit.is_some()).count();
        let (mut first, mut second, mut n_seen) = (Vec::new(), Vec::new(), 0);
        for planned in self.planned {
            let half = if n_seen < n_commits / 2 { &mut first } else { &mut second };
            n_seen += usize::from(planned.commit.is_some());
            half.push(planned.placed.pending);
        }
        Pushing::Refused(first, second)
    }

    /// Tells the only commit that it was refused; others have nothing to do, or to plan anew.
    fn refuse(self, error: PushError) -> Pushing {
        let (with, without): (Vec<_>, Vec<_>) =
            self.planned.into_iter().partition(|planned| planned.commit.is_some());
        for planned in with {
            planned.placed.pending.job.finish(Err(Failure::Push(error.clone())));
        }
        // They may have found nothing to do because the refused commit had done it.
        let again: Vec<Pending> = without.into_iter().map(|p| p.placed.pending).collect();
        if again.is_empty() { Pushing::Over } else { Pushing::Raced(again) }
    }

    fn fail(self, failure: &Failure) -> Pushing {
        fail(self.into_batch(), failure);
        Pushing::Over
    }
}

impl Planned {
    fn finish(self, branch: &RefName, refspec: Option<Result<Vec<RefName>, PushError>>) {
        let pushed = self.commit.map(|commit| Pushed {
            commit: commit.id,
            branch: branch.clone(),
            message: commit.message,
            refspec,
        });
        let end = End { checkout: self.placed.checkout, base: self.base, pushed };
        self.placed.pending.job.finish(Ok(end));
    }
}

fn fail(batch: Vec<Pending>, failure: &Failure) {
    for pending in batch {
        pending.job.finish(Err(failure.clone()));
    }
}

/// Keeps what was pushed in the mirror; if that fails it is fetched when needed.
async fn keep(
    mirror: &Arc<Mirror>,
    tip: &Tip,
    name: &RefName,
    commit: CommitId,
    objects: Arc<[crate::objects::Staged]>,
) {
    let (store, name) = (Arc::clone(&tip.store), name.clone());
    let limits: Limits = mirror.core().limits.clone();
    let deadline = tokio::time::Instant::now() + KEEP_TIMEOUT;
    let keeping = move |stop| store.keep(&name, commit, &objects, &limits, &stop);
    match mirror.blocking(deadline, keeping).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "Pushed commit was not kept in the mirror"),
        Err(error) => tracing::warn!(%error, "Pushed commit was not kept in the mirror"),
    }
}

/// Writing a handful of small files must not hold a lane up for longer.
const KEEP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

impl Mirror {
    /// Makes the second push of a request whose first one arrived long ago; returns where the
    /// commit is then.
    pub(crate) async fn resume_refspec(
        &self,
        ours: (RefName, CommitId),
        below: Vec<CommitId>,
        refspec: &Refspec,
        request: &super::Request,
    ) -> Result<Vec<RefName>, PushError> {
        let mut references = vec![ours];
        if let Reference::Branch(name) = &request.checkout
            && *name != references[0].0
        {
            let refs = self.look(&[name], &request.access).await;
            let refs = refs.map_err(|error| PushError::Remote(Arc::new(error)))?;
            let found = reference::find(&refs, name).map(|found| CommitId(found.id));
            references.extend(found.map(|id| (name.clone(), id)));
        }
        let ours = Ours { references, below };
        push_refspec(self, &ours, refspec, request).await?;
        // What the process before has updated was this push's work too.
        Ok(refspec.destinations(&ours.references).into_iter().map(|to| to.name).collect())
    }
}

/// References of ours after a push, as sources for a second one.
struct Ours {
    /// The push branch first, then the checkouts.
    references: Vec<(RefName, CommitId)>,
    /// Commits known to be below the push branch.
    below: Vec<CommitId>,
}

/// Makes the second push of a request; returns the references it updated.
async fn push_refspec(
    mirror: &Mirror,
    ours: &Ours,
    refspec: &Refspec,
    request: &super::Request,
) -> Result<Vec<RefName>, PushError> {
    let destinations = refspec.destinations(&ours.references);
    if destinations.is_empty() {
        return Err(PushError::NoSource { source_name: refspec.source().to_owned() });
    }
    let names: Vec<&RefName> = destinations.iter().map(|to| &to.name).collect();
    let refs = mirror.look(&names, &request.access).await;
    let refs = refs.map_err(|error| PushError::Remote(Arc::new(error)))?;
    let mut updated = Vec::new();
    for Destination { name, new } in destinations {
        let expected = reference::find(&refs, &name).map(|found| CommitId(found.id));
        // Already there, as after a run that was cut short: nothing to do.
        if expected == new {
            continue;
        }
        let update = Update { name: name.clone(), expected, new };
        if !refspec.is_forced() {
            check_fast_forward(mirror, ours, &update, &request.access).await?;
        }
        mirror.push_update(&update, &request.options, &Packs::empty(), &request.access).await?;
        updated.push(name);
    }
    Ok(updated)
}

async fn check_fast_forward(
    mirror: &Mirror,
    ours: &Ours,
    update: &Update,
    access: &Access,
) -> Result<(), PushError> {
    let (Some(expected), Some(new)) = (update.expected, update.new) else { return Ok(()) };
    let Some((branch, _)) = ours.references.iter().find(|(_, id)| *id == new) else {
        return Ok(());
    };
    if *branch == ours.references[0].0 && ours.below.contains(&expected) {
        return Ok(());
    }
    match mirror.is_below(expected, branch, WHOLE, access).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(PushError::NotFastForward { name: update.name.clone() }),
        Err(GitError::Remote { source, .. }) => Err(PushError::Remote(Arc::new(source))),
        Err(_) => {
            let why = RemoteError::Protocol("its history could not be compared");
            Err(PushError::Remote(Arc::new(why)))
        }
    }
}
