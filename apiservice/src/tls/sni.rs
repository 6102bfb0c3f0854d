//! More certificates than one: which is served depends on the name that the client calls (`docs/contract.md#tls`).

use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{CertificateSource, ServingCertificate, TlsError};

/// A certificate for certain names: `crt,key` or `crt,key:pattern,pattern`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCertificate {
    /// The certificate, PEM, followed by its chain.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Names that it is for, in lower case; `*.` in front stands for any one label. Empty means the names in the
    /// certificate.
    pub patterns: Vec<String>,
}

/// Why a text names no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNamedError {
    /// Files are separated from names by a colon, so neither can hold one.
    #[error("{NAMED_FORM}: found more than one colon in {0:?}")]
    Colons(String),
    /// Not two files between a comma.
    #[error("{NAMED_FORM}: found {0:?} where two files belong")]
    Files(String),
    /// One of the files has no name.
    #[error("{NAMED_FORM}: found an empty file name in {0:?}")]
    EmptyFile(String),
    /// A name is not a DNS name, with or without `*.` before it.
    #[error("{NAMED_FORM}: found the name {0:?}")]
    Name(String),
}

impl std::str::FromStr for NamedCertificate {
    type Err = ParseNamedError;

    fn from_str(text: &str) -> Result<NamedCertificate, ParseNamedError> {
        // As Kubernetes splits it: names cannot hold a colon, so neither can the files.
        let mut parts = text.split(':');
        let (files, names) = (parts.next().unwrap_or_default(), parts.next());
        if parts.next().is_some() {
            return Err(ParseNamedError::Colons(text.to_owned()));
        }
        let Some((certificate, key)) = files.split_once(',').filter(|(_, key)| !key.contains(',')) else {
            return Err(ParseNamedError::Files(files.to_owned()));
        };
        if certificate.is_empty() || key.is_empty() {
            return Err(ParseNamedError::EmptyFile(files.to_owned()));
        }
        let patterns: Vec<String> =
            names.map_or_else(Vec::new, |names| names.split(',').map(str::to_lowercase).collect());
        if let Some(wrong) = patterns.iter().find(|pattern| !is_pattern(pattern)) {
            return Err(ParseNamedError::Name(wrong.clone()));
        }
        Ok(NamedCertificate { certificate: certificate.into(), key: key.into(), patterns })
    }
}

/// A DNS name, its first label perhaps `*`.
fn is_pattern(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    !name.is_empty()
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        })
}

/// Certificates by name, and the one for every other name and for clients that call none.
#[derive(Debug)]
pub struct NamedCertificates {
    otherwise: Arc<ServingCertificate>,
    named: Vec<(Vec<String>, Arc<ServingCertificate>)>,
}

impl NamedCertificates {
    /// Reads the certificates.
    ///
    /// # Errors
    /// Files that cannot be read, hold something else or do not belong together.
    pub fn load(
        otherwise: Arc<ServingCertificate>,
        named: &[NamedCertificate],
    ) -> Result<Arc<NamedCertificates>, TlsError> {
        let load = |named: &NamedCertificate| {
            let (certificate, key) = (named.certificate.clone(), named.key.clone());
            let serving = ServingCertificate::load(&CertificateSource::Files { certificate, key })?;
            Ok((named.patterns.clone(), serving))
        };
        let named = named.iter().map(load).collect::<Result<_, TlsError>>()?;
        Ok(Arc::new(NamedCertificates { otherwise, named }))
    }

    /// Every certificate, each to be followed by itself.
    pub fn all(&self) -> impl Iterator<Item = &Arc<ServingCertificate>> {
        std::iter::once(&self.otherwise).chain(self.named.iter().map(|(_, serving)| serving))
    }

