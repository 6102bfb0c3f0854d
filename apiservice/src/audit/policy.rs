//! Which requests are recorded: Kubernetes' audit policy (`audit.k8s.io/v1`, kind Policy), read by its rules: the first
//! one that matches decides, and without any a request is not recorded.

use serde::Deserialize;

use crate::attributes::Attributes;
use crate::authn::User;

/// How much of a request is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who, what, when and how it ended.
    Metadata,
    /// As [`Level::Metadata`]: requests have no bodies here.
    Request,
    /// As [`Level::Metadata`]: what is answered is not recorded.
    RequestResponse,
}

/// A moment of a request. Fields of an event name it as it is written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
pub enum Stage {
    /// It came, and who sent it is known.
    RequestReceived,
    /// It was refused before anybody knew who sent it.
    ResponseStarted,
    /// It is over.
    ResponseComplete,
    /// It failed by a fault of this server's.
    Panic,
}

/// An audit policy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: Option<serde::de::IgnoredAny>,
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    /// Of objects in bodies, which are not recorded.
    #[serde(default, rename = "omitManagedFields")]
    _omit_managed_fields: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default, rename = "omitManagedFields")]
    _omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    /// Empty for the core group.
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What a policy says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) level: Level,
    pub(super) omitted: Vec<Stage>,
}

/// Why a text is not an audit policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is not YAML, not of a policy's form, or holds too much.
    #[error(transparent)]
    Form(#[from] Box<serde_saphyr::Error>),
    /// It is something else than a policy.
    #[error("expected apiVersion audit.k8s.io/v1 and kind Policy, found {api_version} and {kind}")]
    OtherKind {
        /// As the text says.
        api_version: String,
        /// As the text says.
        kind: String,
    },
    /// It records nothing.
    #[error("expected at least one rule: without any, nothing is recorded")]
    NoRules,
    /// A rule that Kubernetes refuses too.
    #[error("rules[{position}]: {fault}")]
    Rule {
        /// Which one, from 0 on.
        position: usize,
        /// What is wrong with it.
        #[source]
        fault: RuleFault,
    },
}

/// What is wrong with a rule of an audit policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// It would match requests of two kinds.
    #[error("expected nonResourceURLs, or resources and namespaces, found both")]
    BothKinds,
    /// A path does not begin like one.
    #[error("expected / in front of a nonResourceURL, found {0:?}")]
    NotAPath(String),
    /// A `*` stands within a path.
    #[error("expected * only at the end of a nonResourceURL, found {0:?}")]
    StarInside(String),
    /// Names of objects of no resource.
    #[error("expected resources beside resourceNames")]
    NamesAlone,
}

impl Policy {
    /// Reads a policy, YAML or JSON.
    ///
    /// # Errors
    /// The fault, and where it is.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        // A few lines of aliases can stand for more than fits into memory.
        let bounds = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_nodes: MOST_NODES, max_recorded_anchor_events: MOST_NODES },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_FROM_ALIASES },
        };
        let policy: Policy = serde_saphyr::from_str_with_options(text, bounds).map_err(Box::new)?;
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            return Err(PolicyError::OtherKind { api_version: policy.api_version, kind: policy.kind });
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::NoRules);
        }
        for (position, rule) in policy.rules.iter().enumerate() {
            rule.check().map_err(|fault| PolicyError::Rule { position, fault })?;
        }
        Ok(policy)
    }

    /// Whether a rule asks for more than is recorded here.
    pub fn asks_for_bodies(&self) -> bool {
        self.rules.iter().any(|rule| rule.level > Level::Metadata)
    }

    /// `user` is absent for a request whose caller could not be authenticated.
    pub(super) fn decide(&self, user: Option<&User>, attributes: &Attributes) -> Verdict {
        let rule = self.rules.iter().find(|rule| rule.matches(user, attributes));
        let omitted = rule.map_or(&[][..], |rule| &rule.omit_stages);
        Verdict {
            level: rule.map_or(Level::None, |rule| rule.level),
            omitted: self.omit_stages.iter().chain(omitted).copied().collect(),
        }
    }
}

