//! Which addresses may be connected to.
//!
//! The host that an object's spec names may live anywhere a user's server may
//! live: on the internet, in a private network, on this machine. A host that a
//! *server* names (a redirect, a token realm) must be at least as public as the
//! server that named it, or a public server could send us into the private
//! network around us. Link-local addresses, where cloud metadata services
//! live, are never connected to unless the operator allows them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::error::ErrorKind;
use crate::origin::is_loopback_host;

/// How near an address is to this machine; nearer is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// Reachable from the whole internet.
    Public,
    /// In a private network (RFC 1918, shared or unique local space).
    Private,
    /// This machine.
    Loopback,
    /// Link-local, unspecified, multicast and metadata services: never a
    /// registry or a Git server.
    Forbidden,
}

/// Which addresses a [`crate::Route`] may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressPolicy {
    nearest: Reach,
}

impl Default for AddressPolicy {
    /// Returns the policy for a host that an object's spec names: everything
    /// but forbidden addresses.
    fn default() -> AddressPolicy {
        AddressPolicy { nearest: Reach::Loopback }
    }
}

impl AddressPolicy {
    /// Returns the policy for a host that was named by a server found at
    /// `reach`: addresses no nearer than that.
    pub fn named_by(reach: Reach) -> AddressPolicy {
        AddressPolicy { nearest: reach.min(Reach::Loopback) }
    }

    /// Returns the stricter of both policies.
    pub(crate) fn and(self, other: AddressPolicy) -> AddressPolicy {
        AddressPolicy { nearest: self.nearest.min(other.nearest) }
    }

    /// Says whether the address may be connected to. `allowed` are the
    /// operator's networks.
    pub(crate) fn permits(self, address: IpAddr, allowed: &[IpNet]) -> bool {
        let address = embedded(address);
        reach_of(address) <= self.nearest
            || allowed.iter().any(|network| network.contains(&address))
    }

    /// Checks a host that is an address itself; names are checked when they
    /// are resolved.
    pub(crate) fn check_literal(self, url: &Url, allowed: &[IpNet]) -> Result<(), ErrorKind> {
        match literal(url) {
            Some(address) if !self.permits(address, allowed) => {
                Err(ErrorKind::Address { host: address.to_string() })
            }
            _ => Ok(()),
        }
    }
}

/// Returns the reach of an address, looking through addresses that embed an
/// IPv4 address in IPv6.
pub(crate) fn reach_of(address: IpAddr) -> Reach {
    match embedded(address) {
        IpAddr::V4(address) => reach_of_v4(address),
        IpAddr::V6(address) => reach_of_v6(address),
    }
}

/// Returns what a URL alone says about the reach of its host: a name could be
/// anywhere and counts as public.
pub(crate) fn reach_of_url(url: &Url) -> Reach {
    match literal(url) {
        Some(address) => reach_of(address),
        None if url.host_str().is_some_and(is_loopback_host) => Reach::Loopback,
        None => Reach::Public,
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

/// Returns the IPv4 address inside an IPv4-mapped, IPv4-compatible, NAT64 or
/// 6to4 address, else the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

fn reach_of_v4(address: Ipv4Addr) -> Reach {
    let o = address.octets();
    // Metadata services outside 169.254.0.0/16: Alibaba's and Azure's.
    let metadata = matches!(o, [100, 100, 100, 200] | [168, 63, 129, 16]);
    if o[0] == 0 || address.is_link_local() || o[0] >= 224 || metadata {
        Reach::Forbidden
    } else if address.is_loopback() {
        Reach::Loopback
    } else if address.is_private()
        || (o[0] == 100 && (64..128).contains(&o[1]))
        || is_reserved_v4(o)
    {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// Networks that the internet does not route: protocol assignments, test
/// networks and benchmarking.
fn is_reserved_v4(octets: [u8; 4]) -> bool {
    matches!(octets, [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _])
}

fn reach_of_v6(address: Ipv6Addr) -> Reach {
    let s = address.segments();
    // AWS's metadata service inside unique local space.
    let metadata = s == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
    if address.is_unspecified() || (s[0] & 0xffc0) == 0xfe80 || address.is_multicast() || metadata {
        Reach::Forbidden
    } else if address.is_loopback() {
        Reach::Loopback
    } else if (s[0] & 0xe000) == 0x2000 && !matches!(s, [0x2001, 0xdb8, ..]) {
        Reach::Public
    } else {
        Reach::Private
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_reach() {
        use Reach::{Forbidden, Loopback, Private, Public};
        let table = [
            (
                Public,
                "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.32.0.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808",
            ),
            (
                Private,
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 192.0.2.1 198.18.0.1 fc00::1 fd12::1 fec0::1 2001:db8::1 ::ffff:10.0.0.1 2002:a00:1::1",
            ),
            (Loopback, "127.0.0.1 127.255.0.1 ::1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1"),
            (
                Forbidden,
                "0.0.0.0 0.1.2.3 169.254.169.254 169.254.0.1 224.0.0.1 255.255.255.255 100.100.100.200 168.63.129.16 :: fe80::1 febf::1 ff02::1 fd00:ec2::254 ::ffff:169.254.169.254 ::169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::",
            ),
        ];
        for (reach, addresses) in table {
            for address in addresses.split(' ') {
                assert_eq!(reach_of(address.parse().expect("an address")), reach, "{address}");
            }
        }
    }

    #[test]
    fn a_server_may_not_send_us_nearer_than_itself() {
        let check = |from: Reach, to: &str, expected: bool| {
            let policy = AddressPolicy::named_by(from);
            assert_eq!(
                policy.permits(to.parse().expect("an address"), &[]),
                expected,
                "{from:?} {to}"
            );
        };
        check(Reach::Public, "8.8.8.8", true);
        check(Reach::Public, "10.0.0.1", false);
        check(Reach::Public, "127.0.0.1", false);
        check(Reach::Private, "10.9.9.9", true);
        check(Reach::Private, "127.0.0.1", false);
        check(Reach::Loopback, "127.0.0.1", true);
        check(Reach::Forbidden, "169.254.169.254", false);
    }

    #[test]
    fn an_operator_may_allow_a_network() {
        let allowed = ["169.254.7.0/24".parse().expect("a network")];
        let policy = AddressPolicy::default();
        assert!(policy.permits("169.254.7.1".parse().expect("an address"), &allowed));
        assert!(policy.permits("::ffff:169.254.7.1".parse().expect("an address"), &allowed));
        assert!(!policy.permits("169.254.8.1".parse().expect("an address"), &allowed));
    }

    #[test]
    fn addresses_in_urls_are_seen_in_every_spelling() {
        let refused = |url: &str| {
            let url = Url::parse(url).expect("a valid URL");
            AddressPolicy::default().check_literal(&url, &[]).is_err()
        };
        for host in [
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[::ffff:a9fe:a9fe]",
            "[fe80::1]",
        ] {
            assert!(refused(&format!("http://{host}/latest")), "{host}");
        }
        assert!(!refused("http://10.0.0.1/v2/"));
        assert!(!refused("http://metadata.example/v2/"));
    }
}
