//! Whether a scan is due: a pure decision over the spec and the last status.

use std::{collections::BTreeSet, time::Duration};

use api::{condition::seconds, image::ImageRepositoryStatus};
use jiff::Timestamp;

use crate::driver::INTERVAL_MIN;

/// Whether to scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Now, for this reason.
    Now(&'static str),
    /// Not before this time has passed.
    In(Duration),
}

/// No tags are in the store although a scan has succeeded: Ready is taken away until they are back.
pub(super) const NO_TAGS: &str = "no tags in database";

/// What the decision is made from.
pub(super) struct Facts<'a> {
    pub(super) status: &'a ImageRepositoryStatus,
    pub(super) is_requested: bool,
    /// Whether the tags were listed since the start of this process.
    pub(super) is_listed: bool,
    pub(super) canonical_name: &'a str,
    pub(super) exclusions: &'a [String],
    pub(super) has_tags: bool,
    pub(super) interval: Duration,
    pub(super) now: Timestamp,
}

/// Returns whether a scan is due, asking in Flux's order. Flux does not ask whether tags came while it was not running.
pub(super) fn due(facts: &Facts<'_>) -> Due {
    let status = facts.status;
    let Some(last) = &status.last_scan_result else { return Due::Now("first scan") };
    if facts.is_requested {
        return Due::Now("reconcile requested");
    }
    if status.canonical_image_name.as_deref() != Some(facts.canonical_name) {
        return Due::Now("new image name");
    }
    if !are_alike(facts.exclusions, status.observed_exclusion_list.as_deref().unwrap_or_default()) {
        return Due::Now("updated exclusion list");
    }
    if !facts.has_tags && last.tag_count != 0 {
        return Due::Now(NO_TAGS);
    }
    if !facts.is_listed {
        return Due::Now("first scan since the start");
    }
    let Some(scanned) = &last.scan_time else { return Due::Now("triggered by interval") };
    // A clock that was set back must not put a scan off: time not passed counts as passed.
    let elapsed = seconds(facts.now).0.duration_since(scanned.0);
    let Ok(elapsed) = Duration::try_from(elapsed) else {
        return Due::Now("triggered by interval");
    };
    match facts.interval.checked_sub(elapsed) {
        Some(left) if left >= INTERVAL_MIN => Due::In(left),
        _ => Due::Now("triggered by interval"),
    }
}

/// Flux compares length and members; order does not count.
fn are_alike(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::image::ScanResult;

    /// The status of a scan of `registry/app` at second 1000 that found three tags.
    fn scanned() -> ImageRepositoryStatus {
        let at = Timestamp::from_second(1000).expect("in range");
        ImageRepositoryStatus {
            canonical_image_name: Some("registry/app".to_owned()),
            observed_exclusion_list: Some(vec!["a".to_owned(), "b".to_owned()]),
            last_scan_result: Some(ScanResult {
                tag_count: 3,
                scan_time: Some(seconds(at)),
                ..ScanResult::default()
            }),
            ..ImageRepositoryStatus::default()
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Facts<'_>), expected: Due) {
        check_status(&scanned(), change, expected);
    }

    #[track_caller]
    fn check_status(
        status: &ImageRepositoryStatus,
        change: impl FnOnce(&mut Facts<'_>),
        expected: Due,
    ) {
        let exclusions = ["b".to_owned(), "a".to_owned()];
        let mut facts = Facts {
            status,
            is_requested: false,
            is_listed: true,
            canonical_name: "registry/app",
            exclusions: &exclusions,
            has_tags: true,
            interval: Duration::from_secs(300),
            now: Timestamp::from_second(1100).expect("in range"),
        };
        change(&mut facts);
        assert_eq!(due(&facts), expected);
    }

    #[test]
    fn a_scan_is_due_for_fluxs_reasons() {
        check(|_| {}, Due::In(Duration::from_secs(200)));
        check(|facts| facts.is_requested = true, Due::Now("reconcile requested"));
        check(|facts| facts.canonical_name = "registry/b", Due::Now("new image name"));
        check(|facts| facts.exclusions = &[], Due::Now("updated exclusion list"));
        check(|facts| facts.has_tags = false, Due::Now(NO_TAGS));
        check(|facts| facts.is_listed = false, Due::Now("first scan since the start"));
        check_status(&ImageRepositoryStatus::default(), |_| {}, Due::Now("first scan"));
    }

    #[test]
    fn the_interval_ends_a_second_early_and_ignores_a_clock_set_back() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        check(|facts| facts.now = at(1299), Due::In(Duration::from_secs(1)));
        check(|facts| facts.now = at(1300), Due::Now("triggered by interval"));
        check(|facts| facts.now = at(9999), Due::Now("triggered by interval"));
        check(|facts| facts.now = at(900), Due::Now("triggered by interval"));
    }

    /// Flux scans a repository without any tag at every reconcile; an empty list is an answer too.
    #[test]
    fn an_empty_repository_is_scanned_by_its_interval() {
        let mut status = scanned();
        if let Some(last) = &mut status.last_scan_result {
            last.tag_count = 0;
        }
        check_status(&status, |f| f.has_tags = false, Due::In(Duration::from_secs(200)));
    }
}
