//! Tree → [`Config`]: unknown fields are refused with a suggestion, wrong kinds of values named with what was
//! expected, and reading goes on after every fault.

use std::time::Duration;

use super::fields::{
    Config, DiscoveryRule, NameMapping, ResourceMapping, ResourceName, ResourceRule, ResourceRules,
    SeriesFilter,
};
use super::place::{Place, Placed, below};
use crate::duration;
use crate::fault::{Fault, bounded, suggestion};
use crate::policy::{OnEmpty, OnNan, OnPartial};
use crate::warning::{Lint, Warning};
use crate::yaml::{Key, Node, Value, boolean};

pub(super) struct Decoder<'a> {
    pub(super) faults: &'a mut Vec<Fault>,
}

impl Decoder<'_> {
    /// The adapter's own form.
    pub(super) fn config(&mut self, path: &str, root: &Node) -> Config {
        let mut config = Config::default();
        self.fields(path, root, &SECTIONS, |decoder, name, node| {
            let path = below(path, name);
            match name {
                "rules" => config.rules = decoder.rules(&path, node),
                "externalRules" => config.external_rules = decoder.rules(&path, node),
                _ => config.resource_rules = Self::resource_rules(&path, node),
            }
        });
        config
    }

    /// The Helm chart's form. The chart's own default rules are not part of a values file, so `default: true` adds
    /// nothing here, which is worth a warning.
    pub(super) fn helm_values(&mut self, path: &str, node: &Node, warnings: &mut Vec<Warning>) -> Config {
        let mut config = Config::default();
        let known = ["default", "custom", "existing", "external", "resource"];
        self.fields(path, node, &known, |decoder, name, node| {
            let path = format!("{path}.{name}");
            match name {
                "custom" => config.rules = decoder.rules(&path, node),
                "external" => config.external_rules = decoder.rules(&path, node),
                "resource" => config.resource_rules = Self::helm_resource_rules(&path, node),
                "default" => {
                    if decoder.boolean(&path, node) == Some(true) {
                        let fault = place(&path, node).fault(
                            "the chart's default rules are not part of this file and are not served; write the ones \
                             you need as rules",
                        );
                        warnings.push(Warning::new(Lint::HelmOnly, fault));
                    }
                }
                _ => {
                    if !matches!(node.value, Value::Null) {
                        let fault =
                            place(&path, node).fault("a ConfigMap's name means nothing here; it is ignored");
                        warnings.push(Warning::new(Lint::HelmOnly, fault));
                    }
                }
            }
        });
        config
    }

    fn rules(&mut self, path: &str, node: &Node) -> Vec<DiscoveryRule> {
        let rules = self.list(path, node, "a list of rules");
        if rules.len() > MOST_RULES {
            self.fault(path, node, format!("expected at most {MOST_RULES} rules, found {}", rules.len()));
        }
        rules
            .iter()
            .take(MOST_RULES)
            .enumerate()
            .map(|(index, rule)| Self::rule(&format!("{path}[{index}]"), rule))
            .collect()
    }

    /// With the faults of its own.
    fn rule(path: &str, node: &Node) -> DiscoveryRule {
        let mut rule = DiscoveryRule {
            place: place(path, node),
            series_query: Placed { value: String::new(), place: place(path, node) },
            series_filters: Vec::new(),
            resources: ResourceMapping::default(),
            name: NameMapping::default(),
            metrics_query: Placed { value: String::new(), place: place(path, node) },
            on_nan: OnNan::default(),
            on_empty: OnEmpty::default(),
            on_partial: OnPartial::default(),
            faults: Vec::new(),
        };
        let mut faults = Vec::new();
        Decoder { faults: &mut faults }.fields(path, node, &FIELDS_OF_A_RULE, |decoder, name, node| {
            let path = format!("{path}.{name}");
            match name {
                "seriesQuery" => rule.series_query = decoder.text(&path, node),
                "seriesFilters" => rule.series_filters = decoder.series_filters(&path, node),
                "resources" => rule.resources = decoder.resource_mapping(&path, node),
                "name" => rule.name = decoder.name_mapping(&path, node),
                "metricsQuery" => rule.metrics_query = decoder.text(&path, node),
                "onNaN" => {
                    let known = [("zero", OnNan::Zero), ("missing", OnNan::Missing)];
                    rule.on_nan = decoder.one_of(&path, node, &known).unwrap_or_default();
                }
                "onEmpty" => rule.on_empty = decoder.on_empty(&path, node),
                _ => {
                    let known = [("serve", OnPartial::Serve), ("error", OnPartial::Error)];
                    rule.on_partial = decoder.one_of(&path, node, &known).unwrap_or_default();
                }
            }
        });
        rule.faults = faults;
        rule
    }

    fn on_empty(&mut self, path: &str, node: &Node) -> OnEmpty {
        let text = self.text(path, node).value;
        OnEmpty::parse(&text).unwrap_or_else(|expected| {
            let hint = suggestion(&text, ["notFound", "zero"]);
            self.fault(path, node, format!("expected {expected}, found {text:?}{hint}"));
            OnEmpty::default()
        })
    }

    fn series_filters(&mut self, path: &str, node: &Node) -> Vec<SeriesFilter> {
        let filters = self.list(path, node, "a list of filters");
        filters
            .iter()
            .enumerate()
            .map(|(index, node)| {
                let path = format!("{path}[{index}]");
                let mut filter = SeriesFilter { place: place(&path, node), is: None, is_not: None };
                self.fields(&path, node, &["is", "isNot"], |decoder, name, node| {
                    let text = decoder.text(&format!("{path}.{name}"), node);
                    let text = Some(text).filter(|text| !text.value.is_empty());
                    if name == "is" { filter.is = text } else { filter.is_not = text }
                });
                filter
            })
            .collect()
    }

    fn resource_mapping(&mut self, path: &str, node: &Node) -> ResourceMapping {
        let mut mapping = ResourceMapping::default();
        self.fields(path, node, &["template", "overrides", "namespaced"], |decoder, name, node| {
            let path = format!("{path}.{name}");
            match name {
                "template" => {
                    mapping.template = Some(decoder.text(&path, node)).filter(|text| !text.value.is_empty());
                }
                "overrides" => mapping.overrides = decoder.overrides(&path, node),
                _ => mapping.namespaced = decoder.boolean(&path, node),
            }
        });
        mapping
    }

    fn overrides(&mut self, path: &str, node: &Node) -> Vec<(String, Placed<ResourceName>)> {
        let entries = self.entries(path, node, "a mapping of labels to resources");
        entries
            .iter()
            .map(|(label, node)| {
                let path = below(path, &label.text);
                let mut name = ResourceName { group: String::new(), resource: String::new() };
                self.fields(&path, node, &["group", "resource"], |decoder, field, node| {
                    let text = decoder.text(&format!("{path}.{field}"), node).value;
                    if field == "group" { name.group = text } else { name.resource = text }
                });
                (label.text.clone(), Placed { value: name, place: place(&path, node) })
            })
            .collect()
    }

    fn name_mapping(&mut self, path: &str, node: &Node) -> NameMapping {
        let mut mapping = NameMapping::default();
        self.fields(path, node, &["matches", "as"], |decoder, name, node| {
            let text = decoder.text(&format!("{path}.{name}"), node);
            if name == "as" {
                mapping.r#as = text;
            } else {
                mapping.matches = Some(text).filter(|text| !text.value.is_empty());
            }
        });
        mapping
    }

    /// With the faults of their own.
    fn resource_rules(path: &str, node: &Node) -> Option<ResourceRules> {
        if matches!(node.value, Value::Null) {
            return None;
        }
        let mut rules = ResourceRules {
            place: place(path, node),
            cpu: ResourceRule::default(),
            memory: ResourceRule::default(),
            window: None,
            faults: Vec::new(),
        };
        let mut faults = Vec::new();
        Decoder { faults: &mut faults }.fields(
            path,
            node,
            &["cpu", "memory", "window"],
            |decoder, name, node| {
                let path = format!("{path}.{name}");
                match name {
                    "cpu" => rules.cpu = decoder.resource_rule(&path, node),
                    "memory" => rules.memory = decoder.resource_rule(&path, node),
                    _ => rules.window = decoder.window(&path, node),
                }
            },
        );
        rules.faults = faults;
        Some(rules)
    }

    /// In Helm values an empty mapping or list stands for no resource rules.
    fn helm_resource_rules(path: &str, node: &Node) -> Option<ResourceRules> {
        match &node.value {
            Value::Mapping(entries) if entries.is_empty() => None,
            Value::Sequence(items) if items.is_empty() => None,
            _ => Self::resource_rules(path, node),
        }
    }

    fn resource_rule(&mut self, path: &str, node: &Node) -> ResourceRule {
        let here = Some(place(path, node)).filter(|_| !matches!(node.value, Value::Null));
        let mut rule = ResourceRule { place: here, ..ResourceRule::default() };
        let known = ["containerQuery", "nodeQuery", "resources", "containerLabel"];
        self.fields(path, node, &known, |decoder, name, node| {
            let path = format!("{path}.{name}");
            match name {
                "containerQuery" => rule.container_query = decoder.text(&path, node),
                "nodeQuery" => rule.node_query = decoder.text(&path, node),
                "resources" => rule.resources = decoder.resource_mapping(&path, node),
                _ => rule.container_label = decoder.text(&path, node).value,
            }
        });
        rule
    }

    fn window(&mut self, path: &str, node: &Node) -> Option<Duration> {
        let text = self.text(path, node).value;
        if text.is_empty() {
            return None;
        }
        let window = duration::parse(&text);
        if window.is_none() {
            self.fault(
                path,
                node,
                format!("expected a Prometheus duration like \"5m\" or \"1h30m\", found {text:?}"),
            );
        }
        window
    }

    /// Calls `take` for each known field of a mapping; the others are faults. A missing mapping has no fields.
    fn fields(
        &mut self,
        path: &str,
        node: &Node,
        known: &[&str],
        mut take: impl FnMut(&mut Self, &str, &Node),
    ) {
        let expected = format!("a mapping with the fields {}", known.join(", "));
        for (key, value) in self.entries(path, node, &expected) {
            if known.contains(&key.text.as_str()) {
                take(self, &key.text, value);
            } else {
                let hint = suggestion(&key.text, known.iter().copied());
                self.faults.push(Fault {
                    path: path.to_owned(),
                    line: key.line,
                    column: key.column,
                    width: key.text.chars().count(),
                    message: bounded(format!(
                        "unknown field {:?}, expected one of {}{hint}",
                        key.text,
                        known.join(", ")
                    )),
                });
            }
        }
    }

    fn entries<'n>(&mut self, path: &str, node: &'n Node, expected: &str) -> &'n [(Key, Node)] {
        match &node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            _ => {
                self.wrong_kind(path, node, expected);
                &[]
            }
        }
    }

    fn list<'n>(&mut self, path: &str, node: &'n Node, expected: &str) -> &'n [Node] {
        match &node.value {
            Value::Sequence(items) => items,
            Value::Null => &[],
            _ => {
                self.wrong_kind(path, node, expected);
                &[]
            }
        }
    }

    /// A string; numbers and booleans are taken as they are written, as upstream's reader does.
    fn text(&mut self, path: &str, node: &Node) -> Placed<String> {
        let value = match &node.value {
            Value::Scalar { text, .. } => text.clone(),
            Value::Null => String::new(),
            _ => {
                self.wrong_kind(path, node, "a string");
                String::new()
            }
        };
        Placed { value, place: place(path, node) }
    }

    fn boolean(&mut self, path: &str, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Null => None,
            Value::Scalar { text, quoted: false } if boolean(text).is_some() => boolean(text),
            _ => {
                self.wrong_kind(path, node, "true or false");
                None
            }
        }
    }

    fn one_of<T: Copy>(&mut self, path: &str, node: &Node, known: &[(&str, T)]) -> Option<T> {
        let text = self.text(path, node).value;
        let found = known.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let hint = suggestion(&text, names.iter().copied());
            self.fault(path, node, format!("expected one of {}, found {text:?}{hint}", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    fn wrong_kind(&mut self, path: &str, node: &Node, expected: &str) {
        self.fault(path, node, format!("expected {expected}, found {}", node.describe()));
    }

    fn fault(&mut self, path: &str, node: &Node, message: String) {
        self.faults.push(place(path, node).fault(message));
    }
}

fn place(path: &str, node: &Node) -> Place {
    Place { path: path.to_owned(), line: node.line, column: node.column, width: node.width }
}

/// Each has metrics of its own, and is rendered a few times when it is read.
const MOST_RULES: usize = 10_000;

/// The mapping below `rules` when the file has the form of Helm values.
pub(super) fn helm_values(root: &Node) -> Option<(&'static str, &Node)> {
    let (path, rules) = match root.field("prometheus-adapter") {
        Some(nested) => ("prometheus-adapter.rules", nested.field("rules")?),
        None => ("rules", root.field("rules")?),
    };
    let Value::Mapping(entries) = &rules.value else { return None };
    let sections = ["default", "custom", "external", "resource", "existing"];
    entries.iter().any(|(key, _)| sections.contains(&key.text.as_str())).then_some((path, rules))
}

/// The fields of a rule of `rules` or `externalRules`.
const FIELDS_OF_A_RULE: [&str; 8] =
    ["seriesQuery", "seriesFilters", "resources", "name", "metricsQuery", "onNaN", "onEmpty", "onPartial"];

/// The fields of a rule file.
pub(super) const SECTIONS: [&str; 3] = ["rules", "externalRules", "resourceRules"];