impl Rule {
    /// What Kubernetes refuses in a rule too.
    fn check(&self) -> Result<(), RuleFault> {
        let of_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if of_resources && !self.non_resource_urls.is_empty() {
            return Err(RuleFault::BothKinds);
        }
        let is_url = |url: &&String| *url == "*" || url.starts_with('/');
        if let Some(url) = self.non_resource_urls.iter().find(|url| !is_url(url)) {
            return Err(RuleFault::NotAPath(url.clone()));
        }
        let star_inside = |url: &&String| url.trim_end_matches('*').contains('*') || url.ends_with("**");
        if let Some(url) = self.non_resource_urls.iter().find(star_inside) {
            return Err(RuleFault::StarInside(url.clone()));
        }
        let names_alone = |of: &&GroupResources| !of.resource_names.is_empty() && of.resources.is_empty();
        if self.resources.iter().any(|of| names_alone(&of)) {
            return Err(RuleFault::NamesAlone);
        }
        Ok(())
    }

    /// An empty list takes everything.
    fn matches(&self, user: Option<&User>, attributes: &Attributes) -> bool {
        let takes = |list: &[String], text: &str| list.is_empty() || list.iter().any(|one| one == text);
        let by_user = match user {
            Some(user) => {
                takes(&self.users, &user.name)
                    && (self.user_groups.is_empty()
                        || user.groups.iter().any(|group| self.user_groups.contains(group)))
            }
            None => self.users.is_empty() && self.user_groups.is_empty(),
        };
        if !by_user || !takes(&self.verbs, &attributes.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return attributes.resource.as_ref().is_some_and(|asked| {
                takes(&self.namespaces, &asked.namespace)
                    && (self.resources.is_empty() || self.resources.iter().any(|of| of.matches(asked)))
            });
        }
        if self.non_resource_urls.is_empty() {
            return true;
        }
        attributes.resource.is_none()
            && self.non_resource_urls.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => attributes.path.starts_with(prefix),
                None => attributes.path == *pattern,
            })
    }
}

impl GroupResources {
    fn matches(&self, asked: &crate::attributes::ResourceAttributes) -> bool {
        if self.group != asked.group {
            return false;
        }
        let by_name = self.resource_names.is_empty() || self.resource_names.contains(&asked.name);
        let full = match asked.subresource.as_str() {
            "" => asked.resource.clone(),
            subresource => format!("{}/{subresource}", asked.resource),
        };
        let by_resource = |pattern: &String| {
            *pattern == full
                || pattern == "*"
                || pattern.strip_prefix("*/").is_some_and(|subresource| subresource == asked.subresource)
                || pattern.strip_suffix("/*").is_some_and(|resource| resource == asked.resource)
        };
        self.resources.is_empty() || by_name && self.resources.iter().any(by_resource)
    }
}

const MOST_NODES: usize = 20_000;
const MOST_FROM_ALIASES: usize = 10_000;

#[cfg(test)]
mod tests {
    use http::Method;
    use testkit::rows::each_row;

    use super::*;
    use crate::attributes::segments;
    use crate::list_options::ListOptions;
    use crate::query::QueryParameters;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-probe"]
- level: None
  nonResourceURLs: ["/healthz*", "/version"]
- level: Request
  userGroups: [auditors]
  verbs: [list]
  omitStages: [Panic]
- level: Metadata
  namespaces: [default]
  resources:
  - group: custom.metrics.k8s.io
    resources: ["pods/depth", "*/latency", "services/*"]
- level: Metadata
  resources:
  - group: custom.metrics.k8s.io
    resources: ["nodes/load"]
    resourceNames: [n1]
- level: Metadata
  verbs: [create]
"#;

    fn options() -> ListOptions {
        ListOptions::of(&QueryParameters::default())
    }

