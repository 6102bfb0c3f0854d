//! A small certificate authority: for the self-signed serving certificate, the certificates of standalone mode, and the
//! authority that a cluster's replicas share.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// An authority that signs certificates.
pub struct Authority {
    certificate: String,
    /// PEM, PKCS#8.
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// PEM, PKCS#8.
    pub key: String,
}

/// Why a certificate could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A client certificate was to hold more groups than it can.
    #[error("expected one group at most in a client certificate made here, found {0}")]
    Groups(usize),
    /// A file could not be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        cause: std::io::Error,
    },
}

impl Authority {
    /// A new authority. `name` is its common name.
    ///
    /// # Errors
    /// When no key could be made.
    pub fn new(name: &str) -> Result<Authority, AuthorityError> {
        let mut params = params(name)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Authority { certificate, key: key.serialize_pem(), issuer: Issuer::new(params, key) })
    }

    /// An authority that was made before.
    ///
    /// # Errors
    /// Texts that are not a certificate and its key.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Authority, AuthorityError> {
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Authority { certificate: certificate.to_owned(), key: key.to_owned(), issuer })
    }

    /// Its key, PEM. Its holder is the authority.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A serving certificate for names and addresses.
    ///
    /// # Errors
    /// A name that no certificate can hold.
    pub fn issue_server(
        &self,
        name: &str,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<Issued, AuthorityError> {
        let mut params = params(name)?;
        for name in names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A client certificate: `user` is who it stands for, `groups` what they belong to; one at most.
    ///
    /// # Errors
    /// When no key could be made, or there is more than one group.
    pub fn issue_client(&self, user: &str, groups: &[&str]) -> Result<Issued, AuthorityError> {
        let mut params = params(user)?;
        match groups {
            [] => {}
            [group] => params.distinguished_name.push(DnType::OrganizationName, *group),
            // A name of rcgen's holds each kind of attribute once, the last of them.
            _ => return Err(AuthorityError::Groups(groups.len())),
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued, AuthorityError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

/// Whether a certificate has lived two thirds of its life, or cannot be read: time for another.
pub fn renewal_due(certificate: &str, now: SystemTime) -> bool {
    let due = || {
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).ok()?;
        let parsed = pem.parse_x509().ok()?;
        let validity = parsed.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Some(from + (to - from) / 3 * 2)
    };
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    due().is_none_or(|due| i64::try_from(now).unwrap_or(i64::MAX) >= due)
}

/// Writes a serving certificate, followed by the authority that signed it, and its key. The names are
/// `localhost` and the given ones, the addresses `127.0.0.1` and the given ones (upstream
/// `k8s.io/client-go/util/cert`; D21 adds the names).
pub(crate) fn write_self_signed(
    certificate: &Path,
    key: &Path,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<(), AuthorityError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let authority = Authority::new(&format!("localhost-ca@{now}"))?;
    let names: Vec<String> = std::iter::once("localhost".to_owned()).chain(names.iter().cloned()).collect();
    let addresses: Vec<IpAddr> =
        std::iter::once(IpAddr::V4(Ipv4Addr::LOCALHOST)).chain(addresses.iter().copied()).collect();
    let issued = authority.issue_server(&format!("localhost@{now}"), &names, &addresses)?;
    write(certificate, &format!("{}{}", issued.certificate, authority.certificate()), 0o644)?;
    write(key, &issued.key, 0o600)
}

/// Writes a file with given permissions, its directory too if it is missing. The file appears whole or not at all.
///
/// # Errors
/// What the operating system refuses.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), AuthorityError> {
    let failed = |cause| AuthorityError::Write { path: path.to_owned(), cause };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}

fn params(name: &str) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    // An hour back: clocks differ.
    params.not_before = (now - Duration::from_hours(1)).into();
    params.not_after = (now + VALIDITY).into();
    Ok(params)
}

const VALIDITY: Duration = Duration::from_hours(365 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_taken_up_again() {
        let made = Authority::new("test-ca").expect("an authority");
        let read = Authority::from_pem(made.certificate(), made.key()).expect("the same authority");
        let issued =
            read.issue_server("adapter", &["adapter.ns.svc".to_owned()], &[]).expect("a certificate");
        let authorities = crate::authn::Authorities::from_pem(made.certificate().as_bytes());
        assert!(authorities.is_ok() && issued.certificate != made.certificate());
        assert!(Authority::from_pem("x", made.key()).is_err());
    }

    #[test]
    fn groups_are_not_dropped() {
        let authority = Authority::new("test-ca").expect("an authority");
        assert!(authority.issue_client("a", &["g"]).is_ok());
        let error = authority.issue_client("a", &["g", "h"]).expect_err("two groups").to_string();
        assert_eq!(error, "expected one group at most in a client certificate made here, found 2");
    }

    #[test]
    fn renewal_is_due_after_two_thirds() {
        let certificate = Authority::new("test-ca").expect("an authority").certificate().to_owned();
        let now = SystemTime::now();
        assert!(!renewal_due(&certificate, now + VALIDITY / 3));
        assert!(renewal_due(&certificate, now + VALIDITY / 3 * 2));
        assert!(renewal_due("no certificate", now));
    }
}
