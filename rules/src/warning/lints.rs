//! The lints by name. `docs/lints.md` has an entry for each.

use std::fmt;

/// A kind of thing that a rule file may say and hardly means. `docs/lints.md` explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lint {
    /// The query does not use the metric selector of a request.
    SelectorIgnored,
    /// The query, or a part of its result, is not limited to the namespace of a request.
    NamespaceIgnored,
    /// The query keeps the label of some of the rule's resources only.
    GroupIgnored,
    /// The query also reads series that `seriesQuery` leaves out.
    MatchersNotCarried,
    /// No sample of the result has a label that names an object.
    ObjectLabelLost,
    /// The result is a range vector, or a scalar where samples of objects are expected.
    WrongResultType,
    /// `seriesQuery` is more than a selector.
    NotASelector,
    /// An earlier rule makes the same metric.
    DuplicateMetric,
    /// Two labels name objects of one resource.
    DuplicateResourceLabel,
    /// A range holds fewer than four scrapes.
    ShortRange,
    /// A counter is read as it is, without a rate.
    CounterAsGauge,
    /// An autoscaler cannot ask for the metric's name.
    UnusableName,
    /// `name.as` refers to a group that `name.matches` lacks.
    MissingGroup,
    /// `name.as` comes out empty.
    EmptyName,
    /// `name.as` is written as if it were a template.
    TemplateInName,
    /// The series have `exported_` labels of the objects, and the rule maps the labels of their scrape target.
    ExportedLabel,
    /// The metric's name says another unit than the query makes.
    UnitMismatch,
    /// No label names a resource.
    NoResource,
    /// No label names namespaces.
    NoNamespaceLabel,
    /// A field without which requests fail is missing.
    MissingField,
    /// `resourceRules` lack what some of their requests need.
    ResourceRulesIncomplete,
    /// The template cannot be rendered.
    TemplateFails,
    /// `{{ }}` where templates are written between `<<` and `>>`.
    BracesInQuery,
    /// The query is not PromQL.
    NotPromql,
    /// The query is PromQL of a newer kind than is known here.
    UnknownPromql,
    /// The file is a Kubernetes object, of which one part is read.
    KubernetesObject,
    /// Further YAML documents, which are not read.
    UnreadDocument,
    /// A key that is set by a merge key too.
    MergeOrder,
    /// Helm values that have an effect in the chart only.
    HelmOnly,
    /// A comment that allows a lint which does not exist.
    UnknownLint,
}

impl Lint {
    /// Every lint, in the order of the documentation.
    pub const ALL: [Lint; 30] = [
        Lint::SelectorIgnored,
        Lint::NamespaceIgnored,
        Lint::GroupIgnored,
        Lint::MatchersNotCarried,
        Lint::ObjectLabelLost,
        Lint::WrongResultType,
        Lint::NotASelector,
        Lint::DuplicateMetric,
        Lint::DuplicateResourceLabel,
        Lint::ShortRange,
        Lint::CounterAsGauge,
        Lint::UnusableName,
        Lint::MissingGroup,
        Lint::EmptyName,
        Lint::TemplateInName,
        Lint::ExportedLabel,
        Lint::UnitMismatch,
        Lint::NoResource,
        Lint::NoNamespaceLabel,
        Lint::MissingField,
        Lint::ResourceRulesIncomplete,
        Lint::TemplateFails,
        Lint::BracesInQuery,
        Lint::NotPromql,
        Lint::UnknownPromql,
        Lint::KubernetesObject,
        Lint::UnreadDocument,
        Lint::MergeOrder,
        Lint::HelmOnly,
        Lint::UnknownLint,
    ];

    /// The lint of a name.
    pub fn by_name(name: &str) -> Option<Lint> {
        Lint::ALL.into_iter().find(|lint| lint.name() == name)
    }

