//! metrics.k8s.io: what nodes and the containers of pods use.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use apiservice::server::{Answer, ApiRequest};
use apiservice::status::ApiError;
use apiservice::types::Timestamp;
use apiservice::types::usage::{ContainerMetrics, NodeMetrics, PodMetrics, UsageMeta};
use futures_util::{StreamExt as _, stream};
use rules::plan::PlanError;
use rules::resource::Kind;
use rules::usage::{ResourceRules, UsagePlan};
use rules::{RuleId, Section};

use super::empty::{self, Used};
use super::record::Record;
use super::{Answerer, QueryContext, unix_ms};
use crate::discovery_documents::METRICS;
use crate::objects::{Object, Wanted};
use crate::routes::{self, UsageOf, UsageRequest};
use crate::source::guard::Flow;
use crate::source::{Sample, Samples};
use crate::telemetry::Step;
use crate::values::usage::{self, ObjectUsage, Oddities};

impl Answerer {
    pub(super) async fn usage(&self, request: &ApiRequest) -> Result<Answer, ApiError> {
        let asked = routes::usage(request)?;
        let UsageRequest { of, name, selector, single, .. } = &asked;
        let snapshot = self.catalog.load();
        let rules = snapshot.rules.resource.as_ref().ok_or_else(ApiError::no_route)?;
        let (resource, namespace, running) = match of {
            UsageOf::Nodes => ("nodes", None, false),
            UsageOf::Pods { namespace } => ("pods", namespace.as_deref(), true),
        };
        let kind = self.objects.mapper().kind_for(resource, "").ok_or_else(ApiError::no_route)?;
        let kind: &Kind = &kind;
        let wanted = Wanted { kind, namespace, name: name.as_deref(), selector, running };
        let mut objects = self.objects(wanted, request.deadline, &mut Record::off()).await?;
        objects.retain(|object| asked.has(&object.name, object.namespace.as_deref().unwrap_or_default()));
        if objects.is_empty() {
            let state = if running { "running " } else { "" };
            self.missing(Step::Objects, &asked, None, || format!("there are no such {state}{resource}"));
        }
        let name = name.as_deref().unwrap_or_default();
        if *single && objects.is_empty() {
            // Upstream names a node in the singular and a pod in the plural.
            let kind = if resource == "nodes" { "node" } else { resource };
            return Err(ApiError::object_not_found(kind, "", name));
        }
        let asking = Asking { rules, now: SystemTime::now(), deadline: request.deadline };
        match of {
            UsageOf::Nodes => {
                let (mut nodes, nothing) = self.nodes(&asking, &objects).await?;
                if let (true, Some(nothing)) = (nodes.is_empty(), nothing) {
                    self.explain_nodes(&asking, &asked, nothing).await;
                }
                if !single {
                    return Ok(Answer::Nodes(nodes));
                }
                let node = nodes.pop();
                let missing = || ApiError::object_not_found("nodemetrics", METRICS, name);
                node.map(Answer::Node).ok_or_else(missing)
            }
            UsageOf::Pods { namespace } => {
                let (mut pods, nothing) = self.pods(&asking, &objects).await?;
                if let (true, Some(Nothing { plan, why })) = (pods.is_empty(), nothing) {
                    self.missing(Step::Sample, &asked, Some(&plan.query.promql), || why);
                }
                if !single {
                    return Ok(Answer::Pods(pods));
                }
                let full = format!("{}/{name}", namespace.as_deref().unwrap_or_default());
                let missing = || ApiError::object_not_found("podmetrics", METRICS, &full);
                pods.pop().map(Answer::Pod).ok_or_else(missing)
            }
        }
    }

    async fn nodes(&self, asking: &Asking<'_>, nodes: &[Object]) -> Result<Values<NodeMetrics>, ApiError> {
        if nodes.is_empty() {
            return Ok((Vec::new(), None));
        }
        let names = names(nodes);
        let mapper = self.objects.mapper();
        let ResourceRules { cpu, memory, .. } = asking.rules;
        let plans = (cpu.nodes(mapper, &names), memory.nodes(mapper, &names));
        let (used, nothing) = self.used(asking, "", ("nodes", &names), plans).await?;
        let nodes = nodes.iter().filter_map(|node| {
            let used = used.get(&*node.name)?;
            Some(NodeMetrics {
                metadata: meta(node, asking.now),
                timestamp: Timestamp::from_unix_ms(used.oldest_ms),
                window: asking.rules.window.unwrap_or_default(),
                usage: used.total(),
            })
        });
        Ok((nodes.collect(), nothing))
    }

    /// Most often the label holds a node's address and not its name. A query for the nodes by name cannot show it, so
    /// one without names is asked, when the answer is going to be logged.
    async fn explain_nodes(&self, asking: &Asking<'_>, asked: &UsageRequest, nothing: Nothing) {
        let Some(unexplained) = self.unexplained(Step::Sample, asked) else { return };
        let Nothing { plan, mut why } = nothing;
        let ResourceRules { cpu, memory, .. } = asking.rules;
        let queries = if plan.query.rule.index == 0 { cpu } else { memory };
        if let Ok(all) = queries.all_nodes(self.objects.mapper()) {
            let deadline = asking.deadline.min(Instant::now() + LONGEST_EXPLANATION);
            let flow = Flow::Namespace("");
            let answer = self.source.ask(flow, &all.query.promql, asking.now, deadline).await;
            if let Ok(Samples::Vector(samples)) = answer.map(|answer| answer.value)
                && let Some(holds) = samples.iter().find_map(|sample| sample.label(&all.object_label))
            {
                let _ = write!(
                    why,
                    "; without the names it finds {} samples, where the label holds {holds:?}",
                    samples.len()
                );
            }
        }
        unexplained.explain(&self.history, Some(&plan.query.promql), &why);
    }

