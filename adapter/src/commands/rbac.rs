//! `adapter rbac FILE...`: the roles that the rules of files need.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use rules::resource::{GroupResource, ResourceMapper as _, StaticMapper};
use rules::{RuleId, RuleSet};
use serve::error_chain;

use super::exit_status::UNUSABLE;
use super::output;
use crate::rules_file::RulesFile;

/// Prints a role with what the adapter lists and watches, and its binding.
pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let mut rules = RuleSet::default();
    for path in files {
        match RulesFile::open(path, true) {
            Ok((_, more)) => rules.append(more),
            Err(error) => {
                eprintln!("{}", error_chain(&error));
                return ExitCode::from(UNUSABLE);
            }
        }
    }
    output::print(&role(&rules))
}

fn role(rules: &RuleSet) -> String {
    let mapper = StaticMapper::built_in();
    let mapped = rules.mapped_resources(&mapper);
    let mut resources = mapped.resources;
    if !mapped.by_template.is_empty() {
        for kind in OF_TEMPLATE.iter().filter_map(|name| mapper.kind_for(name, "")) {
            resources.entry(kind.group_resource()).or_default().extend(&mapped.by_template);
        }
    }
    let mut text = HEAD.to_owned();
    if !mapped.by_template.is_empty() {
        // Writing to memory does not fail.
        let _ = writeln!(
            text,
            "# By resources.template of {}, each label of a series that is called like a kind makes metrics of that kind:\n\
             # add those that you ask for and that are not here.",
            names(&mapped.by_template)
        );
    }
    text.push_str(ROLE);
    let _ = writeln!(text, "# Watched from the start, whatever the rules are.");
    let pods = GroupResource::new("", "pods");
    let of_pods = resources.remove(&pods).unwrap_or_default();
    for (resource, rules) in std::iter::once((pods, of_pods)).chain(resources) {
        if !rules.is_empty() {
            let _ = writeln!(text, "# {}", names(&rules));
        }
        let GroupResource { group, resource } = resource;
        let _ =
            writeln!(text, "- {{apiGroups: [{group:?}], resources: [{resource:?}], verbs: [list, watch]}}");
    }
    text.push_str(BINDING);
    text
}

fn names(rules: &BTreeSet<RuleId>) -> String {
    let shown: Vec<String> = rules.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = rules.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

const HEAD: &str = "\
# The objects that the metrics of the rules are about. The adapter reads only their metadata.
# Autoscalers need no role: Kubernetes lets the HPA controller read custom.metrics.k8s.io and external.metrics.k8s.io.
# What the adapter needs whatever its rules are, to authenticate and authorize callers, is in deploy/base/rbac.yaml.
";
const ROLE: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: adapter-objects
rules:
";
const BINDING: &str = "\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: adapter-objects
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: adapter-objects}
subjects:
- {kind: ServiceAccount, name: adapter, namespace: monitoring}
";
/// What most series have labels for.
const OF_TEMPLATE: [&str; 5] = ["pods", "nodes", "namespaces", "services", "deployments"];
const SHOWN: usize = 5;
