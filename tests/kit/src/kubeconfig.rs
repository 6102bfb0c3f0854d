//! The kubeconfig that the adapter writes in standalone mode.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::Failure;

/// What it says. All but the URL is PEM.
#[derive(Debug)]
pub struct Kubeconfig {
    /// The server's URL.
    pub server: String,
    /// Who signed the server's certificate.
    pub authority: Vec<u8>,
    /// The client's certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

impl Kubeconfig {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that is not such a kubeconfig.
    pub fn read(path: &Path) -> Result<Kubeconfig, Failure> {
        let config: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let text = |pointer: &str| {
            let value = config.pointer(pointer).and_then(Value::as_str);
            value.ok_or_else(|| format!("{}: nothing at {pointer}", path.display()))
        };
        let data = |pointer: &str| -> Result<Vec<u8>, Failure> { Ok(STANDARD.decode(text(pointer)?)?) };
        Ok(Kubeconfig {
            server: text("/clusters/0/cluster/server")?.to_owned(),
            authority: data("/clusters/0/cluster/certificate-authority-data")?,
            certificate: data("/users/0/user/client-certificate-data")?,
            key: data("/users/0/user/client-key-data")?,
        })
    }
}
