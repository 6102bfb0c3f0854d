//! metrics.k8s.io: what nodes and the containers of pods use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use apiservice::server::{Answer, ApiRequest};
use apiservice::status::ApiError;
use apiservice::types::Timestamp;
use apiservice::types::usage::{ContainerMetrics, NodeMetrics, PodMetrics, UsageMeta};
use futures_util::{StreamExt as _, stream};
use rules::plan::PlanError;
use rules::resource::Kind;
use rules::usage::{ResourceRules, UsagePlan};
use rules::{RuleId, Section};

use super::{Answerer, unix_ms};
use crate::objects::{Object, Wanted};
use crate::routes::{self, UsageOf, UsageRequest};
use crate::served::METRICS;
use crate::source::{Sample, Samples};
use crate::telemetry::RuleFailure;
use crate::values::usage::{self, ObjectUsage};

impl Answerer {
    pub(super) async fn usage(&self, request: &ApiRequest) -> Result<Answer, ApiError> {
        let UsageRequest { of, name, selector, single } = routes::usage(request)?;
        let snapshot = self.catalog.load();
        let rules = snapshot.rules.resource.as_ref().ok_or_else(ApiError::no_route)?;
        let (resource, namespace, running) = match &of {
            UsageOf::Nodes => ("nodes", None, false),
            UsageOf::Pods { namespace } => ("pods", namespace.as_deref(), true),
        };
        let kind = self.objects.mapper().kind_for(resource, "").ok_or_else(ApiError::no_route)?;
        let kind: &Kind = &kind;
        let wanted = Wanted { kind, namespace, name: name.as_deref(), selector: &selector, running };
        let objects = self.objects(wanted, request.deadline).await?;
        let name = name.unwrap_or_default();
        if single && objects.is_empty() {
            // Upstream names a node in the singular and a pod in the plural.
            let kind = if resource == "nodes" { "node" } else { resource };
            return Err(ApiError::object_not_found(kind, "", &name));
        }
        let asking = Asking { rules, now: SystemTime::now(), deadline: request.deadline };
        match of {
            UsageOf::Nodes => {
                let mut nodes = self.nodes(&asking, &objects).await?;
                if !single {
                    return Ok(Answer::Nodes(nodes));
                }
                let node = nodes.pop();
                let missing = || ApiError::object_not_found("nodemetrics", METRICS, &name);
                node.map(Answer::Node).ok_or_else(missing)
            }
            UsageOf::Pods { namespace } => {
                let mut pods = self.pods(&asking, &objects).await?;
                if !single {
                    return Ok(Answer::Pods(pods));
                }
                let full = format!("{}/{name}", namespace.unwrap_or_default());
                let missing = || ApiError::object_not_found("podmetrics", METRICS, &full);
                pods.pop().map(Answer::Pod).ok_or_else(missing)
            }
        }
    }

    async fn nodes(&self, asking: &Asking<'_>, nodes: &[Object]) -> Result<Vec<NodeMetrics>, ApiError> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let names = names(nodes);
        let mapper = self.objects.mapper();
        let ResourceRules { cpu, memory, .. } = asking.rules;
        let plans = (cpu.nodes(mapper, &names), memory.nodes(mapper, &names));
        let used = self.used(asking, plans).await?;
        Ok(nodes
            .iter()
            .filter_map(|node| {
                let used = used.get(&*node.name)?;
                Some(NodeMetrics {
                    metadata: meta(node, asking.now),
                    timestamp: Timestamp::from_unix_ms(used.oldest_ms),
                    window: asking.rules.window.unwrap_or_default(),
                    usage: used.total(),
                })
            })
            .collect())
    }

