//! The metrics API as a client with a kubeconfig sees it: TLS, the authority and the client certificate of the file.

use std::path::Path;

pub use comparison::Answer;
use reqwest::{Certificate, Client, Identity};
use serde_json::Value;
use testkit::kubeconfig::Kubeconfig;

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
    /// A file that is not such a kubeconfig.
    pub fn from_kubeconfig(path: &Path) -> Result<Api, Failure> {
        let Kubeconfig { server, authority, certificate, key } = Kubeconfig::read(path)?;
        Api::new(server, &authority, Some(&[certificate, key].concat()))
    }

    /// A server whose certificate is signed by an authority; the identity is a certificate with its key. All in PEM.
    ///
    /// # Errors
    /// Texts that are not such certificates.
    pub fn new(server: String, authority: &[u8], identity: Option<&[u8]>) -> Result<Api, Failure> {
        let mut builder = Client::builder().tls_certs_only([Certificate::from_pem(authority)?]);
        if let Some(identity) = identity {
            builder = builder.identity(Identity::from_pem(identity)?);
        }
        Ok(Api { client: builder.build()?, server })
    }

    /// The server's URL.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The status and the body of a path.
    ///
    /// # Errors
    /// No answer, or one that is not JSON.
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
        let answer = self.send("GET", path, &[]).await?;
        Ok((answer.code, answer.text()))
    }

    /// What a request is answered.
    ///
    /// # Errors
    /// No answer, or a header that is none.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<Answer, Failure> {
        let mut request = self.client.request(method.parse()?, format!("{}{path}", self.server));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        // What upstream would take for a mistake of another kind has a body that it reads.
        if matches!(method, "POST" | "PUT" | "PATCH") {
            request = request.header("content-type", "application/json").body("{}");
        }
        let response = request.send().await?;
        let code = response.status().as_u16();
        let headers = KEPT_HEADERS.iter().filter_map(|&name| {
            let value = response.headers().get(name)?.to_str().unwrap_or("(not a text)");
            Some((name.to_owned(), value.to_owned()))
        });
        Ok(Answer { code, headers: headers.collect(), body: response.bytes().await?.to_vec() })
    }
}

const KEPT_HEADERS: [&str; 12] = [
    "cache-control",
    "content-type",
    "audit-id",
    "x-content-type-options",
    "www-authenticate",
    "allow",
    "retry-after",
    "content-encoding",
    "etag",
    "vary",
    "warning",
    "location",
];

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
