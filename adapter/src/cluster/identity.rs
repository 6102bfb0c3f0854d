//! The serving certificate of a cluster without cert-manager: an authority of our own in a Secret, which all replicas
//! share; a certificate that each of them signs with it for itself; and the authority published as `caBundle` of our
//! APIServices.
//!
//! The aggregator can then verify us, and `insecureSkipTLSVerify` is never needed: an APIService with it, such as one
//! made for prometheus-adapter, loses it, since the API refuses the two together. APIServices are watched: one that is
//! replaced has lost its bundle. Only those of groups that the rules serve are looked at, so that an account needs
//! permissions for no others. The authority is renewed after two thirds of its life; for as long as it lives on, the
//! old one is published beside the new one, since replicas follow one by one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiservice::authority::{Authority, AuthorityError, renewal_due};
use apiservice::health::CheckHandle;
use apiservice::tls::{ServingCertificate, TlsError};
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{ObjectMeta, PartialObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use rules::RuleSet;
use serde_json::json;
use serve::error_chain;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::discovery_documents;
use crate::log_throttle::LogThrottle;

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
    #[error("the Kubernetes API refused the request")]
    Kubernetes(#[from] kube::Error),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What became of one look at the APIServices.
#[derive(Default)]
struct Kept {
    /// One had to be changed.
    patched: bool,
    /// APIServices that the account may not read or change, and how the API said so.
    forbidden: Vec<(String, String)>,
}

/// When an APIService may be patched again: where others change it back again and again, ever later, up to the
/// interval.
struct Patches {
    last: Instant,
    pause: Duration,
}

impl Default for Patches {
    fn default() -> Patches {
        Patches { last: Instant::now(), pause: Duration::ZERO }
    }
}

impl Patches {
    fn done(&mut self, now: Instant) {
        let repeated = !self.pause.is_zero() && now - self.last < 2 * INTERVAL;
        self.pause = if repeated { (self.pause * 2).min(INTERVAL) } else { FIRST_RETRY };
        self.last = now;
    }

    fn next(&self) -> Instant {
        self.last + self.pause
    }
}

/// The names of a Service, by which the aggregator and people call it.
pub fn service_names(namespace: &str, service: &str) -> Vec<String> {
    vec![service.to_owned(), format!("{service}.{namespace}"), format!("{service}.{namespace}.svc")]
}

impl Identity {
    /// A certificate to start with, valid for connections but signed by an unknown authority.
    ///
    /// # Errors
    /// No key could be made.
    pub fn provisional(&self) -> Result<Arc<ServingCertificate>, TlsError> {
        let authority = Authority::new("provisional-ca")?;
        let issued = authority.issue_server(&self.service, &self.names(), &[])?;
        ServingCertificate::issued(&issued.certificate, &issued.key)
    }

    /// Keeps the authority, the certificate and the APIServices in order, until the program ends. `published` passes
    /// with the first success: from then on the aggregator can verify us.
    pub async fn follow(
        self,
        client: kube::Client,
        certificate: Arc<ServingCertificate>,
        published: CheckHandle,
        mut rules: watch::Receiver<Arc<RuleSet>>,
    ) {
        let mut names = discovery_documents::api_services(&rules.borrow_and_update());
        let mut changes = api_service_changes(&client, &names);
        let (mut signed_by, mut was_published) = (String::new(), false);
        let (mut retry, mut patches) = (FIRST_RETRY, Patches::default());
        let throttle = LogThrottle::new(LOG_FAILURE_EVERY);
        loop {
            let (pause, wakes) = match self.keep(&client, &certificate, &names, &mut signed_by).await {
                Ok(Kept { patched, forbidden }) => {
                    was_published = true;
                    retry = FIRST_RETRY;
                    if forbidden.is_empty() {
                        published.pass();
                    } else {
                        for (name, answer) in forbidden.iter().filter(|one| throttle.is_due(one)) {
                            tracing::warn!(
                                apiservice = name,
                                answer,
                                "cannot publish the serving CA in the APIService; kube-apiserver will not trust this server \
                                 for its group; grant get, list, watch and patch on it"
                            );
                        }
                        let names: Vec<&str> = forbidden.iter().map(|(name, _)| name.as_str()).collect();
                        published
                            .pass_with(format!("cannot get or patch the APIService {}", names.join(", ")));
                    }
                    if patched {
                        patches.done(Instant::now());
                    }
                    (INTERVAL, true)
                }
                Err(error) => {
                    tracing::warn!(
                        error = %error_chain(&error),
                        secret = %self.secret,
                        "cannot reconcile the serving CA secret and the APIServices; retrying"
                    );
                    if !was_published {
                        published.fail(error.to_string());
                    }
                    retry = (retry * 2).min(INTERVAL);
                    (retry, false)
                }
            };
            let sleep = tokio::time::sleep(pause);
            tokio::pin!(sleep);
            if wakes {
                tokio::select! {
                    () = &mut sleep => {}
                    Some(()) = changes.next() => tokio::time::sleep_until(patches.next()).await,
                    Ok(()) = rules.changed() => {}
                }
            } else {
                sleep.await;
            }
            let served = discovery_documents::api_services(&rules.borrow_and_update());
            if served != names {
                names = served;
                changes = api_service_changes(&client, &names);
            }
            // What changed until now is looked at together.
            while changes.next().now_or_never().flatten().is_some() {}
        }
    }

    async fn keep(
        &self,
        client: &kube::Client,
        certificate: &ServingCertificate,
        names: &[&str],
        signed_by: &mut String,
    ) -> Result<Kept, IdentityError> {
        let (authority, bundle) = self.authority(client).await?;
        // Published first: a certificate must not be shown before those who verify it know its authority.
        let mut kept = Kept::default();
        let (mut reached, mut failed, mut refused) = (false, None, None);
        for name in names {
            match self.publish(client, name, &bundle).await {
                Ok(patched) => {
                    reached = true;
                    kept.patched |= patched;
                }
                Err(kube::Error::Api(status)) if status.code == 403 => {
                    kept.forbidden.push(((*name).to_owned(), status.message.clone()));
                    refused = Some(kube::Error::Api(status));
                }
                // The others are none the worse for it.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed.or(refused.filter(|_| !reached)) {
            return Err(error.into());
        }
        if *signed_by != authority.certificate() {
            let issued = authority.issue_server(&self.service, &self.names(), &[])?;
            certificate
                .replace(&format!("{}{}", issued.certificate, authority.certificate()), &issued.key)?;
            authority.certificate().clone_into(signed_by);
            tracing::info!(secret = %self.secret, "serving with a certificate of the shared CA");
        }
        Ok(kept)
    }

    /// The authority of the Secret and what to publish; made or renewed if need be. Another replica may do the same:
    /// who comes second gets a conflict and takes the other's.
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
            // Shipped empty: an account that may create Secrets can have a token of any account of the namespace made.
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
        tracing::info!(secret = %self.secret, "serving CA created");
        Ok((authority, bundle))
    }

    /// Writes the authority into an APIService that is there and names our Service. Whether that changed it.
    async fn publish(&self, client: &kube::Client, name: &str, bundle: &str) -> Result<bool, kube::Error> {
        let services: Api<APIService> = Api::all(client.clone());
        let Some(spec) = services.get_opt(name).await?.and_then(|service| service.spec) else {
            return Ok(false);
        };
        let ours = spec.service.is_some_and(|service| {
            service.namespace.as_deref() == Some(&self.namespace)
                && service.name.as_deref() == Some(&self.service)
        });
        let published = spec.ca_bundle.is_some_and(|published| published.0 == bundle.as_bytes())
            && spec.insecure_skip_tls_verify != Some(true);
        if !ours || published {
            return Ok(false);
        }
        // Both in one: the API refuses a bundle beside a skip.
        let patch = json!({"spec": {
            "caBundle": ByteString(bundle.as_bytes().to_vec()),
            "insecureSkipTLSVerify": null,
        }});
        services.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        tracing::info!(apiservice = name, "serving CA published");
        Ok(true)
    }

    fn names(&self) -> Vec<String> {
        service_names(&self.namespace, &self.service)
    }
}

/// Tells when one of our APIServices was made, replaced or changed. A watch for each name: an account that may list and
/// watch objects by their names may do so one at a time, by the field selector.
fn api_service_changes(
    client: &kube::Client,
    names: &[&'static str],
) -> impl Stream<Item = ()> + Unpin + use<> {
    let watches = names.iter().map(|&name| {
        let services: Api<PartialObjectMeta<APIService>> = Api::all(client.clone());
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let throttle = LogThrottle::new(LOG_FAILURE_EVERY);
        let changes = watcher(services, config).default_backoff().filter_map(move |event| {
            let changed = match event {
                Ok(Event::InitApply(_) | Event::Apply(_)) => Some(()),
                Ok(Event::Init | Event::InitDone | Event::Delete(_)) => None,
                Err(error) => {
                    if throttle.is_due(error.to_string()) {
                        tracing::warn!(
                            error = %error_chain(&error),
                            apiservice = name,
                            "cannot watch the APIService; polling it every {INTERVAL:?} instead; grant list and watch on it"
                        );
                    }
                    None
                }
            };
            std::future::ready(changed)
        });
        changes.boxed()
    });
    stream::select_all(watches)
}

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const BUNDLE: &str = "ca-bundle.crt";
/// Between two looks, where nothing has changed: the Secret is not watched.
const INTERVAL: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// How often the same failure of a watch is logged.
const LOG_FAILURE_EVERY: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_over_an_apiservice_slows_down() {
        let mut patches = Patches::default();
        let start = Instant::now();
        assert!(patches.next() <= start, "the first change is answered without a pause");
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            patches.done(now);
            pauses.push((patches.next() - now).as_millis());
            // Somebody undoes it in the same moment.
            now = patches.next();
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        patches.done(now + Duration::from_mins(2));
        assert_eq!(patches.pause, FIRST_RETRY);
    }
}