    /// One pair of queries for each namespace. Where some namespaces cannot be asked for, the others still answer
    /// (D13).
    async fn pods(&self, asking: &Asking<'_>, pods: &[Object]) -> Result<Values<PodMetrics>, ApiError> {
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
        let (mut found, mut nothing, mut failed) = (Vec::new(), None, None);
        for (namespace, answer) in answers {
            match answer {
                Ok((pods, why)) => {
                    found.extend(pods);
                    nothing = nothing.or(why);
                }
                Err(error) => {
                    if self.gap_log.is_due((&namespace, error.to_string())) {
                        tracing::warn!(%namespace, %error, "cannot query the usage of the pods of a namespace; leaving them out");
                    }
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok((found, nothing)),
        }
    }

    async fn pods_of(
        &self,
        asking: &Asking<'_>,
        namespace: &str,
        pods: &[Object],
    ) -> Result<Values<PodMetrics>, ApiError> {
        let names = names(pods);
        let mapper = self.objects.mapper();
        let ResourceRules { cpu, memory, .. } = asking.rules;
        let plans = (cpu.pods(mapper, namespace, &names), memory.pods(mapper, namespace, &names));
        let (used, nothing) = self.used(asking, namespace, ("pods", &names), plans).await?;
        let pods = pods.iter().filter_map(|pod| {
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
        });
        Ok((pods.collect(), nothing))
    }

    /// What each object uses, by name; objects without CPU or without memory are left out. Says why when none is left.
    async fn used(
        &self,
        asking: &Asking<'_>,
        namespace: &str,
        (plural, names): (&str, &[&str]),
        (cpu, memory): (Result<UsagePlan, PlanError>, Result<UsagePlan, PlanError>),
    ) -> Result<(BTreeMap<String, ObjectUsage>, Option<Nothing>), ApiError> {
        let rule_error = |index, error: PlanError| {
            self.rule_makes_no_query(RuleId { section: Section::Resource, index }, &error);
            ApiError::internal(format!("unable to fetch metrics: {error}"))
        };
        let (cpu, memory) =
            (cpu.map_err(|error| rule_error(0, error))?, memory.map_err(|error| rule_error(1, error))?);
        let ((cpu_samples, cpu_histograms), (memory_samples, memory_histograms)) = futures_util::try_join!(
            self.samples(asking, namespace, &cpu, "cpu"),
            self.samples(asking, namespace, &memory, "memory")
        )?;
        let joined = usage::join((&cpu, &cpu_samples), (&memory, &memory_samples));
        self.report_oddities(cpu.query.rule, "cpu", &joined.cpu);
        self.report_oddities(memory.query.rule, "memory", &joined.memory);
        let nothing = (!names.iter().any(|name| joined.objects.contains_key(*name))).then(|| {
            let cpu = Used { plan: &cpu, samples: &cpu_samples, histograms: cpu_histograms };
            let memory = Used { plan: &memory, samples: &memory_samples, histograms: memory_histograms };
            let (plan, why) = empty::usage([&cpu, &memory], plural, names);
            Nothing { plan: plan.clone(), why }
        });
        Ok((joined.objects, nothing))
    }

    fn report_oddities(&self, rule: RuleId, metric: &str, odd: &Oddities) {
        let Oddities { dropped, duplicates, foreign, sum_beside_parts } = odd;
        self.report(rule, dropped);
        self.report_duplicates(rule, metric, duplicates);
        self.report_foreign(rule, metric, foreign);
        if let Some(pod) = sum_beside_parts
            && self.rule_log.is_due((rule, "sum beside parts"))
        {
            tracing::warn!(
                %rule,
                pod,
                "adding a sample without a container to those of the pod's containers, as prometheus-adapter does; if it \
                 is their sum, exclude it by a matcher such as container!=\"\""
            );
        }
    }

    /// The samples, and how many native histograms were left out.
    async fn samples(
        &self,
        asking: &Asking<'_>,
        namespace: &str,
        plan: &UsagePlan,
        metric: &str,
    ) -> Result<(Vec<Sample>, usize), ApiError> {
        let context = QueryContext { namespace, time: asking.now, deadline: asking.deadline };
        let result = self.ask(&plan.query, metric, context, &mut Record::off()).await?;
        match result.value {
            Samples::Vector(samples) => Ok((samples, result.histograms_dropped)),
            other @ Samples::Scalar { .. } => Err(self.wrong_type(
                &plan.query,
                &other,
                "with one sample for each container or node",
                &mut Record::off(),
            )),
        }
    }
}

/// Values, and why there are none.
type Values<T> = (Vec<T>, Option<Nothing>);

/// Why no object has a value, and by which query.
struct Nothing {
    plan: UsagePlan,
    why: String,
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

/// Maximum number of concurrent pairs of queries, for a list of all namespaces.
const CONCURRENT_NAMESPACES: usize = 4;
/// How long a request is kept waiting for the sake of the log.
const LONGEST_EXPLANATION: Duration = Duration::from_secs(2);