    fn level(name: &str, groups: &[&str], method: &Method, path: &str) -> Level {
        let policy = Policy::parse(POLICY).expect("a policy");
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let user = User { name: name.to_owned(), groups, ..User::default() };
        let segments = segments(path).expect("a path");
        let attributes = Attributes::of(method, path, &segments, options());
        policy.decide(Some(&user), &attributes).level
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let custom = "/apis/custom.metrics.k8s.io/v1beta1";
        let rows = [
            ("system:kube-probe", &[][..], "/metrics".to_owned(), Level::None),
            ("a", &[], "/healthz/ping".to_owned(), Level::None),
            ("a", &[], "/metrics".to_owned(), Level::None),
            ("a", &[], format!("{custom}/namespaces/default/pods/x/depth"), Level::Metadata),
            ("a", &[], format!("{custom}/namespaces/other/pods/x/depth"), Level::None),
            ("a", &[], format!("{custom}/namespaces/default/pods/x/other"), Level::None),
            ("a", &[], format!("{custom}/namespaces/default/pods/x/latency"), Level::Metadata),
            ("a", &[], format!("{custom}/namespaces/default/services/x/any"), Level::Metadata),
            ("a", &[], format!("{custom}/nodes/n1/load"), Level::Metadata),
            ("a", &[], format!("{custom}/nodes/n2/load"), Level::None),
            (
                "a",
                &["auditors"],
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/d/q".to_owned(),
                Level::Request,
            ),
            (
                "a",
                &["others"],
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/d/q".to_owned(),
                Level::None,
            ),
        ];
        each_row(rows, |(name, groups, path, expected)| {
            assert_eq!(level(name, groups, &Method::GET, &path), expected, "{name} {path}");
        });
        assert_eq!(level("a", &[], &Method::POST, &format!("{custom}/nodes/n2/load")), Level::Metadata);
    }

    #[test]
    fn stages_are_left_out_by_policy_and_by_rule() {
        let policy = Policy::parse(POLICY).expect("a policy");
        let user = User { groups: vec!["auditors".to_owned()], ..User::default() };
        let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/d/q";
        let attributes = Attributes::of(&Method::GET, path, &segments(path).expect("a path"), options());
        let verdict = policy.decide(Some(&user), &attributes);
        assert_eq!(verdict.omitted, [Stage::RequestReceived, Stage::Panic]);
        assert!(policy.asks_for_bodies());
        // Rules about callers say nothing of a request whose caller is not known.
        assert_eq!(policy.decide(None, &attributes).level, Level::None);
    }

    #[test]
    fn faults_are_named() {
        let policy = |rule: &str| format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {rule}\n");
        let rows = [
            (policy("{level: Everything}"), "Everything"),
            (policy("{level: None, user: [a]}"), "user"),
            (policy("{level: None, nonResourceURLs: [healthz]}"), "rules[0]: expected / in front"),
            (policy("{level: None, nonResourceURLs: [/a*b]}"), "rules[0]: expected * only at the end"),
            (policy("{level: None, nonResourceURLs: [/a], namespaces: [b]}"), "found both"),
            (policy("{level: None, resources: [{group: a, resourceNames: [b]}]}"), "beside resourceNames"),
            ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n".to_owned(), "at least one rule"),
            ("apiVersion: v1\nkind: Policy\nrules: []\n".to_owned(), "expected apiVersion audit.k8s.io/v1"),
        ];
        each_row(rows, |(text, part)| {
            let error = Policy::parse(&text).expect_err(&text).to_string();
            assert!(error.contains(part), "{part} is not in {error}");
        });
    }

    #[test]
    fn aliases_that_stand_for_too_much_are_refused() {
        let rules = |count| {
            let users = vec!["bob"; 1_000].join(", ");
            let more = "- {level: None, users: *users}\n".repeat(count);
            Policy::parse(&format!(
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {{level: None, users: &users [{users}]}}\n{more}"
            ))
        };
        assert_eq!(rules(5).expect("a policy").rules.len(), 6);
        let error = rules(20).expect_err("too many").to_string();
        assert!(error.contains("10000") && error.contains("line 14"), "{error}");
    }
}
