//! From a route's PEM texts to a TLS configuration.

use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::ErrorKind;
use crate::route::{Pem, Tls};

/// Most certificates accepted in one PEM text; the system's own bundle has
/// about 150.
const CERTIFICATES_MAX: usize = 1_000;

/// Says whether a route's certificates and key can be used.
///
/// # Errors
/// A sentence that names what is wrong, without any key material.
pub fn check_tls(tls: &Tls) -> Result<(), String> {
    match configuration(tls) {
        Ok(_) => Ok(()),
        Err(ErrorKind::TlsConfig(reason)) => Err(reason),
        Err(other) => Err(other.to_string()),
    }
}

/// Returns the TLS configuration: the system's roots and the added ones.
pub(crate) fn configuration(tls: &Tls) -> Result<ClientConfig, ErrorKind> {
    let mut roots = system_roots().clone();
    if let Some(ca) = &tls.ca {
        add_roots(&mut roots, ca)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ErrorKind::TlsConfig(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(certificates(chain)?, private_key(key.expose())?)
            .map_err(|error| ErrorKind::TlsConfig(format!("client certificate: {error}")))?,
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Returns the system's roots, read once: they are a file of 200 KB.
///
/// A machine without any has an empty list; certificates are then verified
/// against added ones alone.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "Cannot read some of the system's certificates");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        roots
    })
}

fn add_roots(roots: &mut RootCertStore, ca: &Pem) -> Result<(), ErrorKind> {
    for certificate in certificates(ca)? {
        roots
            .add(certificate)
            .map_err(|error| ErrorKind::TlsConfig(format!("CA certificate: {error}")))?;
    }
    Ok(())
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, ErrorKind> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .take(CERTIFICATES_MAX)
        .collect::<Result<_, _>>()
        .map_err(|_| ErrorKind::TlsConfig("malformed PEM certificate".to_owned()))?;
    if found.is_empty() {
        return Err(ErrorKind::TlsConfig("no certificate found in the PEM text".to_owned()));
    }
    Ok(found)
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, ErrorKind> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| ErrorKind::TlsConfig("no private key found in the PEM text".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn unusable_material_is_named_and_not_shown() {
        let check =
            |tls: Tls, expected: &str| assert_eq!(check_tls(&tls), Err(expected.to_owned()));
        let ca = |text: &'static str| Tls { ca: Some(Pem::new(text)), identity: None };
        check(ca(""), "no certificate found in the PEM text");
        check(ca("canary"), "no certificate found in the PEM text");
        check(
            ca("-----BEGIN CERTIFICATE-----\n!canary!\n-----END CERTIFICATE-----\n"),
            "malformed PEM certificate",
        );
        check(
            ca("-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n"),
            "CA certificate: invalid peer certificate: BadEncoding",
        );
        let identity = Some((
            Pem::new("-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n"),
            Secret::new(Pem::new("canary")),
        ));
        check(Tls { ca: None, identity }, "no private key found in the PEM text");
        assert_eq!(check_tls(&Tls::default()), Ok(()));
    }
}
