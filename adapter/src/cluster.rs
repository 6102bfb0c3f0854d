//! Serving in a cluster: who calls and what they may is the cluster's to say, and the objects are the cluster's.
//!
//! Nothing here waits for the Kubernetes API at start: the server is alive immediately and ready when it knows enough
//! (D31).

mod config;
pub mod identity;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apiservice::authn::{
    Authenticator, AuthoritiesHandle, ClientCertificates, ClusterAuthentication, FrontProxy,
    FrontProxyHandle, TokenReviews, follow_authorities, warn_if_clients_are_proxies,
};
use apiservice::authz::AccessReviews;
use apiservice::health::{CheckHandle, Health, Scope};
use apiservice::review::{ReviewLimits, ReviewStats};
use apiservice::tls::ServingCertificate;
use futures_util::FutureExt as _;
use kube::config::KubeConfigOptions;
use rules::RuleSet;
use rules::resource::Kind;
use serve::{FileName, FileStats};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use self::config::{
    AuthenticationConfig, AuthorizationConfig, ClusterConfig, FrontProxyConfig, ServingConfig,
};
use crate::host::{Host, HostError};
use crate::kubeconfig;
use crate::objects::mapping::RestMapping;
use crate::objects::watched::{State, WatchedObjects};
use crate::tasks::Tasks;

/// Connects to a cluster: starts what follows it, its objects on the runtime `watching`, and returns what the server
/// needs of it. Files are looked at every `poll`.
///
/// # Errors
/// Files that cannot be used. An API that does not answer is not an error.
pub async fn connect(
    config: ClusterConfig,
    watching: Handle,
    poll: Duration,
    rules: &watch::Receiver<Arc<RuleSet>>,
    health: &Health,
    tasks: &mut Tasks,
) -> Result<Host, HostError> {
    let lister = client(config.lister_kubeconfig.as_ref()).await?;

    let mapping = Arc::new(RestMapping::default());
    let mapped = health.check("rest-mapping", Scope::Ready);
    let (kinds_changed, mut first_kinds) = (mapping.changes(), mapping.changes());
    let following =
        Arc::clone(&mapping).follow(lister.clone(), config.discovery_interval, move || mapped.pass());
    tasks.spawn("rest mapping", following);

    let objects = Arc::new(WatchedObjects::new(lister.clone(), Arc::clone(&mapping), watching));
    watch_early(&rules.borrow(), &objects, health, tasks);

    let certificate = match config.serving {
        ServingConfig::Files(source) => ServingCertificate::load(&source)?,
        ServingConfig::Published(identity) => {
            let certificate = identity.provisional()?;
            let published = health.check("serving-certificate-published", Scope::Ready);
            let following = identity.follow(lister, Arc::clone(&certificate), published, rules.clone());
            tasks.spawn("serving authority", following);
            certificate
        }
    };

    let ready = async move {
        let _ = first_kinds.changed().await;
    };
    let mut files = Vec::new();
    let (authenticators, token_reviews) =
        authenticators(config.authentication, poll, config.reviews, health, tasks, &mut files).await?;
    let AuthorizationConfig { kubeconfig, allowed_ttl, denied_ttl, asks_for_groups } = config.authorization;
    let client = client(kubeconfig.as_ref()).await?;
    let authorizer = AccessReviews::new(client, allowed_ttl, denied_ttl, config.reviews)
        .asking_for_groups(asks_for_groups);
    Ok(Host {
        objects,
        kinds_changed,
        ready: ready.boxed(),
        authenticators,
        files,
        reviews: vec![("tokenreview", token_reviews), ("subjectaccessreview", authorizer.stats())],
        authorizers: vec![Arc::new(authorizer)],
        certificate,
    })
}

/// Pods are what most requests are about, and the use of CPU and memory is about those that run and about nodes: they
/// are known before the server is ready, where they may be.
fn watch_early(rules: &RuleSet, objects: &WatchedObjects, health: &Health, tasks: &mut Tasks) {
    let mut early = Vec::new();
    if !rules.custom.is_empty() {
        early.push((core("pods", "Pod", true), false));
    }
    if rules.resource.is_some() {
        early.push((core("pods", "Pod", true), true));
        early.push((core("nodes", "Node", false), false));
    }
    if early.is_empty() {
        return;
    }
    let listed = health.check("objects-listed", Scope::Ready);
    let mut states: Vec<_> = early.iter().map(|(kind, running)| objects.state(kind, *running)).collect();
    tasks.spawn("object watch", async move {
        loop {
            let seen: Vec<State> = states.iter_mut().map(|state| state.borrow_and_update().clone()).collect();
            report(&seen, &listed);
            let changes = states.iter_mut().map(|state| state.changed().boxed());
            if let (Err(_), ..) = futures_util::future::select_all(changes).await {
                // The senders live in the watching tasks, which end with the program.
                std::future::pending::<()>().await;
            }
        }
    });
}

/// The server is ready once each kind is known or known not to be allowed: single objects need no list, and upstream
/// answers them too. While the Kubernetes API does not answer, it is not (D31).
fn report(states: &[State], listed: &CheckHandle) {
    if states.iter().any(|state| matches!(state, State::Listing | State::Failed(_))) {
        return;
    }
    let mut lacking: Vec<String> = states
        .iter()
        .filter_map(|state| match state {
            State::Forbidden(forbidden) => Some(forbidden.to_string()),
            _ => None,
        })
        .collect();
    // Pods are watched twice: all of them, and those that run.
    lacking.dedup();
    if lacking.is_empty() {
        listed.pass();
    } else {
        listed.pass_with(lacking.join("; "));
    }
}

