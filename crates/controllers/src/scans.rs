//! One scan shared by all objects that ask for the same listing with the same credentials.
//!
//! The registry client joins scans that run at the same time. Here a listing is also shared for a
//! moment after it ended, so that objects which become due together cost one request, and what the
//! registry said about its validity is kept to ask conditionally.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use api::TagList;
use clock::Clock;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use registry::{Listing, ScanError, Validator};

use crate::{queue::ObjectKey, tags::Stored};

/// How old a listing may be to serve a scan that nobody asked for by name. It is much shorter than
/// any sensible interval and longer than a herd of scans needs to start.
pub(crate) const SHARED_FOR: Duration = Duration::from_secs(10);

/// What is listed, and with which credentials: equal keys may share a listing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ScanKey {
    /// The repository's canonical name.
    pub(crate) repository: String,
    /// A hash over everything that decides what the registry answers.
    pub(crate) access: [u8; 32],
}

/// The listings of a moment ago, and those that can be asked for conditionally.
#[derive(Default)]
pub(crate) struct Scans {
    known: Mutex<HashMap<ScanKey, Known>>,
    /// What was made of the last listing of each object since the start.
    kept: Mutex<HashMap<ObjectKey, Kept>>,
}

/// A listing and the tags that were left of it.
struct Kept {
    listed: Arc<TagList>,
    exclusions: Vec<String>,
    stored: Arc<Stored>,
}

#[derive(Clone)]
struct Known {
    began: Timestamp,
    tags: Arc<TagList>,
    validator: Option<Validator>,
}

impl Scans {
    /// Returns whether the object's tags were listed since the start: tags may have come while nobody looked.
    pub(crate) fn is_listed(&self, key: &ObjectKey) -> bool {
        self.kept.lock().contains_key(key)
    }

    /// Returns whether the object's last listing was made with these exclusions.
    pub(crate) fn has_used(&self, key: &ObjectKey, exclusions: &[String]) -> bool {
        self.kept.lock().get(key).is_some_and(|kept| kept.exclusions == exclusions)
    }

    /// Returns what was made of the object's last listing, if this one would come to the same.
    pub(crate) fn same(
        &self,
        key: &ObjectKey,
        listed: &TagList,
        exclusions: &[String],
    ) -> Option<Arc<Stored>> {
        let kept = self.kept.lock();
        let kept = kept.get(key).filter(|kept| kept.exclusions == exclusions)?;
        (*kept.listed == *listed).then(|| Arc::clone(&kept.stored))
    }

    /// Takes note of what was made of a listing.
    pub(crate) fn keep(
        &self,
        key: &ObjectKey,
        listed: Arc<TagList>,
        exclusions: &[String],
        stored: &Arc<Stored>,
    ) {
        // One list of the two is enough where nothing was dropped.
        let listed = if *listed == *stored.tags { Arc::clone(&stored.tags) } else { listed };
        let kept = Kept { listed, exclusions: exclusions.to_vec(), stored: Arc::clone(stored) };
        self.kept.lock().insert(key.clone(), kept);
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.kept.lock().remove(key);
    }

    /// Returns a complete listing in descending order, and when it began: at `not_before` or later: a known
    /// one, or a new one by `list`, which gets the validator of the last.
    pub(crate) async fn scan<F>(
        &self,
        key: &ScanKey,
        not_before: Timestamp,
        clock: &Clock,
        list: impl Fn(Option<Validator>) -> F,
    ) -> Result<(Arc<TagList>, Timestamp), ScanError>
    where
        F: Future<Output = Result<Listing, ScanError>> + Send,
    {
        let began = clock.now();
        let last = {
            let mut known = self.known.lock();
            forget_old(&mut known, began);
            known.get(key).cloned()
        };
        if let Some(last) = &last
            && last.began >= not_before
        {
            return Ok((Arc::clone(&last.tags), last.began));
        }
        let asked = last.as_ref().and_then(|last| last.validator.clone());
        let mut listing = list(asked).await?;
        if matches!(listing, Listing::NotModified) && last.is_none() {
            // Nobody asked for this answer; it holds nothing, so ask for the whole.
            listing = list(None).await?;
        }
        let found = match (listing, last) {
            (Listing::Complete { tags, validator, .. }, _) => Known { began, tags, validator },
            (Listing::NotModified, Some(last)) => Known { began, ..last },
            (Listing::NotModified, None) => {
                return Ok((Arc::default(), began));
            }
        };
        let tags = Arc::clone(&found.tags);
        self.known.lock().insert(key.clone(), found);
        Ok((tags, began))
    }
}

/// Listings without a validator serve only for the moment; the others until they are replaced.
fn forget_old(known: &mut HashMap<ScanKey, Known>, now: Timestamp) {
    let shared_for = SignedDuration::try_from(SHARED_FOR).unwrap_or_default();
    let oldest = now.saturating_sub(shared_for).unwrap_or(Timestamp::MIN);
    known.retain(|_, known| known.validator.is_some() || known.began >= oldest);
}
