//! Lists a repository's tags, page by page, to the last one.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use api::{Repository, TagList};
use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LINK};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use net::{ErrorKind, redacted};
use tokio::time::Instant;
use url::Url;

use crate::client::{Access, Inner, Limits, Listing, Validator};
use crate::error::{ExchangeError, ScanError};
use crate::link::{next_link, next_page};
use crate::scheduler::http_date;
use crate::session::{Answer, Ask, Session};
use crate::tags::TagsParser;

/// How many pages without tags are followed in a row.
const EMPTY_PAGES_MAX: usize = 4;

/// How much older than its answer a `Last-Modified` must be: within the same
/// second something could change unseen.
const LAST_MODIFIED_AGE: i64 = 60;

/// Longest validator that is kept.
const VALIDATOR_MAX: usize = 512;

struct Page {
    tags: TagList,
    /// Unpacked, in bytes.
    size: u64,
    next: Option<Url>,
    headers: HeaderMap,
}

/// What came so far.
struct Pages {
    limits: Limits,
    tags: TagList,
    size: u64,
    count: usize,
    /// Hashes of the URLs asked for.
    seen: HashSet<u64>,
    empty: usize,
    previous: TagList,
}

/// Returns all tags, or that nothing changed since `previous`.
pub(crate) async fn list(
    inner: &Inner,
    repository: &Repository,
    access: &Access,
    previous: Option<&Validator>,
    deadline: Instant,
) -> Result<Listing, ScanError> {
    let mut session = Session::open(inner, repository, access, deadline).await?;
    let mut url = session.url("tags/list?n=1000")?;
    let mut pages = Pages::new(inner.options.limits);
    loop {
        pages.visit(&url)?;
        let first = pages.count == 1;
        let condition = previous.filter(|_| first);
        let Some(page) = fetch_page(&mut session, &url, condition, &pages).await? else {
            return Ok(Listing::NotModified);
        };
        let next = page.next.clone();
        // A validator speaks for its page only.
        let validator =
            if first && next.is_none() { validator(repository, &page.headers) } else { None };
        pages.add(page, &url)?;
        match next {
            Some(next) => url = next,
            None => return Ok(pages.complete(validator)),
        }
    }
}

impl Pages {
    fn new(limits: Limits) -> Pages {
        Pages {
            limits,
            tags: TagList::new(),
            size: 0,
            count: 0,
            seen: HashSet::new(),
            empty: 0,
            previous: TagList::new(),
        }
    }

    /// Counts a page that is about to be asked for.
    fn visit(&mut self, url: &Url) -> Result<(), ScanError> {
        let mut hasher = DefaultHasher::new();
        url.as_str().hash(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            return Err(endless(url, "a page leads back to an earlier one"));
        }
        self.count += 1;
        if self.count > self.limits.pages {
            return Err(ScanError::Limit { limit: format!("{} pages", self.limits.pages) });
        }
        Ok(())
    }

    fn add(&mut self, page: Page, url: &Url) -> Result<(), ScanError> {
        self.size += page.size;
        self.empty = if page.tags.is_empty() { self.empty + 1 } else { 0 };
        if page.next.is_none() && self.count == 1 {
            self.tags = page.tags;
            return Ok(());
        }
        if self.empty > EMPTY_PAGES_MAX {
            return Err(endless(url, "page after page has no tags"));
        }
        if !page.tags.is_empty() && page.tags == self.previous {
            return Err(endless(url, "a page came twice"));
        }
        page.tags.iter().for_each(|tag| self.tags.push(tag));
        self.previous = page.tags;
        Ok(())
    }

    fn complete(mut self, validator: Option<Validator>) -> Listing {
        self.tags.sort_descending();
        Listing::Complete { tags: Arc::new(self.tags), validator, pages: self.count }
    }

    /// Checks the number of tags while a page is still coming.
    fn check_tags(&self, n_tags: usize) -> Result<(), ScanError> {
        if self.tags.len() + n_tags > self.limits.tags {
            return Err(ScanError::Limit { limit: format!("{} tags", self.limits.tags) });
        }
        Ok(())
    }
}

