//! Which tags take part: the exclusions of a repository, and the filter of a policy.

use super::{Choice, PolicyError};
use api::image::TagFilter;
use api::tag::TagList;
use golang::regexp::{self, Matcher, Regexp, Template};

/// The `filterTags` of a policy.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    regexp: Regexp,
    /// What to compare; without it, the whole tag.
    extract: Option<Template>,
}

/// A filter with the scratch memory of a search.
pub(crate) struct FilterMatcher<'f> {
    matcher: Matcher<'f>,
    extract: Option<&'f Template>,
}

/// The `exclusionList` of a repository: tags that are dropped before anything else.
#[derive(Debug, Clone, Default)]
pub struct Exclusions {
    regexps: Vec<Regexp>,
}

/// Why an exclusion is not a regular expression; prints Flux's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to compile regex {pattern}: {error}")]
pub struct ExclusionError {
    pattern: String,
    error: regexp::Error,
}

impl Filter {
    pub(super) fn new(filter: &TagFilter) -> Result<Filter, PolicyError> {
        let pattern = filter.pattern.as_deref().unwrap_or_default();
        let regexp = Regexp::new(pattern)
            .map_err(|error| PolicyError::Pattern { pattern: pattern.to_owned(), error })?;
        let extract = filter.extract.as_deref().filter(|extract| !extract.is_empty());
        let extract = extract.map(|extract| regexp.template(extract));
        Ok(Filter { regexp, extract })
    }

    /// Returns the pattern.
    pub(crate) fn pattern(&self) -> &str {
        self.regexp.as_str()
    }

    /// Returns a text with which every tag begins that matches.
    pub(super) fn prefix(&self) -> &str {
        self.regexp.prefix()
    }

    /// Returns a matcher for many tags in a row.
    pub(crate) fn matcher(&self) -> FilterMatcher<'_> {
        FilterMatcher { matcher: self.regexp.matcher(), extract: self.extract.as_ref() }
    }

    /// Returns the tag with its value, or nothing if it does not match: for a few tags.
    pub(crate) fn apply<'t>(&self, tag: &'t str) -> Option<Choice<'t>> {
        match &self.extract {
            None => self.regexp.is_match_str(tag).then(|| Choice::whole(tag)),
            Some(extract) => {
                let value = self.regexp.expand_str(extract, tag)?;
                Some(Choice { tag, value })
            }
        }
    }
}

impl FilterMatcher<'_> {
    /// Returns the tag with its value, or nothing if it does not match or the value is not
    /// `wanted`: that is asked first where it saves a search.
    pub(super) fn apply_if<'t>(
        &mut self,
        tag: &'t str,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<Choice<'t>> {
        match self.extract {
            None => (wanted(tag) && self.matcher.is_match(tag)).then(|| Choice::whole(tag)),
            Some(extract) => {
                let value = self.matcher.expand_if(extract, tag, wanted)?;
                Some(Choice { tag, value })
            }
        }
    }
}

impl Exclusions {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// At the first that is not a regular expression, with Flux's text.
    pub fn new(patterns: &[String]) -> Result<Exclusions, ExclusionError> {
        let compile = |pattern: &String| {
            Regexp::new(pattern).map_err(|error| ExclusionError { pattern: pattern.clone(), error })
        };
        Ok(Exclusions { regexps: patterns.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// Reports whether the tag is dropped: one pattern that matches anywhere in it is enough.
    pub fn excludes(&self, tag: &str) -> bool {
        self.excluded_by(tag).is_some()
    }

    /// Returns the first pattern that drops the tag.
    pub fn excluded_by(&self, tag: &str) -> Option<&str> {
        self.regexps.iter().find(|regexp| regexp.is_match_str(tag)).map(Regexp::as_str)
    }

    /// Returns the tags that remain, in their order.
    pub fn retain(&self, tags: &TagList) -> TagList {
        let mut matchers: Vec<_> = self.regexps.iter().map(Regexp::matcher).collect();
        tags.retain(|tag| !matchers.iter_mut().any(|matcher| matcher.is_match(tag)))
    }
}
