//! `resourceRules`: CPU and memory use of pods and nodes, as metrics.k8s.io shows it.
//!
//! Queries are made as upstream makes them (`pkg/resourceprovider/provider.go`): one for CPU and one for memory, for
//! all pods of a namespace or all nodes asked about, grouped by the object's label and, for pods, by the container's.

use std::sync::Arc;
use std::time::Duration;

use crate::plan::{PlanError, Query};
use crate::query_parts::QueryParts;
use crate::resource::{ResourceLabels, ResourceMapper};
use crate::rule::{QueryTemplate, RuleId};
use crate::sample::Sample;

/// Compiled `resourceRules`.
#[derive(Debug)]
pub struct ResourceRules {
    /// How CPU use is asked for, in cores.
    pub cpu: ResourceQueries,
    /// How memory use is asked for, in bytes.
    pub memory: ResourceQueries,
    /// What the answers say their samples span; `None` when the file does not say.
    pub window: Option<Duration>,
}

/// The queries for one resource, CPU or memory.
#[derive(Debug)]
pub struct ResourceQueries {
    pub(crate) rule: RuleId,
    pub(crate) container_query: QueryTemplate,
    pub(crate) node_query: QueryTemplate,
    pub(crate) labels: Arc<ResourceLabels>,
    pub(crate) container_label: Arc<str>,
}

/// A query for the use of one resource, and the labels that say whose each sample is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePlan {
    /// What to ask.
    pub query: Query,
    /// The label that holds the pod's or the node's name.
    pub object_label: Arc<str>,
    /// The label that holds the container's name; `None` for nodes.
    pub container_label: Option<Arc<str>>,
    /// The label that holds the namespace's name, and the namespace; `None` for nodes.
    pub namespace: Option<(Arc<str>, Arc<str>)>,
}

impl ResourceQueries {
    /// The query for the containers of pods of a namespace.
    pub fn pods(
        &self,
        mapper: &dyn ResourceMapper,
        namespace: &str,
        names: &[&str],
    ) -> Result<UsagePlan, PlanError> {
        let namespace_label = self.label(mapper, "namespaces")?;
        let pod_label = self.label(mapper, "pods")?;
        let group_by = [&*pod_label, &*self.container_label];
        let sample = self.sample(&self.container_query, Some(&namespace_label), &pod_label, &group_by);
        let written = sample.written("");
        let mut parts = QueryParts::of(&written);
        parts.namespaces(&namespace_label, &[namespace])?;
        let template = (self.rule, &self.container_query);
        let promql = parts.render_for((&pod_label, names), template, &written, &group_by)?;
        Ok(UsagePlan {
            query: Query { rule: self.rule, promql, window: None },
            container_label: Some(Arc::clone(&self.container_label)),
            object_label: pod_label,
            namespace: Some((namespace_label, Arc::from(namespace))),
        })
    }

    /// The query for nodes.
    pub fn nodes(&self, mapper: &dyn ResourceMapper, names: &[&str]) -> Result<UsagePlan, PlanError> {
        let node_label = self.label(mapper, "nodes")?;
        let group_by = [&*node_label];
        let written = self.sample(&self.node_query, None, &node_label, &group_by).written("");
        let template = (self.rule, &self.node_query);
        let promql =
            QueryParts::of(&written).render_for((&node_label, names), template, &written, &group_by)?;
        Ok(UsagePlan {
            query: Query { rule: self.rule, promql, window: None },
            object_label: node_label,
            container_label: None,
            namespace: None,
        })
    }

    /// The query for every node there is: what a query for some of them is compared with when it finds nothing.
    pub fn all_nodes(&self, mapper: &dyn ResourceMapper) -> Result<UsagePlan, PlanError> {
        let node_label = self.label(mapper, "nodes")?;
        let group_by = [&*node_label];
        let written = self.sample(&self.node_query, None, &node_label, &group_by).written("");
        let promql = QueryParts::of(&written).render(self.rule, &self.node_query, &written, &group_by)?;
        Ok(UsagePlan {
            query: Query { rule: self.rule, promql, window: None },
            object_label: node_label,
            container_label: None,
            namespace: None,
        })
    }

    fn sample<'a>(
        &self,
        template: &'a QueryTemplate,
        namespace_label: Option<&'a str>,
        object_label: &'a str,
        group_by: &'a [&'a str],
    ) -> Sample<'a> {
        Sample { rule: self.rule, template, namespace_label, object_label: Some(object_label), group_by }
    }

    fn label(&self, mapper: &dyn ResourceMapper, resource: &'static str) -> Result<Arc<str>, PlanError> {
        mapper
            .kind_for(resource, "")
            .and_then(|kind| self.labels.resolve(mapper).label_of(&kind))
            .ok_or(PlanError::NoLabel { rule: self.rule, resource })
    }
}