    /// The certificate for a name. The name itself beats one with a `*`, and for each of them a given name beats one in
    /// a certificate; among equals the first one given is used.
    fn find(&self, name: &str) -> Option<&Arc<ServingCertificate>> {
        let name = name.trim_end_matches('.').to_lowercase();
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        std::iter::once(name).chain(wildcard).find_map(|name| {
            let given = |(patterns, _): &&(Vec<String>, _)| patterns.contains(&name);
            let inside = |(patterns, serving): &&(Vec<String>, Arc<ServingCertificate>)| {
                patterns.is_empty() && serving.names(&name)
            };
            let named = self.named.iter().find(given).or_else(|| self.named.iter().find(inside));
            named.map(|(_, serving)| serving)
        })
    }
}

impl ResolvesServerCert for NamedCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        Some(named.unwrap_or(&self.otherwise).key())
    }
}

const NAMED_FORM: &str = "expected CERTIFICATE,KEY or CERTIFICATE,KEY:NAME,NAME with names like a.example.org or \
    *.example.org";

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;
    use crate::authority::Authority;

    fn serving(authority: &Authority, names: &[&str]) -> Arc<ServingCertificate> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let issued = authority.issue_server("server", &names, &[]).expect("a certificate");
        ServingCertificate::issued(&issued.certificate, &issued.key).expect("a pair")
    }

    #[test]
    fn the_first_certificate_of_a_name_is_shown() {
        let authority = Authority::new("test-ca").expect("an authority");
        let given = |patterns: &[&str]| patterns.iter().map(|&name| name.to_owned()).collect();
        let otherwise = serving(&authority, &["c.example.org"]);
        let named = vec![
            (given(&[]), serving(&authority, &["a.example.org", "*.example.org", "B.Example.org"])),
            (given(&["a.example.org", "*.given.org"]), serving(&authority, &["x"])),
            (given(&["*.example.org"]), serving(&authority, &["c.example.org"])),
            (given(&[]), serving(&authority, &["a.example.org", "later.org"])),
            (given(&["a.example.org"]), serving(&authority, &["y"])),
        ];
        let all = NamedCertificates { otherwise, named };
        let rows = [
            ("a.example.org", Some(1)),
            ("A.EXAMPLE.org.", Some(1)),
            ("b.example.org", Some(0)),
            ("z.example.org", Some(2)),
            // Only given names of its own count for a certificate that has any.
            ("c.example.org", Some(2)),
            ("later.org", Some(3)),
            ("q.given.org", Some(1)),
            // A `*` stands for one label.
            ("q.q.given.org", None),
            ("given.org", None),
            ("elsewhere.net", None),
            ("localhost", None),
        ];
        each_row(rows, |(name, expected)| {
            let found = all.find(name);
            let position = found.map(|found| {
                all.named.iter().position(|(_, serving)| Arc::ptr_eq(serving, found)).expect("one of them")
            });
            assert_eq!(position, expected, "{name}");
        });
        assert_eq!(all.all().count(), 6);
    }

    #[test]
    fn a_flag_holds_files_and_names() {
        let parse = |text: &str| text.parse::<NamedCertificate>();
        let named = parse("/tls/a.crt,/tls/a.key:A.example.org,*.b.org").expect("names");
        assert_eq!(
            (named.certificate.to_str(), named.key.to_str()),
            (Some("/tls/a.crt"), Some("/tls/a.key"))
        );
        assert_eq!(named.patterns, ["a.example.org", "*.b.org"]);
        assert!(parse("a.crt,a.key").expect("no names").patterns.is_empty());
        let rows = [
            ("a.crt", "found \"a.crt\" where two files belong"),
            ("a,b,c", "where two files belong"),
            (",b", "an empty file name"),
            ("a,b:c:d", "more than one colon"),
            ("a,b:", "found the name \"\""),
            ("a,b:*", "found the name \"*\""),
            ("a,b:x..y", "found the name \"x..y\""),
        ];
        each_row(rows, |(text, part)| {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with("expected CERTIFICATE,KEY") && error.contains(part), "{error}");
        });
    }
}
