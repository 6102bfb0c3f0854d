//! The metrics API as a client with a kubeconfig sees it: TLS, the authority and the client certificate of the file.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Certificate, Client, Identity};
use serde_json::Value;

use crate::Failure;

/// A client of the API.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    server: String,
}

impl Api {
    /// Reads a kubeconfig as standalone mode writes it.
    ///
    /// # Errors
    /// A file that is no such kubeconfig.
    pub fn from_kubeconfig(path: &Path) -> Result<Api, Failure> {
        let config: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let text = |pointer: &str| -> Result<String, Failure> {
            let value = config.pointer(pointer).and_then(Value::as_str);
            value.map(str::to_owned).ok_or_else(|| format!("{}: nothing at {pointer}", path.display()).into())
        };
        let data = |pointer: &str| -> Result<Vec<u8>, Failure> { Ok(STANDARD.decode(text(pointer)?)?) };
        let mut identity = data("/users/0/user/client-certificate-data")?;
        identity.extend(data("/users/0/user/client-key-data")?);
        let client = Client::builder()
            .tls_certs_only([Certificate::from_pem(&data(
                "/clusters/0/cluster/certificate-authority-data",
            )?)?])
            .identity(Identity::from_pem(&identity)?)
            .build()?;
        Ok(Api { client, server: text("/clusters/0/cluster/server")? })
    }

    /// The status and the body of a path.
    ///
    /// # Errors
    /// No answer, or one that is no JSON.
    pub async fn get(&self, path: &str) -> Result<(u16, Value), Failure> {
        let (code, body) = self.text(path).await?;
        let value = serde_json::from_str(&body).map_err(|error| format!("{path}: {error}: {body}"))?;
        Ok((code, value))
    }

    /// The status and the text of a path.
    ///
    /// # Errors
    /// No answer.
    pub async fn text(&self, path: &str) -> Result<(u16, String), Failure> {
        let response = self.client.get(format!("{}{path}", self.server)).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }
}

/// Names of the objects of a `MetricValueList` and their values in plain numbers.
///
/// # Errors
/// Anything else.
pub fn values(list: &Value) -> Result<Vec<(String, f64)>, Failure> {
    let items = list["items"].as_array().ok_or_else(|| format!("no list: {list}"))?;
    items
        .iter()
        .map(|item| {
            let name = item["describedObject"]["name"].as_str().ok_or("no name")?;
            let value = item["value"].as_str().ok_or("no value")?;
            Ok((name.to_owned(), apiservice::quantity::Quantity::parse(value)?.as_f64()))
        })
        .collect()
}
