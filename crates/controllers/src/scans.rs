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
}

#[derive(Clone)]
struct Known {
    began: Timestamp,
    tags: Arc<TagList>,
    validator: Option<Validator>,
}

impl Scans {
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
