//! Hosts: names, addresses in brackets, ports.

use super::Reason;
use super::escape::{Part, unescape};

/// Reads host and port.
pub(super) fn parse(scheme: &[u8], text: &[u8]) -> Result<Vec<u8>, Reason> {
    match memchr::memrchr(b'[', text) {
        Some(0) => return bracketed(text),
        Some(_) => return Err(Reason::IpLiteral),
        None => {}
    }
    // The web's schemes allow one colon only.
    let colon = match scheme {
        b"http" | b"https" => memchr::memchr(b':', text),
        _ => memchr::memrchr(b':', text),
    };
    let port = colon.map_or(&b""[..], |colon| &text[colon..]);
    if !is_optional_port(port) {
        return Err(Reason::Port(port.to_vec()));
    }
    unescape(text, Part::Host)
}

/// Returns whether the text is empty, or a colon with digits or none.
pub(super) fn is_optional_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Reads an IPv6 address in brackets.
fn bracketed(text: &[u8]) -> Result<Vec<u8>, Reason> {
    let end = memchr::memrchr(b']', text).ok_or(Reason::Bracket)?;
    let (address, port) = (&text[1..end], &text[end + 1..]);
    if !is_optional_port(port) {
        return Err(Reason::Port(port.to_vec()));
    }
    let zone = memchr::memmem::find(address, b"%25").unwrap_or(address.len());
    let (address, zone) = address.split_at(zone);
    let mut address = unescape(address, Part::Host)?;
    address.extend(unescape(zone, Part::Zone)?);
    check_address(&address)?;
    Ok([b"[", &address[..], b"]", port].concat())
}

fn check_address(text: &[u8]) -> Result<(), Reason> {
    let fail = |reason| Err(Reason::Address { text: text.to_vec(), reason });
    let (address, zone) = super::cut(text, b'%');
    match text.iter().find(|byte| matches!(byte, b'.' | b':' | b'%')) {
        Some(b':') if zone.is_some_and(<[u8]>::is_empty) => {
            return fail("zone must be a non-empty string");
        }
        Some(b'%') => return fail("missing IPv6 address"),
        Some(_) => {}
        None => return fail("unable to parse IP"),
    }
    let Ok(address) = std::str::from_utf8(address) else { return fail("unable to parse IP") };
    if zone.is_none() && address.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err(Reason::IpLiteral);
    }
    match address.parse::<std::net::Ipv6Addr>() {
        Ok(_) => Ok(()),
        Err(_) => fail("unable to parse IP"),
    }
}
