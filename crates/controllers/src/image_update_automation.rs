//! Reconciles `ImageUpdateAutomation`: brings the choices of policies into a branch.

mod choices;
mod edit;
mod selector;
mod target;

use api::{
    Object,
    condition::{Reason, Type, seconds},
    image::{ImageUpdateAutomation, ImageUpdateAutomationStatus},
};
use automation::message::MessageError;
use git::{Finish, Intent, Outcome, PushError, Pushed, RefName, UpdateError};
use jiff::Timestamp;

use crate::{
    context::Scope,
    driver::INTERVAL_MIN,
    outcome::{Extra, Failure, OrFail, Response, Saying, Sentence, Success},
    reconcile::{Reconcile, kind},
    report::{Commit, Notice},
    triggers,
};
use choices::Choices;
use edit::{Edit, Edited, PlanError};
pub(crate) use target::{Target, of as target_of};

/// The one Ready message of a success; what was done is told by events.
const UP_TO_DATE: &str = "repository up-to-date";
/// Problems that the condition lists; the report has all.
const PROBLEMS_SHOWN: usize = 20;

impl Reconcile for ImageUpdateAutomation {
    kind!(ImageUpdateAutomation, automations, triggers::of_automation);

    const ACKNOWLEDGES_SUSPENDED: bool = false;

    async fn reconcile(
        &self,
        status: &mut ImageUpdateAutomationStatus,
        ctx: &Scope<'_>,
    ) -> Result<Success, Failure> {
        status.last_automation_run_time = Some(seconds(ctx.started));
        let interval = self.interval().transpose().stalled(Reason::Failed)?.unwrap_or_default();
        let choices = Choices::of(self, ctx)?;
        let target = target_of(self, ctx).await?;
        let path = update_path(self)?;

        let edit = Edit::new(self, ctx, path, choices);
        let earlier = earlier(ctx);
        let written = write(ctx, &target, edit).await;
        let resumed = resume(ctx, &target, &earlier, &written).await;
        let mut news = Vec::new();
        for (pushed, time) in resumed.iter().flatten() {
            note_push(status, ctx, pushed, *time);
            news.push(pushed.clone());
        }
        let (outcome, edited) = written.inspect_err(|_| tell_all(ctx, &news))?;

        tell_problems(ctx, &edited);
        status.observed_policies = Some(edited.chosen);
        status.observed_source_revision = Some(target.observed(&outcome));
        if let Some(pushed) = outcome.pushed {
            note_push(status, ctx, &pushed, ctx.clock.now());
            news.push(pushed);
        }
        if let Err(failure) = resumed {
            tell_all(ctx, &news);
            return Err(failure);
        }
        // Everything that was intended is known now.
        ctx.settle(ctx.shared.journal.pending(&ctx.key).iter().map(|intent| intent.commit));
        let last = news.pop();
        tell_all(ctx, &news);
        if let Some(pushed) = &last {
            refspec_pushed(pushed).inspect_err(|_| ctx.tell(summary(pushed)))?;
        }
        let event = last.as_ref().map(summary);
        let success = Success { event, ..Success::new(UP_TO_DATE) };
        Ok(success.again_after(interval.to_std().max(INTERVAL_MIN)))
    }

    fn release(&self, ctx: &Scope<'_>) {
        let journal = &ctx.shared.journal;
        let commits: Vec<_> = journal.pending(&ctx.key).iter().map(|i| i.commit).collect();
        journal.settle(&ctx.key, &commits);
    }
}

/// Returns the folder below which markers are looked for.
pub(crate) fn update_path(automation: &ImageUpdateAutomation) -> Result<String, Failure> {
    let update = automation.spec.update.clone().unwrap_or_default();
    match update.strategy.as_deref() {
        None | Some("" | "Setters") => Ok(update.path.unwrap_or_default()),
        Some(strategy) => Err(Sentence(format!("unsupported update strategy: {strategy}")))
            .stalled(Reason::InvalidUpdateStrategy),
    }
}

/// Plans on the files at the tip and pushes what is to change, or only plans it in a dry run.
async fn write(
    ctx: &Scope<'_>,
    target: &Target,
    edit: Edit,
) -> Result<(Outcome<()>, Edited), Failure> {
    let plan = move |files: &mut git::Snapshot| edit.plan(files);
    let result = if ctx.settings.dry_run {
        let preview = target.mirror.preview(target.request.clone(), plan).await;
        preview.map(|(outcome, _)| outcome)
    } else {
        target.mirror.update(target.request.clone(), plan).await
    };
    let outcome = result.map_err(|error| failure(ctx, error))?;
    let Outcome { checkout, base, detail, pushed } = outcome;
    edit::report(ctx, &detail, target.request.branch.short());
    Ok((Outcome { checkout, base, detail: (), pushed }, detail))
}

/// Returns pushes of this automation of which nobody knows what became of them.
fn earlier(ctx: &Scope<'_>) -> Vec<Intent> {
    // A dry run asks and tells nothing about pushes.
    if ctx.settings.dry_run { Vec::new() } else { ctx.shared.journal.pending(&ctx.key) }
}