/// Returns a page; `None` if nothing changed. A page that breaks off is asked
/// for again: what came of it is thrown away.
async fn fetch_page(
    session: &mut Session<'_>,
    url: &Url,
    condition: Option<&Validator>,
    pages: &Pages,
) -> Result<Option<Page>, ScanError> {
    let mut ask = Ask::new(Method::GET, url.clone());
    condition.into_iter().for_each(|validator| add_condition(&mut ask.headers, validator));
    let mut attempt = 1;
    loop {
        let answer = session.fetch(&ask).await?;
        let status = answer.response.status;
        if status == StatusCode::NOT_MODIFIED && condition.is_some() {
            return Ok(None);
        }
        if status != StatusCode::OK {
            return Err(session.refused(&ask, answer).await.into());
        }
        match read_page(answer, pages).await {
            Err(ScanError::Exchange(ExchangeError::Net(error)))
                if error.is_temporary() && session.back_off(attempt).await =>
            {
                attempt += 1;
            }
            result => return result.map(Some),
        }
    }
}

async fn read_page(mut answer: Answer, pages: &Pages) -> Result<Page, ScanError> {
    let response = &mut answer.response;
    response.limit(pages.limits.bytes.saturating_sub(pages.size));
    let page_url = response.url.clone();
    let mut parser = TagsParser::new();
    let mut size = 0;
    let malformed = |source| ScanError::Malformed { url: redacted(&page_url), source };
    while let Some(piece) = response.chunk().await.map_err(|error| limited(error, pages))? {
        size += piece.len() as u64;
        parser.feed(&piece).map_err(malformed)?;
        pages.check_tags(parser.n_tags())?;
    }
    let tags = parser.finish().map_err(malformed)?;
    let next = next_of(&answer.response.headers, &page_url)?;
    Ok(Page { tags, size, next, headers: std::mem::take(&mut answer.response.headers) })
}

/// Returns the next page that the answer names.
fn next_of(headers: &HeaderMap, page: &Url) -> Result<Option<Url>, ScanError> {
    let values = headers.get_all(LINK).iter().take(8);
    let texts: Vec<String> =
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let Some(target) = texts.iter().find_map(|text| next_link(text)) else { return Ok(None) };
    match next_page(page, target) {
        Ok(next) => Ok(Some(next)),
        Err(source) => Err(ScanError::Link { url: redacted(page), source }),
    }
}

fn limited(error: net::Error, pages: &Pages) -> ScanError {
    match error.kind() {
        ErrorKind::BodyLimit { .. } => {
            ScanError::Limit { limit: format!("{} bytes", pages.limits.bytes) }
        }
        _ => ExchangeError::Net(error).into(),
    }
}

fn endless(url: &Url, reason: &'static str) -> ScanError {
    ScanError::Endless { url: redacted(url), reason }
}

fn add_condition(headers: &mut HeaderMap, validator: &Validator) {
    let fields = [(IF_NONE_MATCH, &validator.etag), (IF_MODIFIED_SINCE, &validator.last_modified)];
    for (name, text) in fields {
        if let Some(value) = text.as_ref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
}

/// Returns what to recognise an unchanged listing by.
fn validator(repository: &Repository, headers: &HeaderMap) -> Option<Validator> {
    let text = |name| {
        let value = headers.get(name)?.to_str().ok()?;
        (value.len() <= VALIDATOR_MAX).then(|| value.to_owned())
    };
    let etag = text(ETAG);
    let last_modified = text(LAST_MODIFIED).filter(|modified| {
        let age = text(DATE).and_then(|date| {
            Some(http_date(&date)?.as_second() - http_date(modified)?.as_second())
        });
        age.is_some_and(|age| age >= LAST_MODIFIED_AGE)
    });
    if etag.is_none() && last_modified.is_none() {
        return None;
    }
    Some(Validator { repository: repository.canonical(), etag, last_modified })
}
