//! Who the served API is: an authority of its own, a certificate and a token, kept between starts.

use std::io::{ErrorKind, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use net::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What clients trust for as long as their kubeconfig lives.
const AUTHORITY_DAYS: i64 = 3650;
/// A certificate that leaks is of use for no longer.
const SERVER_DAYS: i64 = 90;
/// What has less time left is made anew.
const REMAINING_DAYS_MIN: i64 = 30;
/// Bytes of a token: as many as nobody guesses.
const TOKEN_BYTES: usize = 32;
/// The file is a few kilobytes; a longer one is not ours.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The names under which a machine reaches itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The identity of a served API.
pub(crate) struct Pki {
    path: PathBuf,
    kept: Kept,
}

/// The file: written at once, so that its parts always belong together.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    authority: Certified,
    server: Certified,
    /// The names that the server's certificate is for.
    names: Vec<String>,
    token: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Certified {
    certificate: String,
    key: String,
    expires: Date,
}

impl Pki {
    /// Opens the identity in `folder` for a server at `address`, or makes one.
    ///
    /// A damaged file is moved aside; what it was replaced with comes as a notice.
    pub(crate) fn open(
        folder: &Path,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<(Self, Option<String>)> {
        make_private_folder(folder)?;
        let path = folder.join("identity.json");
        let (kept, notice) = match read(&path) {
            Ok(kept) => (kept, None),
            Err(error) => {
                let aside = folder.join("identity.json.damaged");
                std::fs::rename(&path, &aside)
                    .with_context(|| format!("cannot move {} aside", path.display()))?;
                let notice = format!(
                    "{} is damaged ({error:#}) and kept as {}; the authority and the token are new",
                    path.display(),
                    aside.display()
                );
                (None, Some(notice))
            }
        };
        let names = names_of(address);
        let fresh = fresh(kept.as_ref(), &names, today(now))?;
        let pki = Self { path, kept: fresh };
        if kept.as_ref() != Some(&pki.kept) {
            pki.write()?;
        }
        Ok((pki, notice))
    }

    /// Makes anew what expires soon; returns whether anything did.
    pub(crate) fn renew(&mut self, now: Timestamp) -> Result<bool> {
        let fresh = fresh(Some(&self.kept), &self.kept.names, today(now))?;
        if fresh == self.kept {
            return Ok(false);
        }
        self.kept = fresh;
        self.write()?;
        Ok(true)
    }

    /// Returns what clients must send.
    pub(crate) fn token(&self) -> Secret<String> {
        Secret::new(self.kept.token.clone())
    }

    /// Returns what nobody guesses in the addresses of artifacts, which tells nothing of the token.
    pub(crate) fn artifacts_key(&self) -> String {
        let hash = Sha256::digest(format!("artifacts of {}", self.kept.token));
        hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the certificate and key to serve with.
    pub(crate) fn certified_key(&self) -> Result<Arc<CertifiedKey>> {
        let certificate = CertificateDer::from_pem_slice(self.kept.server.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.kept.server.key.as_bytes());
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(vec![certificate?], key?, &provider)?;
        Ok(Arc::new(certified))
    }

    /// Writes the kubeconfig that reaches this API at `server`, readable by its owner only.
    pub(crate) fn write_kubeconfig(&self, path: &Path, server: &str) -> Result<()> {
        let authority = STANDARD.encode(&self.kept.authority.certificate);
        let token = &self.kept.token;
        let text = format!(
            "apiVersion: v1
kind: Config
clusters:
- name: tagtide
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: tagtide
  user:
    token: {token}
contexts:
- name: tagtide
  context:
    cluster: tagtide
    user: tagtide
current-context: tagtide
"
        );
        write_private(path, text.as_bytes())
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.kept)?;
        write_private(&self.path, &text)
    }
}

/// Reads the file, `None` if there is none; its keys must fit its certificates.
fn read(path: &Path) -> Result<Option<Kept>> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if length > FILE_BYTES_MAX {
        bail!("it has {length} bytes");
    }
    let kept: Kept = serde_json::from_slice(&std::fs::read(path)?)?;
    let pki = Pki { path: path.to_owned(), kept };
    pki.certified_key()?.keys_match()?;
    KeyPair::from_pem(&pki.kept.authority.key)?;
    if pki.kept.token.is_empty() {
        bail!("it has no token");
    }
    Ok(Some(pki.kept))
}

/// Returns what is kept, with everything made anew that is missing, expires soon or has other names.
fn fresh(kept: Option<&Kept>, names: &[String], today: Date) -> Result<Kept> {
    let token = match kept {
        Some(kept) => kept.token.clone(),
        None => new_token()?,
    };
    let lasts = |certified: &&Certified| is_lasting(certified.expires, today);
    let old_authority = kept.map(|kept| &kept.authority).filter(lasts);
    let old_server = kept.filter(|kept| kept.names == names).map(|kept| &kept.server).filter(lasts);
    let (authority, server) = match (old_authority, old_server) {
        (Some(authority), Some(server)) => (authority.clone(), server.clone()),
        (Some(authority), None) => (authority.clone(), issue(authority, names, today)?),
        (None, _) => {
            let authority = new_authority(kept.map(|kept| &kept.authority), today)?;
            let server = issue(&authority, names, today)?;
            (authority, server)
        }
    };
    Ok(Kept { authority, server, names: names.to_vec(), token })
}

fn is_lasting(expires: Date, today: Date) -> bool {
    today.checked_add(REMAINING_DAYS_MIN.days()).is_ok_and(|soon| expires > soon)
}

/// Returns an authority that lasts. It has the key of the one before: who trusts that one trusts what
/// this one issues.
fn new_authority(before: Option<&Certified>, today: Date) -> Result<Certified> {
    let key = match before {
        Some(before) => KeyPair::from_pem(&before.key)?,
        None => KeyPair::generate()?,
    };
    let (mut params, expires) = (authority_params(), after(today, AUTHORITY_DAYS)?);
    validity(&mut params, today, expires)?;
    let certificate = params.self_signed(&key)?;
    Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem(), expires })
}