/// Finds out which of them took place, and when they were made. It is asked for after the
/// automation's own push: what has not arrived by then never will.
async fn resume(
    ctx: &Scope<'_>,
    target: &Target,
    earlier: &[Intent],
    written: &Result<(Outcome<()>, Edited), Failure>,
) -> Result<Vec<(Pushed, Timestamp)>, Failure> {
    if earlier.is_empty() {
        return Ok(Vec::new());
    }
    let finish = match written {
        Ok((Outcome { pushed: None, .. }, _)) => Finish::Refspec,
        Ok((Outcome { pushed: Some(_), .. }, _)) | Err(_) => Finish::Nothing,
    };
    let stop = ctx.shared.stop();
    let resumed = target.mirror.resume(earlier, &target.request, finish);
    let resumed = stop.run_until_cancelled(resumed).await.ok_or_else(abandoned)?;
    let resumed = resumed.saying("failed to checkout source").retry(Reason::GitOperationFailed)?;
    let time = |pushed: &Pushed| {
        let intent = earlier.iter().find(|intent| intent.commit == pushed.commit);
        intent.map_or_else(|| ctx.clock.now(), |intent| intent.time)
    };
    if written.is_err() {
        ctx.settle(resumed.iter().map(|pushed| pushed.commit));
    }
    Ok(resumed.into_iter().map(|pushed| (pushed.clone(), time(&pushed))).collect())
}

fn note_push(
    status: &mut ImageUpdateAutomationStatus,
    ctx: &Scope<'_>,
    pushed: &Pushed,
    time: Timestamp,
) {
    status.last_push_commit = Some(pushed.commit.to_string());
    status.last_push_time = Some(seconds(time));
    report_commit(ctx, pushed);
}

fn tell_all(ctx: &Scope<'_>, news: &[Pushed]) {
    news.iter().for_each(|pushed| ctx.tell(summary(pushed)));
}

fn abandoned() -> Failure {
    let message = "given up: the process is stopping".to_owned();
    Failure { response: Response::Abandon, reason: Reason::Failed, message }
}

fn failure(ctx: &Scope<'_>, error: UpdateError<PlanError>) -> Failure {
    let result: Result<(), Failure> = match error {
        UpdateError::Stopped if ctx.shared.stop().is_cancelled() => return abandoned(),
        UpdateError::Git(error) => {
            Err(error).saying("failed to checkout source").retry(Reason::GitOperationFailed)
        }
        UpdateError::Plan(error) => return error.into_failure(),
        error @ (UpdateError::Commit(_) | UpdateError::Push(_) | UpdateError::Stopped) => {
            Err(error).saying("failed to update source").retry(Reason::GitOperationFailed)
        }
    };
    result.expect_err("it was made of an error")
}

/// The commit is on its branch; whether it also reached the refspec is another question.
fn refspec_pushed(pushed: &Pushed) -> Result<(), Failure> {
    match &pushed.refspec {
        Some(Err(error)) => {
            let error: Result<(), PushError> = Err(error.clone());
            error.saying("failed to update source").retry(Reason::GitOperationFailed)
        }
        None | Some(Ok(_)) => Ok(()),
    }
}

/// Returns what was pushed, in Flux's words.
fn summary(pushed: &Pushed) -> String {
    let commit = pushed.commit.to_string();
    let short = commit.get(..7).unwrap_or(&commit);
    let mut summary = format!("pushed commit '{short}' to branch '{}'", pushed.branch.short());
    if let Some(Ok(names)) = &pushed.refspec
        && !names.is_empty()
    {
        let quoted = names.iter().map(|name: &RefName| format!("'{name}'"));
        summary.push_str(&format!(" and refspecs {}", quoted.collect::<Vec<_>>().join(", ")));
    }
    if !pushed.message.is_empty() {
        summary.push('\n');
        summary.push_str(&pushed.message);
    }
    summary
}

fn report_commit(ctx: &Scope<'_>, pushed: &Pushed) {
    ctx.report(|report| {
        report.commits.push(Commit {
            automation: ctx.key.clone(),
            branch: pushed.branch.short().to_owned(),
            id: pushed.commit.to_string(),
        });
    });
}

/// Says which markers and files were left alone. It never stops the others.
fn tell_problems(ctx: &Scope<'_>, edited: &Edited) {
    if edited.problems.is_empty() {
        ctx.clear_condition(Type::MarkersIgnored);
        return;
    }
    let lines = edited.problems.iter().take(PROBLEMS_SHOWN).map(|(file, problem)| {
        let (line, column) = (problem.line, problem.column);
        format!("{file}:{line}:{column}: {}: {}", problem.reason, problem.message)
    });
    let mut message = lines.collect::<Vec<_>>().join("\n");
    let n_more = edited.problems.len().saturating_sub(PROBLEMS_SHOWN);
    if n_more > 0 {
        message.push_str(&format!("\nand {n_more} more"));
    }
    ctx.condition(Extra {
        type_: Type::MarkersIgnored,
        reason: Reason::MarkersIgnored,
        message: message.clone(),
        told: true,
    });
    ctx.report(|report| {
        report.notices.push(Notice {
            kind: ctx.kind,
            key: ctx.key.clone(),
            reason: Reason::MarkersIgnored.as_str().to_owned(),
            message,
        });
    });
}

impl PlanError {
    fn into_failure(self) -> Failure {
        match self {
            PlanError::Files(error) => {
                let mut failure = Failure::new(Response::Retry, Reason::UpdateFailed, &error);
                failure.message = format!("failed to apply policies: {}", failure.message);
                failure
            }
            PlanError::Message(error @ MessageError::RemovedField { .. }) => {
                Failure::new(Response::Stall, Reason::RemovedTemplateField, &error)
            }
            PlanError::Message(error) => {
                let mut failure = Failure::new(Response::Retry, Reason::GitOperationFailed, &error);
                failure.message = format!("failed to update source: {}", failure.message);
                failure
            }
        }
    }
}
