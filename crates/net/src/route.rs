//! How to reach a host: TLS material, proxy, address policy.

use std::fmt;

use bytes::Bytes;
use url::Url;

use crate::address::AddressPolicy;
use crate::secret::Secret;

/// How to reach a host. Cheap to clone; compared by content, so that requests
/// with equal routes share connections and a rotated certificate gets new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// Whom to trust and who we are.
    pub tls: Tls,
    /// Through whom to go.
    pub proxy: Proxy,
    /// Where connections may lead.
    pub addresses: AddressPolicy,
}

/// Whom to trust and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificates to trust besides the system's.
    pub ca: Option<Pem>,
    /// Our own certificate chain and its private key.
    pub identity: Option<(Pem, Secret<Pem>)>,
}

/// PEM text: certificates or a private key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pem(Bytes);

impl Pem {
    /// Wraps PEM text; [`crate::check_tls`] says whether it can be used.
    pub fn new(text: impl Into<Bytes>) -> Pem {
        Pem(text.into())
    }

    /// Returns the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({} bytes)", self.0.len())
    }
}

/// Through whom to go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Proxy {
    /// What [`crate::Options::proxies`] says.
    #[default]
    Environment,
    /// Straight to the host.
    None,
    /// Through this proxy, for every host.
    Url {
        /// Scheme `http`, `https` or `socks5`. With `socks5` the proxy
        /// resolves names, as in Go.
        url: Url,
        /// User at the proxy.
        username: Option<String>,
        /// The user's password.
        password: Option<Secret<String>>,
    },
}
