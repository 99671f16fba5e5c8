//! Reads what servers say about themselves and their references.

use std::collections::HashMap;

use gix::ObjectId;

use crate::{
    error::RemoteError,
    limits::Limits,
    pkt::{self, Packet},
    reference::{RefName, RemoteRef},
};

/// What a server offers when asked for a service.
#[derive(Clone, Debug)]
pub enum Advertisement {
    /// Protocol 2: capabilities only; references are asked for.
    V2(Capabilities),
    /// Protocols 0 and 1: all references at once.
    V0 {
        /// Capabilities, of the first line.
        capabilities: Capabilities,
        /// All references.
        refs: Vec<RemoteRef>,
    },
}

/// Capabilities by name, with their value where they have one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(HashMap<String, String>);

impl Capabilities {
    /// Returns whether the server can do this.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns whether a capability's value lists this word.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.split(' ').any(|listed| listed == word))
    }

    fn parse<'a>(items: impl Iterator<Item = &'a str>) -> Capabilities {
        let pair = |item: &str| match item.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (item.to_owned(), String::new()),
        };
        Capabilities(items.filter(|item| !item.is_empty()).map(pair).collect())
    }

    fn check(self) -> Result<Capabilities, RemoteError> {
        match self.0.get("object-format") {
            Some(format) if format != "sha1" => {
                Err(RemoteError::Protocol("its objects have ids other than SHA-1"))
            }
            _ => Ok(self),
        }
    }
}

/// Returns what a reply to `info/refs?service=…` says.
pub fn parse_advertisement(
    reply: &[u8],
    service: &str,
    limits: &Limits,
) -> Result<Advertisement, RemoteError> {
    let packets = pkt::decode_all(reply)?;
    let mut lines = packets.iter();
    let Some(Packet::Data(first)) = lines.next() else { return Err(RemoteError::NotGit) };
    if pkt::line(first) != format!("# service={service}").as_bytes() {
        // Protocol 2 may leave the service line out.
        lines = packets.iter();
    } else if lines.next() != Some(&Packet::Flush) {
        return Err(RemoteError::NotGit);
    }
    let mut lines = lines.map_while(|packet| match packet {
        Packet::Data(data) => Some(pkt::line(data)),
        Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => None,
    });
    let mut line = lines.next();
    if line == Some(b"version 1") {
        line = lines.next();
    }
    if line == Some(b"version 2") {
        let items = lines.filter_map(|line| std::str::from_utf8(line).ok());
        return Ok(Advertisement::V2(Capabilities::parse(items).check()?));
    }
    parse_refs(line.into_iter().chain(lines), limits)
}

/// Returns the references and capabilities of protocols 0 and 1.
fn parse_refs<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<Advertisement, RemoteError> {
    let mut capabilities = Capabilities::default();
    let mut refs: Vec<RemoteRef> = Vec::new();
    for (number, line) in lines.enumerate() {
        if line.starts_with(b"ERR ") {
            return Err(RemoteError::Server(server_text(&line[4..])));
        }
        let (line, rest) = match line.iter().position(|byte| *byte == 0) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        if number == 0 {
            let text = String::from_utf8_lossy(rest);
            capabilities = Capabilities::parse(text.split(' ')).check()?;
        }
        if line.starts_with(b"shallow ") {
            continue;
        }
        let (id, name) = parse_ref_line(line)?;
        if let Some(tag) = name.strip_suffix("^{}") {
            if let Some(last) = refs.last_mut().filter(|last| last.name.as_str() == tag) {
                last.peeled = Some(id);
            }
        } else if let Ok(name) = name.parse::<RefName>() {
            push_ref(&mut refs, RemoteRef { name, id, peeled: None }, limits)?;
        }
    }
    Ok(Advertisement::V0 { capabilities, refs })
}

