//! The serving certificate of a cluster without cert-manager: an authority of our own in a Secret, which all replicas share;
//! a certificate that each of them signs with it for itself; and the authority published as `caBundle` of our APIServices.
//!
//! So the aggregator can verify us, and `insecureSkipTLSVerify` is never needed. The authority is renewed after two thirds
//! of its life; for as long as it lives on, the old one is published beside the new one, since replicas follow one by one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiservice::authority::{Authority, AuthorityError, renewal_due};
use apiservice::health::CheckHandle;
use apiservice::tls::{ServingCertificate, TlsError};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

/// Where the authority is kept and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The namespace of the Secret and of the Service.
    pub namespace: String,
    /// The Service that the APIServices name.
    pub service: String,
    /// The Secret that holds the authority.
    pub secret: String,
}

/// Why an attempt failed; another follows.
#[derive(Debug, thiserror::Error)]
enum IdentityError {
    #[error("the Kubernetes API refused: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The names of a Service, by which the aggregator and people call it.
pub fn service_names(namespace: &str, service: &str) -> Vec<String> {
    vec![service.to_owned(), format!("{service}.{namespace}"), format!("{service}.{namespace}.svc")]
}

impl Identity {
    /// A certificate to start with, good for connections but signed by an authority that nobody knows.
    ///
    /// # Errors
    /// No key could be made.
    pub fn provisional(&self) -> Result<Arc<ServingCertificate>, TlsError> {
        let authority = Authority::new("provisional-ca")?;
        let issued = authority.issue_server(&self.service, &self.names(), &[])?;
        ServingCertificate::issued(&issued.certificate, &issued.key)
    }

    /// Keeps the authority, the certificate and the APIServices in order, for ever. `published` passes with the first
    /// success: from then on the aggregator can verify us.
    pub async fn follow(
        self,
        client: kube::Client,
        certificate: Arc<ServingCertificate>,
        published: CheckHandle,
    ) {
        let mut signed_by = String::new();
        let mut retry = FIRST_RETRY;
        loop {
            let pause = match self.keep(&client, &certificate, &mut signed_by).await {
                Ok(()) => {
                    published.pass();
                    retry = FIRST_RETRY;
                    INTERVAL
                }
                Err(error) => {
                    tracing::warn!(%error, secret = %self.secret, "the serving authority cannot be kept in order");
                    retry = (retry * 2).min(INTERVAL);
                    retry
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn keep(
        &self,
        client: &kube::Client,
        certificate: &ServingCertificate,
        signed_by: &mut String,
    ) -> Result<(), IdentityError> {
        let (authority, bundle) = self.authority(client).await?;
        // Published first: a certificate must not be shown before those who verify it know its authority.
        for name in API_SERVICES {
            self.publish(client, name, &bundle).await?;
        }
        if *signed_by != authority.certificate() {
            let issued = authority.issue_server(&self.service, &self.names(), &[])?;
            certificate
                .replace(&format!("{}{}", issued.certificate, authority.certificate()), &issued.key)?;
            authority.certificate().clone_into(signed_by);
            tracing::info!(secret = %self.secret, "serving with a certificate of the shared authority");
        }
        Ok(())
    }

    /// The authority of the Secret and what to publish; made or renewed if need be. Another replica may do the same: who
    /// comes second gets a conflict and takes the other's.
    async fn authority(&self, client: &kube::Client) -> Result<(Authority, String), IdentityError> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &self.namespace);
        let held = secrets.get_opt(&self.secret).await?;
        let text = |key: &str| {
            let data = held.as_ref().and_then(|secret| secret.data.as_ref());
            data.and_then(|data| data.get(key)).map(|value| String::from_utf8_lossy(&value.0).into_owned())
        };
        let (certificate, bundle) = (text(CERTIFICATE).unwrap_or_default(), text(BUNDLE).unwrap_or_default());
        if !renewal_due(&certificate, SystemTime::now())
            && let Ok(authority) = Authority::from_pem(&certificate, &text(KEY).unwrap_or_default())
        {
            return Ok((authority, bundle));
        }
        let authority = Authority::new(&format!("{}-ca", self.service))?;
        let bundle = format!("{}{certificate}", authority.certificate());
        let data: BTreeMap<String, ByteString> =
            [(CERTIFICATE, authority.certificate()), (KEY, authority.key()), (BUNDLE, &bundle)]
                .map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
                .into();
        let meta = ObjectMeta { name: Some(self.secret.clone()), ..ObjectMeta::default() };
        match held {
            None => {
                let secret = Secret { metadata: meta, data: Some(data), ..Secret::default() };
                secrets.create(&PostParams::default(), &secret).await?;
            }
            Some(mut secret) => {
                // The version that was read goes with it, so a change in between is a conflict.
                secret.data = Some(data);
                secrets.replace(&self.secret, &PostParams::default(), &secret).await?;
            }
        }
        tracing::info!(secret = %self.secret, "a serving authority was made");
        Ok((authority, bundle))
    }

    /// Writes the authority into an APIService that is there and names our Service.
    async fn publish(&self, client: &kube::Client, name: &str, bundle: &str) -> Result<(), IdentityError> {
        let services: Api<APIService> = Api::all(client.clone());
        let Some(spec) = services.get_opt(name).await?.and_then(|service| service.spec) else {
            return Ok(());
        };
        let ours = spec.service.is_some_and(|service| {
            service.namespace.as_deref() == Some(&self.namespace)
                && service.name.as_deref() == Some(&self.service)
        });
        let published = spec.ca_bundle.is_some_and(|published| published.0 == bundle.as_bytes());
        if ours && !published {
            let patch = json!({"spec": {"caBundle": ByteString(bundle.as_bytes().to_vec())}});
            services.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            tracing::info!(apiservice = name, "the serving authority was published");
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        service_names(&self.namespace, &self.service)
    }
}

/// Version and group of what we may serve.
const API_SERVICES: [&str; 4] = [
    "v1beta1.custom.metrics.k8s.io",
    "v1beta2.custom.metrics.k8s.io",
    "v1beta1.external.metrics.k8s.io",
    "v1beta1.metrics.k8s.io",
];
const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const BUNDLE: &str = "ca-bundle.crt";
/// Between two looks: an APIService that was applied anew has lost its bundle.
const INTERVAL: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(250);
