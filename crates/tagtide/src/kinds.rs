//! The table of kinds as the command line shows them: names for people, columns, what a success is.

use std::borrow::Cow;

use api::Kind;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

/// Kinds that are listed together, in the order of their tables.
pub(crate) const IMAGES: [Kind; 3] =
    [Kind::ImageRepository, Kind::ImagePolicy, Kind::ImageUpdateAutomation];

/// The sources, in the order of their tables.
pub(crate) const SOURCES: [Kind; 1] = [Kind::GitRepository];

/// Characters of a digest that are shown.
const SHORT_DIGEST: usize = 8;
/// Fewest and most hexadecimal digits of a digest: SHA-1 to SHA-512.
const DIGEST_LENGTHS: std::ops::RangeInclusive<usize> = 40..=128;

/// Returns what a kind is called in sentences.
pub(crate) fn human(kind: Kind) -> &'static str {
    match kind {
        Kind::GitRepository => "source git",
        Kind::ImageRepository => "image repository",
        Kind::ImagePolicy => "image policy",
        Kind::ImageUpdateAutomation => "image update automation",
    }
}

/// Returns the names of the columns.
pub(crate) fn header(kind: Kind) -> [&'static str; 5] {
    match kind {
        Kind::GitRepository => ["Name", "Revision", "Suspended", "Ready", "Message"],
        Kind::ImageRepository => ["Name", "Last scan", "Suspended", "Ready", "Message"],
        Kind::ImagePolicy => ["Name", "Image", "Tag", "Ready", "Message"],
        Kind::ImageUpdateAutomation => ["Name", "Last run", "Suspended", "Ready", "Message"],
    }
}

/// Returns the cells behind an object's name.
pub(crate) fn cells(kind: Kind, object: &Value) -> [String; 4] {
    let status = &object["status"];
    let suspended = if is_suspended(object) { "True" } else { "False" }.to_owned();
    let (ready, message) = readiness(object);
    match kind {
        Kind::GitRepository => {
            let revision = text(&status["artifact"]["revision"]);
            [shortened(revision), suspended, ready, shortened(&message)]
        }
        Kind::ImageRepository => {
            [local_time(&status["lastScanResult"]["scanTime"]), suspended, ready, message]
        }
        Kind::ImagePolicy => {
            let latest = &status["latestRef"];
            [text(&latest["name"]).to_owned(), text(&latest["tag"]).to_owned(), ready, message]
        }
        Kind::ImageUpdateAutomation => {
            [local_time(&status["lastAutomationRunTime"]), suspended, ready, message]
        }
    }
}

/// Returns what is told of an object that was reconciled.
pub(crate) fn success(kind: Kind, object: &Value) -> String {
    let status = &object["status"];
    match kind {
        Kind::GitRepository => match status["artifact"]["revision"].as_str() {
            Some(revision) => format!("fetched revision {revision}"),
            None => readiness(object).1,
        },
        Kind::ImageRepository => {
            let n_tags = status["lastScanResult"]["tagCount"].as_i64().unwrap_or(0);
            format!("scan fetched {n_tags} tags")
        }
        Kind::ImagePolicy => format!("selected ref {}", reference(&status["latestRef"])),
        Kind::ImageUpdateAutomation => match cluster::kstatus::condition(object, "Ready") {
            Some(ready) => text(&ready["message"]).to_owned(),
            None if status["lastAutomationRunTime"].is_string() => {
                format!("last run {}", local_time(&status["lastAutomationRunTime"]))
            }
            None => "automation not yet run".to_owned(),
        },
    }
}

/// Returns whether an object rests.
pub(crate) fn is_suspended(object: &Value) -> bool {
    object["spec"]["suspend"] == true
}

/// Returns whether a condition of this type, in any case, has this status, in any case.
pub(crate) fn has_status(object: &Value, type_: &str, status: &str) -> bool {
    let is_named = |condition: &&Value| text(&condition["type"]).eq_ignore_ascii_case(type_);
    let found = cluster::kstatus::conditions(object).filter(is_named).last();
    found.is_some_and(|condition| text(&condition["status"]).eq_ignore_ascii_case(status))
}

fn readiness(object: &Value) -> (String, String) {
    match cluster::kstatus::condition(object, "Ready") {
        Some(ready) => (text(&ready["status"]).to_owned(), text(&ready["message"]).to_owned()),
        None => ("False".to_owned(), "waiting to be reconciled".to_owned()),
    }
}

fn reference(latest: &Value) -> String {
    let tag = latest["tag"].as_str().filter(|tag| !tag.is_empty());
    let digest = latest["digest"].as_str().filter(|digest| !digest.is_empty());
    let tag = tag.map_or(Cow::from(""), |tag| format!(":{tag}").into());
    let digest = digest.map_or(Cow::from(""), |digest| format!("@{digest}").into());
    format!("{}{tag}{digest}", text(&latest["name"]))
}

/// Returns a time in the zone of this machine, as RFC 3339; empty if there is none.
fn local_time(value: &Value) -> String {
    let Ok(time) = text(value).parse::<Timestamp>() else { return String::new() };
    let time = time.to_zoned(TimeZone::system());
    let zone = if time.offset().is_zero() { "Z" } else { "%:z" };
    time.strftime(&format!("%Y-%m-%dT%H:%M:%S{zone}")).to_string()
}

/// Returns the text with every digest in it cut to its first characters.
fn shortened(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut short = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word.max(rest.chars().next().map_or(0, char::len_utf8)));
        let is_digest = DIGEST_LENGTHS.contains(&word.len())
            && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        short += if is_digest { &word[..SHORT_DIGEST] } else { word };
        rest = after;
    }
    short
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_shortened_and_nothing_else() {
        let sha1 = "3c673a55a4517eeb6db63f5cceb3afe15cb0b236";
        assert_eq!(shortened(&format!("main@sha1:{sha1}")), "main@sha1:3c673a55");
        assert_eq!(shortened(&format!("'{sha1}' é {sha1}.")), "'3c673a55' é 3c673a55.");
        assert_eq!(shortened(&format!("x{sha1}")), format!("x{sha1}"));
        assert_eq!(shortened("3c673a55"), "3c673a55");
    }
}
