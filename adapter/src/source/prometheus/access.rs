//! What gives access to Prometheus: whose certificates are believed, and what proves who is asking.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serve::files::{self, LARGEST_CREDENTIAL};

use super::proxy::Proxy;

/// What gives access to Prometheus. Files are named here and read where they are used.
#[derive(Clone)]
pub(super) struct Access {
    /// Whose certificates are believed.
    pub(super) trust: Trust,
    /// The name in Prometheus' certificate, where it is not the host's.
    pub(super) server_name: Option<String>,
    /// Client certificate and key, PEM.
    pub(super) identity: Option<(Material, Material)>,
    /// The proxy for every request, whatever the environment says.
    pub(super) proxy: Option<Proxy>,
    /// Sent with every request, besides the credential.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Credentials, the one in use first.
    pub(super) credentials: Vec<Credential>,
    /// What the operator should know.
    pub(super) notices: Vec<String>,
}

/// Whose certificates are believed.
#[derive(Clone)]
pub(super) enum Trust {
    /// Those of the authorities that the machine knows.
    System,
    /// Those of the authorities in a PEM bundle, and the bundle's own.
    Authorities(Material),
    /// All.
    Anyone,
}

/// Something to prove oneself with in the `Authorization` header.
#[derive(Clone)]
pub(super) struct Credential {
    /// What messages call it.
    pub(super) name: String,
    kind: CredentialKind,
}

#[derive(Clone)]
enum CredentialKind {
    Header(HeaderValue),
    Token(Material),
}

/// Bytes from a file or from a kubeconfig.
#[derive(Clone)]
pub(super) struct Material {
    /// What messages call it.
    pub(super) name: String,
    content: Content,
}

#[derive(Clone)]
enum Content {
    File(PathBuf),
    /// The bytes stand in while there is no such file.
    FileOr(PathBuf, Vec<u8>),
    Inline(Vec<u8>),
}

/// Why a credential or a certificate cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    /// The file cannot be read, or is too large.
    #[error("cannot read {place}")]
    Read {
        /// The flag or field and the file.
        place: String,
        #[source]
        cause: std::io::Error,
    },
    /// The file does not hold a token.
    #[error("expected a token in {place}, found {found}")]
    NotAToken {
        /// The flag or field and the file.
        place: String,
        found: &'static str,
    },
}

impl Access {
    /// No credentials, and the system's authorities.
    pub(super) fn none() -> Access {
        Access {
            trust: Trust::System,
            server_name: None,
            identity: None,
            proxy: None,
            headers: Vec::new(),
            credentials: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// The flags or fields and the files that TLS depends on.
    pub(super) fn tls_place(&self) -> String {
        let authorities = match &self.trust {
            Trust::Authorities(material) => Some(material),
            Trust::System | Trust::Anyone => None,
        };
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        authorities.into_iter().chain(identity).map(Material::place).collect::<Vec<_>>().join(", ")
    }
}

impl Credential {
    /// The value of a header.
    pub(super) fn header(name: &str, mut value: HeaderValue) -> Credential {
        value.set_sensitive(true);
        Credential { name: name.to_owned(), kind: CredentialKind::Header(value) }
    }

    /// A user's name and password.
    pub(super) fn basic(name: &str, user: &str, password: &str) -> Credential {
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        // Base64 is made of characters that a header can hold.
        let value = HeaderValue::try_from(value).expect("Base64 in a header");
        Credential::header(name, value)
    }

    /// A bearer token.
    pub(super) fn token(name: &str, from: Material) -> Credential {
        Credential { name: name.to_owned(), kind: CredentialKind::Token(from) }
    }

    /// The flag or field and the file that it is read from; its name if there is no file.
    pub(super) fn place(&self) -> String {
        match &self.kind {
            CredentialKind::Header(_) => self.name.clone(),
            CredentialKind::Token(from) => from.place(),
        }
    }

    /// The value of the `Authorization` header; a file is read.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else than a token.
    pub(super) fn authorization(&self) -> Result<HeaderValue, AccessError> {
        let from = match &self.kind {
            CredentialKind::Header(value) => return Ok(value.clone()),
            CredentialKind::Token(from) => from,
        };
        let unusable = |found| AccessError::NotAToken { place: from.place(), found };
        let text = String::from_utf8(from.read()?).map_err(|_| unusable("bytes that are not text"))?;
        // A trailing newline would make an invalid header.
        let token = text.trim();
        if token.is_empty() {
            return Err(unusable("nothing"));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| unusable("characters that a header cannot hold"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Material {
    /// A file, and the flag or field that names it.
    pub(super) fn file(name: impl Into<String>, path: &Path) -> Material {
        Material { name: name.into(), content: Content::File(path.to_owned()) }
    }

    /// A file, and bytes that stand in while it does not exist.
    pub(super) fn file_or(name: impl Into<String>, path: &Path, bytes: Vec<u8>) -> Material {
        Material { name: name.into(), content: Content::FileOr(path.to_owned(), bytes) }
    }

    /// Bytes that are there already, and the field that holds them.
    pub(super) fn inline(name: impl Into<String>, bytes: Vec<u8>) -> Material {
        Material { name: name.into(), content: Content::Inline(bytes) }
    }

    /// The same, as a part of something.
    pub(super) fn of(self, whole: &str) -> Material {
        Material { name: format!("{} of {whole}", self.name), ..self }
    }

    /// The flag or field, and the file if there is one.
    pub(super) fn place(&self) -> String {
        match &self.content {
            Content::File(path) | Content::FileOr(path, _) => format!("{} ({})", self.name, path.display()),
            Content::Inline(_) => self.name.clone(),
        }
    }

    /// The bytes as they are now.
    ///
    /// # Errors
    /// A file that cannot be read or is too large.
    pub(super) fn read(&self) -> Result<Vec<u8>, AccessError> {
        match &self.content {
            Content::FileOr(path, bytes) if !path.is_file() => Ok(bytes.clone()),
            Content::File(path) | Content::FileOr(path, _) => {
                read(path).map_err(|cause| AccessError::Read { place: self.place(), cause })
            }
            Content::Inline(bytes) => Ok(bytes.clone()),
        }
    }
}

/// A file of a size that certificates and tokens have.
pub(super) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    files::read(path, LARGEST_CREDENTIAL)
}