/// Returns the references of an `ls-refs` reply.
pub fn parse_ls_refs(reply: &[u8], limits: &Limits) -> Result<Vec<RemoteRef>, RemoteError> {
    let mut refs = Vec::new();
    for packet in pkt::decode_all(reply)? {
        let Packet::Data(data) = packet else { break };
        let line = pkt::line(&data);
        if line.starts_with(b"ERR ") {
            return Err(RemoteError::Server(server_text(&line[4..])));
        }
        if line.starts_with(b"unborn ") {
            continue;
        }
        let (id, rest) = parse_ref_line(line)?;
        let mut words = rest.split(' ');
        // `HEAD`, and names that no reference of ours can have, are of no interest.
        let Some(Ok(name)) = words.next().map(str::parse::<RefName>) else { continue };
        let peeled = words.find_map(|word| word.strip_prefix("peeled:")).map(parse_id);
        push_ref(&mut refs, RemoteRef { name, id, peeled: peeled.transpose()? }, limits)?;
    }
    Ok(refs)
}

fn push_ref(
    refs: &mut Vec<RemoteRef>,
    found: RemoteRef,
    limits: &Limits,
) -> Result<(), RemoteError> {
    refs.push(found);
    if refs.len() > limits.refs {
        return Err(RemoteError::Limit { what: "references", limit: limits.refs as u64 });
    }
    Ok(())
}

fn parse_ref_line(line: &[u8]) -> Result<(ObjectId, &str), RemoteError> {
    let broken = RemoteError::Protocol("a line that names no reference");
    let Ok(line) = std::str::from_utf8(line) else {
        // Not a name of ours; the id is not looked at.
        return Ok((ObjectId::null(gix::hash::Kind::Sha1), ""));
    };
    let Some((id, name)) = line.split_once(' ') else { return Err(broken) };
    Ok((parse_id(id)?, name))
}

pub(crate) fn parse_id(text: &str) -> Result<ObjectId, RemoteError> {
    match ObjectId::from_hex(text.as_bytes()) {
        Ok(id) if text.len() == 40 => Ok(id),
        _ => Err(RemoteError::Protocol("an id that is not 40 hexadecimal digits")),
    }
}

/// What a server said about a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether it could take the objects, or why not.
    pub unpacked: Result<(), String>,
    /// Each reference with what became of it.
    pub refs: Vec<(String, Result<(), String>)>,
}

/// Returns what a `report-status` or `report-status-v2` says.
pub fn parse_report(report: &[u8]) -> Result<Report, RemoteError> {
    let mut unpacked = None;
    let mut refs = Vec::new();
    for packet in pkt::decode_all(report)? {
        let Packet::Data(data) = packet else { break };
        let line = server_text(pkt::line(&data));
        match line.split_once(' ') {
            Some(("unpack", "ok")) => unpacked = Some(Ok(())),
            Some(("unpack", reason)) => unpacked = Some(Err(reason.to_owned())),
            Some(("ok", name)) => refs.push((name.to_owned(), Ok(()))),
            Some(("ng", rest)) => {
                let (name, reason) = rest.split_once(' ').unwrap_or((rest, "rejected"));
                refs.push((name.to_owned(), Err(reason.to_owned())));
            }
            // How a hook renamed the reference before: what was asked for is what we report.
            Some(("option", _)) => {}
            Some(_) | None => return Err(RemoteError::Protocol("an unknown line in its report")),
        }
    }
    let Some(unpacked) = unpacked else {
        return Err(RemoteError::Protocol("a report that says nothing about the objects"));
    };
    Ok(Report { unpacked, refs })
}

/// Longest text of a server that is passed on.
const SERVER_TEXT_MAX: usize = 1_000;

