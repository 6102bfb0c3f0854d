//! Label ↔ resource: `resources.overrides` and `resources.template` of a rule.
//!
//! A template like `kube_<<.Resource>>` is used both ways: filled in, it names the label of a resource; turned into a
//! regular expression, it finds the resource of a label (upstream `pkg/naming/resource_converter.go` and `lbl_res.go`).
//! An override wins over the template. Where several labels name one resource, the first of the file is the one to
//! query by (upstream picks one at random).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use promql::regexp::{self, CompileBudget, Regexp};

use super::{GroupResource, Kind, ResourceMapper};
use crate::config::{ResourceMapping, ResourceName};
use crate::template::{LabelFields, Template, TemplateError};

/// The label mapping of one rule, before a cluster gave its names a meaning.
pub struct ResourceLabels {
    overrides: Vec<(Arc<str>, ResourceName)>,
    template: Option<LabelTemplate>,
}

struct LabelTemplate {
    template: Template,
    extract: Regexp,
}

/// Why a `resources.template` does not compile.
#[derive(Debug, thiserror::Error)]
pub enum ResourceLabelsError {
    /// It is not a Go template.
    #[error("invalid Go template, {0}")]
    Template(#[from] TemplateError),
    /// Without the resource in it, it names the same label for all.
    #[error("expected <<.Resource>> in the template, found {0:?}")]
    NoResource(String),
    /// Its text around the fields makes no regular expression.
    #[error("the template {template:?} cannot be used to find labels: {cause}")]
    NoPattern {
        /// The template's text.
        template: String,
        /// The reason.
        cause: String,
    },
}

impl ResourceLabels {
    pub(crate) fn compile(
        mapping: &ResourceMapping,
        budget: &mut CompileBudget,
    ) -> Result<ResourceLabels, ResourceLabelsError> {
        let template =
            mapping.template.as_ref().map(|text| LabelTemplate::compile(&text.value, budget)).transpose()?;
        let overrides = mapping
            .overrides
            .iter()
            .map(|(label, name)| (Arc::from(label.as_str()), name.value.clone()))
            .collect();
        Ok(ResourceLabels { overrides, template })
    }

    /// The labels of `resources.overrides`, in the order of the file.
    pub(crate) fn overridden(&self) -> impl Iterator<Item = &Arc<str>> {
        self.overrides.iter().map(|(label, _)| label)
    }

    /// Gives the mapping its meaning in a cluster. Overrides whose kind the cluster lacks wait for it (D39): they are
    /// listed in [`ResolvedLabels::unknown`].
    pub fn resolve(self: &Arc<Self>, mapper: &dyn ResourceMapper) -> ResolvedLabels {
        let mut resolved = ResolvedLabels {
            labels: Arc::clone(self),
            by_label: HashMap::new(),
            by_resource: BTreeMap::new(),
            unknown: Vec::new(),
        };
        for (label, name) in &self.overrides {
            match mapper.kind_for(&name.resource, &name.group) {
                Some(kind) => {
                    resolved.by_resource.entry(kind.group_resource()).or_insert_with(|| Arc::clone(label));
                    resolved.by_label.insert(Arc::clone(label), kind);
                }
                None => resolved
                    .unknown
                    .push((Arc::clone(label), GroupResource::new(&name.group, &name.resource))),
            }
        }
        resolved
    }
}

impl std::fmt::Debug for ResourceLabels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResourceLabels")
            .field("overrides", &self.overrides)
            .field("pattern", &self.template.as_ref().map(|template| template.extract.as_str()))
            .finish()
    }
}

/// The label mapping of one rule in a cluster.
#[derive(Debug)]
pub struct ResolvedLabels {
    labels: Arc<ResourceLabels>,
    by_label: HashMap<Arc<str>, Arc<Kind>>,
    by_resource: BTreeMap<GroupResource, Arc<str>>,
    /// Overrides whose kind the cluster does not serve (yet).
    pub unknown: Vec<(Arc<str>, GroupResource)>,
}

impl ResolvedLabels {
    /// The resource that a label names; `None` for a label that names none.
    pub fn kind_of(&self, label: &str, mapper: &dyn ResourceMapper) -> Option<Arc<Kind>> {
        if let Some(kind) = self.by_label.get(label) {
            return Some(Arc::clone(kind));
        }
        // Targets choose their labels' names, but no query holds them: it holds what `label_of` makes of the kind.
        let template = self.labels.template.as_ref()?;
        let captures = template.extract.captures(label)?;
        let part = |name: &str| captures.name(name).unwrap_or_default();
        mapper.kind_for(part("resource"), part("group"))
    }

    /// The labels of the overrides, in the order of the file, with the kind that the cluster has for each.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = (&Arc<str>, Option<&Kind>)> {
        let labels = self.labels.overrides.iter();
        labels.map(|(label, _)| (label, self.by_label.get(label).map(|kind| &**kind)))
    }

    pub(crate) fn has_template(&self) -> bool {
        self.labels.template.is_some()
    }

    /// Whether a label may name objects in some cluster: a template's resource may be one that is not known here.
    pub(crate) fn may_name_objects(&self, label: &str) -> bool {
        let of_template = |template: &LabelTemplate| template.extract.is_match(label);
        self.overrides().any(|(known, _)| **known == *label)
            || (self.labels.template.as_ref().is_some_and(of_template) && !PROMETHEUS_LABELS.contains(&label))
    }

    /// The label that names objects of a kind; `None` when the rule has none for it.
    pub fn label_of(&self, kind: &Kind) -> Option<Arc<str>> {
        if let Some(label) = self.by_resource.get(&kind.group_resource()) {
            return Some(Arc::clone(label));
        }
        let group = kind.group.replace(['.', '-'], "_");
        let label = self.labels.template.as_ref()?.fill(&group, &kind.singular).ok()?;
        (!label.is_empty()).then(|| Arc::from(label))
    }
}

impl LabelTemplate {
    fn compile(text: &str, budget: &mut CompileBudget) -> Result<LabelTemplate, ResourceLabelsError> {
        let template = Template::label(text)?;
        let no_pattern = |cause: String| ResourceLabelsError::NoPattern { template: text.to_owned(), cause };
        let filled = template
            .fill_label(LabelFields { group: "(?P<group>.*?)", resource: "(?P<resource>.+?)" })
            .map_err(|error| no_pattern(error.to_string()))?;
        if !filled.contains("(?P<resource>") {
            return Err(ResourceLabelsError::NoResource(text.to_owned()));
        }
        let extract = regexp::compile_within(&format!("^{filled}$"), budget)
            .map_err(|error| no_pattern(error.to_string()))?;
        Ok(LabelTemplate { template, extract })
    }

    fn fill(&self, group: &str, resource: &str) -> Result<String, TemplateError> {
        self.template.fill_label(LabelFields { group, resource })
    }
}

/// What Prometheus' own data model calls so names no object.
const PROMETHEUS_LABELS: [&str; 3] = ["__name__", "le", "quantile"];
