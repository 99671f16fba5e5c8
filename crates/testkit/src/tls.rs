//! A certificate authority for loopback, with one server and one client certificate.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// A certificate and its key, both as PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, without its issuer.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// Whether a server asks its clients for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Clients need none.
    #[default]
    Ignored,
    /// A client without a certificate of our authority is turned away.
    Required,
}

/// An authority made for one test and what it signed.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The authority's certificate as PEM: what a client must be given to trust the server.
    pub ca: String,
    /// For `127.0.0.1`, `::1` and `localhost`.
    pub server: Identity,
    /// For a client that must show who it is.
    pub client: Identity,
    /// What the server asks of clients.
    pub client_certificates: ClientCertificates,
}

impl Tls {
    /// Makes a new authority; clients need no certificate.
    pub fn generate() -> Tls {
        let (ca, issuer) = authority();
        Tls {
            ca,
            server: issue(
                &issuer,
                &["127.0.0.1", "::1", "localhost"],
                ExtendedKeyUsagePurpose::ServerAuth,
            ),
            client: issue(&issuer, &["client.test"], ExtendedKeyUsagePurpose::ClientAuth),
            client_certificates: ClientCertificates::Ignored,
        }
    }

    /// Makes a new authority whose server turns away clients without a certificate of it.
    pub fn mutual() -> Tls {
        Tls { client_certificates: ClientCertificates::Required, ..Tls::generate() }
    }

    /// Returns the server side for our own servers.
    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default protocol versions");
        let builder = match self.client_certificates {
            ClientCertificates::Ignored => builder.with_no_client_auth(),
            ClientCertificates::Required => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(certificate(&self.ca)).expect("our authority is a valid root");
                let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                    Arc::new(roots),
                    provider,
                );
                builder.with_client_cert_verifier(verifier.build().expect("the root is given"))
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes())
            .expect("the key was written by us");
        let mut config = builder
            .with_single_cert(vec![certificate(&self.server.certificate)], key)
            .expect("certificate and key were made together");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("the certificate was written by us")
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "testkit authority");
    params.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
    let key = KeyPair::generate().expect("keys can be made");
    let certificate = params.self_signed(&key).expect("the parameters are complete");
    (certificate.pem(), Issuer::new(params, key))
}

fn issue(
    issuer: &Issuer<'static, KeyPair>,
    names: &[&str],
    usage: ExtendedKeyUsagePurpose,
) -> Identity {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are valid");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "testkit");
    params.use_authority_key_identifier_extension = true;
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    params.extended_key_usages.push(usage);
    let key = KeyPair::generate().expect("keys can be made");
    let certificate = params.signed_by(&key, issuer).expect("the issuer is an authority");
    Identity { certificate: certificate.pem(), key: key.serialize_pem() }
}