fn issue(authority: &Certified, names: &[String], today: Date) -> Result<Certified> {
    let issuer = Issuer::new(authority_params(), KeyPair::from_pem(&authority.key)?);
    let expires = after(today, SERVER_DAYS)?.min(authority.expires);
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "tagtide");
    params.use_authority_key_identifier_extension = true;
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    validity(&mut params, today, expires)?;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem(), expires })
}

/// An authority is known by its name and key: with both, one made later issues for the first.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "tagtide authority");
    params.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
    params
}

/// A clock that is a few hours behind must not find the certificate too young.
fn validity(params: &mut CertificateParams, today: Date, expires: Date) -> Result<()> {
    let rcgen_date = |date: Date| {
        let (month, day) = (u8::try_from(date.month()), u8::try_from(date.day()));
        month.and_then(|month| Ok(rcgen::date_time_ymd(date.year().into(), month, day?)))
    };
    params.not_before = rcgen_date(today.yesterday()?)?;
    params.not_after = rcgen_date(expires)?;
    Ok(())
}

fn after(today: Date, days: i64) -> Result<Date> {
    Ok(today.checked_add(days.days())?)
}

fn today(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

fn names_of(address: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = LOOPBACK.iter().map(|&name| name.to_owned()).collect();
    let own = address.to_string();
    if !address.is_unspecified() && !names.contains(&own) {
        names.push(own);
    }
    names
}

fn new_token() -> Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| anyhow!("the system has no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn make_private_folder(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make folder {}", folder.display()))
}

/// Replaces a file at once; nobody but its owner may read it at any time.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let say = || format!("cannot write {}", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    // Such files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(say)?;
    file.write_all(bytes).with_context(say)?;
    file.as_file().sync_all().with_context(say)?;
    file.persist(path).with_context(say)?;
    tracing::trace!(target: "durable", step = "identity kept", "Durable step");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path, address: &str, now: &str) -> (Kept, Option<String>) {
        let address = address.parse().expect("an address");
        let now = now.parse().expect("a time");
        let (pki, notice) = Pki::open(folder, address, now).expect("an identity");
        (pki.kept, notice)
    }

    #[test]
    fn an_identity_outlives_restarts_and_is_renewed_before_it_expires() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, _) = open(folder.path(), "127.0.0.1", "2026-01-01T00:00:00Z");
        let (second, _) = open(folder.path(), "127.0.0.1", "2026-02-01T00:00:00Z");
        assert!(second == first, "nothing is due yet");
        let (third, _) = open(folder.path(), "127.0.0.1", "2026-03-15T00:00:00Z");
        assert!(third.authority == first.authority && third.token == first.token);
        assert!(third.server != first.server, "the certificate ends in April");
        let (fourth, _) = open(folder.path(), "192.0.2.1", "2026-03-15T00:00:00Z");
        assert!(fourth.authority == first.authority && fourth.server != third.server);
        assert!(fourth.names.contains(&"192.0.2.1".to_owned()));
        let (fifth, _) = open(folder.path(), "192.0.2.1", "2035-12-15T00:00:00Z");
        assert!(fifth.authority != first.authority && fifth.token == first.token);
    }

    #[test]
    fn files_are_private_and_a_damaged_one_is_moved_aside() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("pki");
        let (first, _) = open(&folder, "127.0.0.1", "2026-01-01T00:00:00Z");
        let path = folder.join("identity.json");
        let mode = |path: &Path| {
            std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
        };
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));
        let text = std::fs::read_to_string(&path).expect("a file");
        std::fs::write(&path, &text[..text.len() / 2]).expect("a damaged file");
        let (second, notice) = open(&folder, "127.0.0.1", "2026-01-01T00:00:00Z");
        assert!(second.token != first.token);
        assert!(notice.expect("it is told").contains("is damaged"));
        assert!(folder.join("identity.json.damaged").exists());
    }
}