/// Returns a server's words on one line, without control characters, shortened.
pub(crate) fn server_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().take(SERVER_TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    #[test]
    fn version_2_gives_capabilities() {
        check(
            &[
                "# service=git-upload-pack\n",
                "",
                "version 2\n",
                "ls-refs=unborn\n",
                "fetch=shallow filter\n",
                "",
            ],
            expect!["v2 fetch=shallow filter,ls-refs=unborn"],
        );
    }

    #[test]
    fn version_0_gives_references_with_what_tags_point_to() {
        let lines = [
            "# service=git-upload-pack\n".to_owned(),
            String::new(),
            format!("{A} HEAD\0multi_ack side-band-64k agent=git/2\n"),
            format!("{A} refs/heads/main\n"),
            format!("{B} refs/tags/v1\n"),
            format!("{A} refs/tags/v1^{{}}\n"),
            String::new(),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        check(
            &lines,
            expect![[r#"
            v0 agent=git/2,multi_ack=,side-band-64k=
            refs/heads/main 1111111 -
            refs/tags/v1 2222222 1111111"#]],
        );
    }

    #[test]
    fn an_empty_repository_has_no_references() {
        let line = format!("{} capabilities^{{}}\0report-status\n", "0".repeat(40));
        check(&["# service=git-upload-pack\n", "", &line, ""], expect!["v0 report-status="]);
    }

    #[test]
    fn other_pages_are_not_git() {
        check(
            &["<html>"],
            expect!["error: the server broke Git's protocol: a line that names no reference"],
        );
        check(
            &["# service=git-upload-pack\n", "", "ERR go\u{1b}[31m away\n"],
            expect!["error: the server says: go [31m away"],
        );
        check(
            &["# service=git-upload-pack\n", "", "version 2\n", "object-format=sha256\n", ""],
            expect![
                "error: the server broke Git's protocol: its objects have ids other than SHA-1"
            ],
        );
    }

    #[test]
    fn reports_are_read() {
        check_report(
            &[
                "unpack ok\n",
                "ok refs/heads/a\n",
                "option refname refs/for/a\n",
                "ng refs/heads/b hook declined\n",
                "",
            ],
            expect!["unpack ok; ok refs/heads/a; ng refs/heads/b hook declined"],
        );
        check_report(&["unpack index-pack failed\n", ""], expect!["unpack index-pack failed"]);
        check_report(
            &["ok refs/heads/a\n", ""],
            expect![
                "error: the server broke Git's protocol: a report that says nothing about the objects"
            ],
        );
        check_report(
            &["hello\n"],
            expect!["error: the server broke Git's protocol: an unknown line in its report"],
        );
    }

    fn frame(lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            match *line {
                "" => pkt::write_flush(&mut out),
                line => pkt::write(&mut out, line.as_bytes()),
            }
        }
        out
    }

    #[track_caller]
    fn check(lines: &[&str], expected: Expect) {
        let sorted = |capabilities: &Capabilities| {
            let mut items: Vec<String> =
                capabilities.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
            items.sort();
            items.join(",")
        };
        let short = |id: &ObjectId| id.to_string()[..7].to_owned();
        let actual = match parse_advertisement(&frame(lines), "git-upload-pack", &Limits::default())
        {
            Ok(Advertisement::V2(capabilities)) => format!("v2 {}", sorted(&capabilities)),
            Ok(Advertisement::V0 { capabilities, refs }) => {
                let mut text = format!("v0 {}", sorted(&capabilities));
                for r in refs {
                    let peeled = r.peeled.as_ref().map_or("-".to_owned(), short);
                    text += &format!("\n{} {} {peeled}", r.name, short(&r.id));
                }
                text
            }
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&actual);
    }

    #[track_caller]
    fn check_report(lines: &[&str], expected: Expect) {
        let actual = match parse_report(&frame(lines)) {
            Ok(report) => {
                let mut text =
                    format!("unpack {}", report.unpacked.err().unwrap_or("ok".to_owned()));
                for (name, outcome) in report.refs {
                    text += &match outcome {
                        Ok(()) => format!("; ok {name}"),
                        Err(reason) => format!("; ng {name} {reason}"),
                    };
                }
                text
            }
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&actual);
    }
}
