//! What is about to be pushed, told before it is sent, and what became of it.
//!
//! A process may end, or lose sight of the server, between a push and the moment at which its
//! caller knows of it. What is told to a [`Journal`] outlives that: [`Mirror::resume`] finds on the
//! branch itself which commits arrived.

use std::{io, sync::Arc};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    error::GitError,
    lane::{Pushed, Request},
    mirror::{Mirror, WHOLE},
    reference::{self, CommitId, RefName},
    url::RemoteUrl,
};

/// How many commits below the tip are looked at in a mirror that was made anew since the push.
const DEPTH_MAX: u32 = 64;

/// A commit that is about to be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Whose it is: [`Caller::owner`].
    pub owner: String,
    /// The repository.
    pub url: RemoteUrl,
    /// The branch that is to get it.
    pub branch: RefName,
    /// What the push was computed from; it was in the mirror then.
    pub base: CommitId,
    /// The commit.
    pub commit: CommitId,
    /// Its message.
    pub message: String,
    /// When it was made.
    pub time: Timestamp,
}

/// Remembers intents. [`Caller`] brings one along.
pub trait Journal: Send + Sync {
    /// Keeps these intents, beside those that are kept already. When it returns they are as durable
    /// as they get.
    ///
    /// # Errors
    /// When they cannot be kept. The push is not sent then.
    fn intend(&self, intents: &[Intent]) -> io::Result<()>;
}

/// Who makes a request.
#[derive(Clone, Default)]
pub struct Caller {
    /// Its name in the journal.
    pub owner: String,
    /// Is told of every commit before it is sent.
    pub journal: Option<Arc<dyn Journal>>,
    /// Gives the request up, unless it is being sent: then it comes to its end.
    pub stop: CancellationToken,
}

impl Caller {
    /// Returns whether both keep the same journal.
    pub(crate) fn shares_journal(&self, other: &Caller) -> bool {
        let address = |caller: &Caller| {
            caller.journal.as_ref().map(|journal| Arc::as_ptr(journal).cast::<()>())
        };
        address(self) == address(other)
    }
}

impl Mirror {
    /// Returns those of these intents whose commit is on its branch, in the same order.
    ///
    /// Where the request names a refspec and `finish` says so, it is pushed for the last of them: the
    /// process may have ended between the two pushes.
    ///
    /// # Errors
    /// When the repository cannot be asked. Nothing is known then.
    pub async fn resume(
        &self,
        intents: &[Intent],
        request: &Request,
        finish: Finish,
    ) -> Result<Vec<Pushed>, GitError> {
        let mut arrived = Vec::new();
        for intent in intents.iter().filter(|intent| intent.url == *self.url()) {
            if self.has_arrived(intent, request).await? {
                let Intent { branch, commit, message, .. } = intent.clone();
                arrived.push(Pushed { commit, branch, message, refspec: None });
            }
        }
        if let (Finish::Refspec, Some(refspec), Some(last)) =
            (finish, &request.refspec, arrived.last_mut())
        {
            let below = intents.iter().map(|intent| intent.base).collect();
            let ours = (last.branch.clone(), last.commit);
            last.refspec = Some(self.resume_refspec(ours, below, refspec, request).await);
        }
        Ok(arrived)
    }

    /// Returns whether a commit is at the tip of its branch or below.
    async fn has_arrived(&self, intent: &Intent, request: &Request) -> Result<bool, GitError> {
        let access = &request.access;
        let refs = self.look(&[&intent.branch], access).await;
        let refs = refs.map_err(GitError::remote(self.url()))?;
        let Some(tip) = reference::find(&refs, &intent.branch).map(|found| CommitId(found.id))
        else {
            return Ok(false);
        };
        if tip == intent.commit || tip == intent.base {
            return Ok(tip == intent.commit);
        }
        // Without what the push was computed from, all of the history would have to be fetched.
        let depth = if self.knows(intent.base, access).await? { WHOLE } else { DEPTH_MAX };
        self.is_below(intent.commit, &intent.branch, depth, access).await
    }
}

/// What [`Mirror::resume`] does about the refspec of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is pushed.
    Refspec,
    /// It is left alone: a later push has seen to it.
    Nothing,
}
