//! The client: what callers see, and what all exchanges share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::{Digest, Repository, TagList};
use auth::{Credential, Keychain};
use clock::Clock;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use net::Route;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{ExchangeError, ManifestError, ScanError};
use crate::list;
use crate::manifest;
use crate::scheduler::{Rate, Scheduler};
use crate::session::PingCache;
use crate::token::TokenCache;

/// How often a caller joins somebody else's scan that ends at a deadline
/// before its own.
const JOINS_MAX: usize = 3;

/// Talks to registries. Cheap to clone; clones share tokens, limits and scans.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// What holds for all registries.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Hosts that any registry may name as its token realm.
    pub allow_realms: Vec<String>,
    /// What a listing may come to.
    pub limits: Limits,
    /// How much one host is asked.
    pub rate: Rate,
}

/// What a listing may come to; more is an error, never a shorter list.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of tags.
    pub tags: usize,
    /// Bytes of all pages, unpacked.
    pub bytes: u64,
    /// Number of pages.
    pub pages: usize,
}

impl Default for Limits {
    /// Twice the largest public repositories; pages may be as short as a
    /// hundred tags.
    fn default() -> Limits {
        Limits { tags: 2_000_000, bytes: 64 << 20, pages: 20_000 }
    }
}

/// How to reach a registry, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Credentials by registry.
    pub keychain: Keychain,
    /// TLS, proxy, addresses.
    pub route: Route,
    /// Plain http may be used, also with credentials.
    pub insecure: bool,
}

/// What a registry gave to recognise an unchanged listing by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Validator {
    pub(crate) repository: String,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// A repository's tags.
#[derive(Clone, Debug)]
pub enum Listing {
    /// The same as when the validator was given.
    NotModified,
    /// All of them.
    Complete {
        /// In descending order of their bytes, duplicates kept.
        tags: Arc<TagList>,
        /// What to ask with the next time, if the registry gave anything.
        validator: Option<Validator>,
        /// How many pages there were.
        pages: usize,
    },
}

pub(crate) struct Inner {
    pub(crate) net: net::Client,
    pub(crate) clock: Clock,
    pub(crate) options: Options,
    pub(crate) scheduler: Scheduler,
    pub(crate) tokens: TokenCache,
    pub(crate) pings: PingCache,
    scans: Mutex<HashMap<ScanKey, WeakShared<Scan>>>,
}

type Scan = BoxFuture<'static, Result<Listing, ScanError>>;

/// Scans with equal keys are one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ScanKey {
    repository: Repository,
    credential: Option<Credential>,
    route: Route,
    insecure: bool,
    previous: Option<Validator>,
}

impl Client {
    /// Returns a client over `net`.
    pub fn new(net: net::Client, clock: Clock, options: Options) -> Client {
        let scheduler = Scheduler::new(options.rate, clock.clone());
        let inner = Inner {
            net,
            clock,
            options,
            scheduler,
            tokens: TokenCache::default(),
            pings: PingCache::default(),
            scans: Mutex::default(),
        };
        Client { inner: Arc::new(inner) }
    }

    /// Returns all tags of a repository, or that nothing changed since
    /// `previous` was given. Callers that ask for the same with the same
    /// credentials at the same time share one scan.
    ///
    /// # Errors
    /// When the last page was not seen by the deadline, for whatever reason:
    /// there is no partial list. The text is what Flux puts after `scan failed: `.
    pub async fn list_tags(
        &self,
        repository: &Repository,
        access: &Access,
        previous: Option<&Validator>,
        deadline: Instant,
    ) -> Result<Listing, ScanError> {
        let previous = previous.filter(|p| p.repository == repository.canonical()).cloned();
        for _ in 0..JOINS_MAX {
            let (scan, joined) = self.scan(repository, access, previous.as_ref(), deadline);
            // The scan watches its own deadline; a joined one may be later.
            let end = if joined { deadline } else { deadline + Duration::from_secs(1) };
            match tokio::time::timeout_at(end, scan).await {
                Ok(Err(error)) if joined && error.is_deadline() && Instant::now() < deadline => {}
                Ok(result) => return result,
                Err(_) => break,
            }
        }
        let host = repository.registry().to_owned();
        Err(ExchangeError::Busy { host }.into())
    }

    /// Returns the digest of the manifest that a tag (or digest) names, `None`
    /// if the registry says that there is none. For an image of several
    /// platforms it is the digest of its index.
    ///
    /// # Errors
    /// When the registry gives no clear answer by the deadline.
    pub async fn head_manifest(
        &self,
        repository: &Repository,
        reference: &str,
        access: &Access,
        deadline: Instant,
    ) -> Result<Option<Digest>, ManifestError> {
        manifest::head(&self.inner, repository, reference, access, deadline).await
    }

    /// Returns the scan under way for this key, or a new one.
    fn scan(
        &self,
        repository: &Repository,
        access: &Access,
        previous: Option<&Validator>,
        deadline: Instant,
    ) -> (Shared<Scan>, bool) {
        let key = ScanKey {
            repository: repository.clone(),
            credential: access.keychain.lookup(repository.registry(), repository.path()),
            route: access.route.clone(),
            insecure: access.insecure,
            previous: previous.cloned(),
        };
        let mut scans = self.inner.scans.lock();
        if let Some(scan) = scans.get(&key).and_then(WeakShared::upgrade) {
            return (scan, true);
        }
        // Abandoned scans leave their keys behind.
        scans.retain(|_, scan| scan.upgrade().is_some());
        let scan = self.inner.clone().run(key.clone(), access.clone(), deadline).boxed().shared();
        scans.extend(scan.downgrade().map(|weak| (key, weak)));
        (scan, false)
    }
}

impl Inner {
    async fn run(
        self: Arc<Inner>,
        key: ScanKey,
        access: Access,
        deadline: Instant,
    ) -> Result<Listing, ScanError> {
        let result =
            list::list(&self, &key.repository, &access, key.previous.as_ref(), deadline).await;
        self.scans.lock().remove(&key);
        result
    }
}
