//! Which resources a cluster serves: the part of a REST mapper that rules need, from aggregated discovery.
//!
//! Two requests fetch it all. It is fetched again at an interval and soon after an unknown kind is requested, so a
//! kind that is installed later is found (D30). A group whose server is away keeps the kinds that were known of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery, APIVersionDiscovery};
use rules::resource::{Kind, ResourceMapper, StaticMapper};
use serve::error_chain;
use tokio::sync::{Notify, watch};

use crate::discovery_documents::{CUSTOM_METRICS, EXTERNAL_METRICS, METRICS};

/// The kinds of a cluster. Empty until they were fetched once.
pub struct RestMapping {
    current: ArcSwap<StaticMapper>,
    missed: Notify,
    changed: watch::Sender<()>,
}

impl Default for RestMapping {
    fn default() -> RestMapping {
        RestMapping {
            current: ArcSwap::from_pointee(StaticMapper::new(Vec::new())),
            missed: Notify::new(),
            changed: watch::channel(()).0,
        }
    }
}

impl RestMapping {
    /// Tells of every change of the kinds.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Fetches the kinds at an interval and on demand, until the program ends; `fetched` is told of each success.
    pub async fn follow(
        self: Arc<Self>,
        client: kube::Client,
        interval: Duration,
        fetched: impl Fn() + Send,
    ) {
        let mut retry = FIRST_RETRY;
        loop {
            let pause = match self.fetch(&client).await {
                Ok(()) => {
                    fetched();
                    retry = FIRST_RETRY;
                    interval
                }
                Err(error) => {
                    tracing::warn!(
                        error = %error_chain(&error),
                        "cannot list the resources of the cluster; keeping those known before"
                    );
                    retry = (retry * 2).min(interval);
                    retry
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.missed.notified(), if pause == interval => {
                    tokio::time::sleep(BETWEEN_MISSES).await;
                    // What was missed meanwhile is looked for now, and need not be once more.
                    let _ = self.missed.notified().now_or_never();
                }
            }
        }
    }

    async fn fetch(&self, client: &kube::Client) -> kube::Result<()> {
        let (core, groups) = tokio::try_join!(
            client.list_core_api_versions_aggregated(),
            client.list_api_groups_aggregated()
        )?;
        let before = self.current.load();
        let kinds = kinds(core.items.iter().chain(&groups.items), before.kinds());
        if kinds != before.kinds() {
            tracing::info!(kinds = kinds.len(), "resources of the cluster changed");
            self.current.store(Arc::new(StaticMapper::from_shared(kinds)));
            self.changed.send_replace(());
        }
        Ok(())
    }
}

impl ResourceMapper for RestMapping {
    fn kind_for(&self, resource: &str, group: &str) -> Option<Arc<Kind>> {
        let found = self.current.load().kind_for(resource, group);
        if found.is_none() {
            self.missed.notify_one();
        }
        found
    }
}

/// The kinds of groups in the server's order of preference: of each resource the first version that serves the
/// resource.
fn kinds<'a>(groups: impl Iterator<Item = &'a APIGroupDiscovery>, before: &[Arc<Kind>]) -> Vec<Arc<Kind>> {
    let mut kinds: Vec<Arc<Kind>> = Vec::new();
    for group in groups {
        let name = group.metadata.as_ref().and_then(|meta| meta.name.clone()).unwrap_or_default();
        // What these serve are metrics, of which no series is a label.
        if [CUSTOM_METRICS, EXTERNAL_METRICS, METRICS].contains(&name.as_str()) {
            continue;
        }
        let mut seen: HashSet<&str> = HashSet::new();
        for version in &group.versions {
            for resource in &version.resources {
                let plural = resource.resource.as_deref().unwrap_or_default();
                if let Some(kind) = kind(&name, version, resource)
                    && seen.insert(plural)
                {
                    kinds.push(Arc::new(kind));
                }
            }
        }
        let is_stale = |version: &APIVersionDiscovery| version.freshness.as_deref() == Some("Stale");
        if group.versions.iter().any(is_stale) {
            let lost =
                before.iter().filter(|kind| kind.group == name && !seen.contains(kind.plural.as_str()));
            kinds.extend(lost.cloned());
        }
    }
    kinds
}

fn kind(group: &str, version: &APIVersionDiscovery, resource: &APIResourceDiscovery) -> Option<Kind> {
    let kind = resource.response_kind.as_ref()?.kind.clone().filter(|kind| !kind.is_empty())?;
    let singular = resource.singular_resource.clone().filter(|singular| !singular.is_empty());
    Some(Kind {
        group: group.to_owned(),
        version: version.version.clone()?,
        singular: singular.unwrap_or_else(|| kind.to_lowercase()),
        namespaced: resource.scope.as_deref() == Some("Namespaced"),
        kind,
        plural: resource.resource.clone()?,
    })
}

/// After a failure; each time later.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// A name that nothing has must not make two requests out of each request.
const BETWEEN_MISSES: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use kube::core::discovery::v2::APIGroupDiscoveryList;

    use super::*;

    fn groups(text: &str) -> APIGroupDiscoveryList {
        serde_json::from_str(text).expect("a discovery document")
    }

    #[test]
    fn the_first_version_that_has_a_resource() {
        let resource = |name: &str, kind: &str, scope: &str| {
            format!(
                r#"{{"resource":"{name}","responseKind":{{"group":"","version":"","kind":"{kind}"}},"scope":"{scope}","singularResource":"","verbs":["list"]}}"#
            )
        };
        let list = groups(&format!(
            r#"{{"items":[
                {{"metadata":{{}},"versions":[{{"version":"v1","resources":[{},{}]}}]}},
                {{"metadata":{{"name":"autoscaling"}},"versions":[
                    {{"version":"v2","resources":[{}]}},{{"version":"v1","resources":[{}]}}]}},
                {{"metadata":{{"name":"external.metrics.k8s.io"}},"versions":[{{"version":"v1beta1","resources":[{}]}}]}}
            ]}}"#,
            resource("pods", "Pod", "Namespaced"),
            resource("nodes", "Node", "Cluster"),
            resource("horizontalpodautoscalers", "HorizontalPodAutoscaler", "Namespaced"),
            resource("horizontalpodautoscalers", "HorizontalPodAutoscaler", "Namespaced"),
            resource("queue_depth", "ExternalMetricValueList", "Namespaced"),
        ));
        let found = kinds(list.items.iter(), &[]);
        let names: Vec<String> = found
            .iter()
            .map(|kind| format!("{} {} {}", kind.group_resource(), kind.api_version(), kind.namespaced))
            .collect();
        assert_eq!(
            names,
            ["pods v1 true", "nodes v1 false", "horizontalpodautoscalers.autoscaling autoscaling/v2 true"]
        );
        assert_eq!(found[0].singular, "pod");
        // A group whose server is away keeps what was known of it; one that is gone does not.
        let stale = groups(
            r#"{"items":[{"metadata":{"name":"autoscaling"},"versions":[{"version":"v2","freshness":"Stale"}]}]}"#,
        );
        let kept = kinds(stale.items.iter(), &found);
        assert_eq!(kept, found[2..]);
    }
}
