//! Two rules that make one metric, as far as the file alone tells.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::DiscoveryRule;
use crate::resource::{GroupResource, ResourceMapper as _, StaticMapper};
use crate::rule::{Rule, Section};
use crate::warning::{Lint, Warning};

/// Warns of each rule whose metric an earlier rule of the list makes for the same resource.
pub(crate) fn duplicates(
    rules: &[Arc<Rule>],
    written: &[DiscoveryRule],
    mapper: &StaticMapper,
    warnings: &mut Vec<Warning>,
) {
    let mut makers: HashMap<String, Vec<Maker<'_>>> = HashMap::new();
    for rule in rules {
        let written = &written[rule.id.index];
        let Some(metric) = rule.only_metric() else { continue };
        let maker = Maker::new(rule, mapper);
        let others = makers.entry(metric.clone()).or_default();
        if let Some((other, resource)) = others.iter().find_map(|other| Some((other, other.shares(&maker)?)))
        {
            let r#as = &written.name.r#as;
            let place = if r#as.value.is_empty() { &written.place } else { &r#as.place };
            let fault = place.fault(format!(
                "{} makes the metric {metric:?}{resource} too, and is used where both find series",
                other.rule.id
            ));
            warnings.push(Warning::new(Lint::DuplicateMetric, fault));
        } else if others.len() < MOST_MAKERS {
            others.push(maker);
        }
    }
}

struct Maker<'a> {
    rule: &'a Rule,
    /// The resources of its overrides; one that is not known here stands for itself.
    resources: BTreeSet<GroupResource>,
}

impl Maker<'_> {
    fn new<'a>(rule: &'a Rule, mapper: &StaticMapper) -> Maker<'a> {
        let labels = rule.labels.resolve(mapper);
        let known =
            labels.overrides().filter_map(|(_, kind)| kind).map(crate::resource::Kind::group_resource);
        let of_template = OF_TEMPLATE
            .iter()
            .filter(|_| labels.has_template())
            .filter_map(|resource| mapper.kind_for(resource, ""))
            .map(|kind| kind.group_resource());
        let resources = known.chain(of_template).chain(labels.unknown.iter().map(|(_, name)| name.clone()));
        Maker { rule, resources: resources.collect() }
    }

    /// ` of RESOURCE`, when both make metrics of it; external metrics have none.
    fn shares(&self, other: &Maker<'_>) -> Option<String> {
        if self.rule.id.section == Section::External {
            return Some(String::new());
        }
        let mut shared = self.resources.intersection(&other.resources);
        // Nearly every rule maps namespaces, and hardly one is asked for a namespace's own metric.
        let shared = shared.find(|resource| resource.resource != "namespaces");
        shared.map(|resource| format!(" of {resource}"))
    }
}

/// A template names a label for every kind; these stand for all.
const OF_TEMPLATE: [&str; 5] = ["pods", "services", "deployments", "nodes", "namespaces"];
/// Rules of one metric that have no resource in common.
const MOST_MAKERS: usize = 10;