    /// The name: what a comment allows it by.
    pub fn name(self) -> &'static str {
        self.about().0
    }

    /// What to do about it, in one line.
    pub fn help(self) -> &'static str {
        self.about().1
    }

    /// Whether it only says how the file is read, so that `--strict` lets it pass.
    pub fn is_note(self) -> bool {
        matches!(self, Lint::KubernetesObject)
    }

    fn about(self) -> (&'static str, &'static str) {
        match self {
            Lint::SelectorIgnored => {
                ("selector-ignored", "write <<.LabelMatchers>> into every selector of metricsQuery")
            }
            Lint::NamespaceIgnored => {
                ("namespace-ignored", "write <<.LabelMatchers>> into every selector of metricsQuery")
            }
            Lint::GroupIgnored => {
                ("group-ignored", "aggregate by (<<.GroupBy>>), or map only the resources that are asked for")
            }
            Lint::MatchersNotCarried => {
                ("matchers-not-carried", "repeat the matchers of seriesQuery beside <<.LabelMatchers>>")
            }
            Lint::ObjectLabelLost => {
                ("object-label-lost", "aggregate by (<<.GroupBy>>), and join on labels that hold it")
            }
            Lint::WrongResultType => (
                "wrong-result-type",
                "write a query that yields a sample for each object: no scalar(), no range at its end",
            ),
            Lint::NotASelector => (
                "not-a-selector",
                "write the series' selector into seriesQuery, and what is done with them into metricsQuery",
            ),
            Lint::DuplicateMetric => {
                ("duplicate-metric", "give one of the two another name.as, or join them by `or` in one rule")
            }
            Lint::DuplicateResourceLabel => ("duplicate-resource-label", "map one label for each resource"),
            Lint::ShortRange => (
                "short-range",
                "write a range of at least four scrape intervals; --scrape-interval tells yours",
            ),
            Lint::CounterAsGauge => (
                "counter-as-gauge",
                "take a rate: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)",
            ),
            Lint::UnusableName => ("unusable-name", "rename it by name.matches and name.as"),
            Lint::MissingGroup => {
                ("missing-group", "write ${1} with braces, and a group for it in name.matches")
            }
            Lint::EmptyName => ("empty-name", "write text, or groups that name.matches has, into name.as"),
            Lint::TemplateInName => ("template-in-name", "write text with groups of name.matches, like ${1}"),
            Lint::ExportedLabel => (
                "exported-label",
                "map the exported_ label in resources.overrides, or set honorLabels in the ServiceMonitor",
            ),
            Lint::UnitMismatch => ("unit-mismatch", "name the metric after the unit that the query makes"),
            Lint::NoResource => ("no-resource", "add resources.overrides or resources.template"),
            Lint::NoNamespaceLabel => {
                ("no-namespace-label", "add `namespace: {resource: namespace}` to resources.overrides")
            }
            Lint::MissingField => (
                "missing-field",
                "write a metricsQuery, like sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
            ),
            Lint::ResourceRulesIncomplete => (
                "resource-rules-incomplete",
                "write containerQuery, nodeQuery, containerLabel, and resources for pods, namespaces and nodes, for both cpu and memory",
            ),
            Lint::TemplateFails => (
                "template-fails",
                "use the fields .Series, .LabelMatchers, .LabelValuesByName, .GroupBy and .GroupBySlice as they are",
            ),
            Lint::BracesInQuery => ("braces-in-query", "write << and >>"),
            Lint::NotPromql => {
                ("not-promql", "correct the query; allow this lint if a proxy rewrites what it is sent")
            }
            Lint::UnknownPromql => (
                "unknown-promql",
                "use a construct that this program knows, or allow this lint if your Prometheus knows it",
            ),
            Lint::KubernetesObject => {
                ("kubernetes-object", "nothing is wrong: this says which part of the object is read")
            }
            Lint::UnreadDocument => ("unread-document", "write one document into a file"),
            Lint::MergeOrder => ("merge-order", "set the key after the merge key, or in one place only"),
            Lint::HelmOnly => ("helm-only", "leave it to the chart, or write the rules out"),
            Lint::UnknownLint => (
                "unknown-lint",
                "write a comment as `# adapter-lint: allow NAME`, with a name from docs/lints.md",
            ),
        }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