    /// One pair of queries for each namespace. Where some namespaces cannot be asked for, the others still answer (D13).
    async fn pods(&self, asking: &Asking<'_>, pods: &[Object]) -> Result<Vec<PodMetrics>, ApiError> {
        let mut by_namespace: BTreeMap<Arc<str>, Vec<Object>> = BTreeMap::new();
        for pod in pods {
            let namespace = pod.namespace.clone().unwrap_or_default();
            by_namespace.entry(namespace).or_default().push(pod.clone());
        }
        let answers: Vec<_> = stream::iter(by_namespace)
            .map(|(namespace, pods)| async move {
                let answer = self.pods_of(asking, &namespace, &pods).await;
                (namespace, answer)
            })
            .buffered(CONCURRENT_NAMESPACES)
            .collect()
            .await;
        let mut found = Vec::new();
        let mut failed = None;
        for (namespace, answer) in answers {
            match answer {
                Ok(pods) => found.extend(pods),
                Err(error) => {
                    tracing::warn!(%namespace, %error, "the pods of a namespace are left out");
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }

    async fn pods_of(
        &self,
        asking: &Asking<'_>,
        namespace: &str,
        pods: &[Object],
    ) -> Result<Vec<PodMetrics>, ApiError> {
        let names = names(pods);
        let mapper = self.objects.mapper();
        let ResourceRules { cpu, memory, .. } = asking.rules;
        let plans = (cpu.pods(mapper, namespace, &names), memory.pods(mapper, namespace, &names));
        let used = self.used(asking, plans).await?;
        Ok(pods
            .iter()
            .filter_map(|pod| {
                let used = used.get(&*pod.name)?;
                let containers = used.containers.iter();
                Some(PodMetrics {
                    metadata: meta(pod, asking.now),
                    timestamp: Timestamp::from_unix_ms(used.oldest_ms),
                    window: asking.rules.window.unwrap_or_default(),
                    containers: containers
                        .map(|(name, usage)| ContainerMetrics { name: name.clone(), usage: *usage })
                        .collect(),
                })
            })
            .collect())
    }

    /// What each object uses, by name; objects without CPU or without memory are left out.
    async fn used(
        &self,
        asking: &Asking<'_>,
        (cpu, memory): (Result<UsagePlan, PlanError>, Result<UsagePlan, PlanError>),
    ) -> Result<BTreeMap<String, ObjectUsage>, ApiError> {
        let rule_error = |index, error: PlanError| {
            let rule = RuleId { section: Section::Resource, index };
            self.telemetry.rule_failed(rule, RuleFailure::Plan);
            tracing::error!(%rule, %error, "the rule makes no query");
            ApiError::internal(format!("unable to fetch metrics: {error}"))
        };
        let (cpu, memory) =
            (cpu.map_err(|error| rule_error(0, error))?, memory.map_err(|error| rule_error(1, error))?);
        let (cpu_samples, memory_samples) = futures_util::try_join!(
            self.samples(asking, &cpu, "cpu"),
            self.samples(asking, &memory, "memory")
        )?;
        let joined = usage::join((&cpu, &cpu_samples), (&memory, &memory_samples));
        self.report(cpu.query.rule, &joined.dropped_cpu);
        self.report(memory.query.rule, &joined.dropped_memory);
        Ok(joined.objects)
    }

    async fn samples(
        &self,
        asking: &Asking<'_>,
        plan: &UsagePlan,
        metric: &str,
    ) -> Result<Vec<Sample>, ApiError> {
        match self.ask(&plan.query, metric, asking.now, asking.deadline).await? {
            Samples::Vector(samples) => Ok(samples),
            other @ Samples::Scalar { .. } => {
                Err(self.wrong_type(&plan.query, &other, "with one sample for each container or node"))
            }
        }
    }
}

/// What stays the same for all queries of a request.
struct Asking<'a> {
    rules: &'a ResourceRules,
    now: SystemTime,
    deadline: Instant,
}

fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| &*object.name).collect()
}

fn meta(object: &Object, now: SystemTime) -> UsageMeta {
    let text = |text: &Arc<str>| text.to_string();
    UsageMeta {
        name: object.name.to_string(),
        namespace: object.namespace.as_ref().map(text),
        creation_timestamp: Timestamp::from_unix_ms(unix_ms(now)),
        labels: object.labels.iter().map(|(name, value)| (text(name), text(value))).collect(),
    }
}

/// Pairs of queries under way at once, for a list of all namespaces.
const CONCURRENT_NAMESPACES: usize = 4;