/// A kind of the core group, which every cluster serves in version v1.
fn core(plural: &str, kind: &str, namespaced: bool) -> Kind {
    Kind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        namespaced,
    }
}

/// In upstream's order: front proxy, client certificate, token.
async fn authenticators(
    config: AuthenticationConfig,
    poll: Duration,
    reviews: ReviewLimits,
    health: &Health,
    tasks: &mut Tasks,
    files: &mut Vec<Arc<FileStats>>,
) -> Result<(Vec<Arc<dyn Authenticator>>, Arc<ReviewStats>), HostError> {
    let client = client(config.kubeconfig.as_ref()).await?;
    let (front_proxy, client_authorities) = (FrontProxyHandle::default(), AuthoritiesHandle::default());
    let mut from_cluster = ClusterAuthentication {
        front_proxy: Some(Arc::clone(&front_proxy)),
        client_authorities: Some(Arc::clone(&client_authorities)),
    };
    if let Some(given) = config.front_proxy {
        from_cluster.front_proxy = None;
        let (handle, clients) = (Arc::clone(&front_proxy), Arc::clone(&client_authorities));
        let path = given.ca_file.clone();
        let store = move |authorities| {
            handle.store(Some(Arc::new(given.settings(authorities))));
            warn_if_clients_are_proxies(&handle, &clients);
        };
        let (stats, following) = follow_authorities(FRONT_PROXY_CA, path, poll, store)?;
        files.push(stats);
        tasks.spawn("front proxy authorities", following);
    }
    if let Some(path) = config.client_ca_file {
        from_cluster.client_authorities = None;
        let (handle, proxies) = (Arc::clone(&client_authorities), Arc::clone(&front_proxy));
        let store = move |authorities| {
            handle.store(Some(Arc::new(authorities)));
            warn_if_clients_are_proxies(&proxies, &handle);
        };
        let (stats, following) = follow_authorities(CLIENT_CA, path, poll, store)?;
        files.push(stats);
        tasks.spawn("client authorities", following);
    }
    if config.skip_lookup {
        tracing::info!(
            "skipping the authentication settings of the cluster: --authentication-skip-lookup is set"
        );
    } else {
        let read = health.check("authentication-settings", Scope::Ready);
        let following = from_cluster.follow(client.clone(), read, config.tolerate_lookup_failure);
        tasks.spawn("authentication settings", following);
    }
    let tokens = TokenReviews::new(client, config.token_ttl, reviews);
    let stats = tokens.stats();
    let authenticators: Vec<Arc<dyn Authenticator>> = vec![
        Arc::new(FrontProxy::new(front_proxy)),
        Arc::new(ClientCertificates::new(client_authorities)),
        Arc::new(tokens),
    ];
    Ok((authenticators, stats))
}

/// A client by a kubeconfig, or by the account of the pod that this runs in. `KUBECONFIG` and a person's own kubeconfig
/// are never used: the cluster must be named.
async fn client(kubeconfig: Option<&PathBuf>) -> Result<kube::Client, HostError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let read = kubeconfig::read(path)
                .map_err(|cause| HostError::Kubeconfig { path: path.clone(), cause })?;
            kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .map_err(|cause| HostError::Access { path: path.clone(), cause: Box::new(cause) })?
        }
        None => kube::Config::incluster().map_err(HostError::NotInACluster)?,
    };
    // Callers retry by themselves, each within its own limits.
    config.default_retry = false;
    kube::Client::try_from(config).map_err(|cause| HostError::Client(Box::new(cause)))
}

const FRONT_PROXY_CA: FileName =
    FileName { label: "front-proxy-ca", file: "front proxy CA file", kept: "the previous authorities" };
const CLIENT_CA: FileName =
    FileName { label: "client-ca", file: "client CA file", kept: "the previous authorities" };

#[cfg(test)]
mod tests {
    use apiservice::health::Endpoint;
    use apiservice::query::QueryParameters;
    use rules::resource::GroupResource;
    use testkit::rows::each_row;

    use super::*;
    use crate::objects::error::{Forbidden, ListError, Verb};

    #[test]
    fn a_permission_that_lacks_is_named_and_the_server_is_ready() {
        let forbidden = |verb, resource| {
            let resource = GroupResource::new("", resource);
            let answer = ListError::Refused { code: 403, message: "of User x".into() };
            State::Forbidden(Forbidden { verb, resource, answer })
        };
        let pods = || forbidden(Verb::List, "pods");
        let rows = [
            (vec![State::Known, State::Listing], "[-]objects-listed failed: reason withheld"),
            // The Kubernetes API is away, which passes.
            (vec![pods(), State::Failed(ListError::Unanswered)], "[-]objects-listed failed: reason withheld"),
            (vec![State::Known], "[+]objects-listed ok"),
            (
                vec![pods(), pods(), State::Known],
                "[+]objects-listed ok: cannot list pods: requests that select pods fail; grant list and watch on pods",
            ),
            (
                vec![State::Known, forbidden(Verb::Watch, "nodes")],
                "[+]objects-listed ok: cannot watch nodes: listing them every 15s instead; grant watch on nodes",
            ),
        ];
        each_row(rows, |(states, expected)| {
            let health = Health::default();
            let listed = health.check("objects-listed", Scope::Ready);
            report(&states, &listed);
            let shown = health.report(Endpoint::Readyz, &QueryParameters::parse("verbose")).body;
            assert_eq!(shown.lines().next(), Some(expected), "{states:?}");
        });
    }
}
