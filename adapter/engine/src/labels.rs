//! Label sets: what tells series apart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Labels with their values, sorted by name, each name once. A label with an empty value does not exist. Cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

impl Labels {
    /// Labels from pairs in any order; of equal names the last wins.
    pub fn from_pairs<N: Into<Arc<str>>, V: Into<Arc<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Labels {
        let sorted: BTreeMap<Arc<str>, Arc<str>> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Labels(sorted.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// No label at all.
    pub fn empty() -> Labels {
        Labels(Arc::from([]))
    }

    /// The value of a label; `None` when the set does not have it.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.shared_value(name).map(|value| &**value)
    }

    pub(crate) fn shared_value(&self, name: &str) -> Option<&Arc<str>> {
        let position = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(&self.0[position].1)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The shared pairs, sorted by name.
    pub fn pairs(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.0
    }

    /// The labels whose name passes.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Labels {
        let Some(first) = self.0.iter().position(|(name, _)| !keep(name)) else { return self.clone() };
        let (before, after) = (&self.0[..first], &self.0[first + 1..]);
        Labels(before.iter().chain(after.iter().filter(|(name, _)| keep(name))).cloned().collect())
    }

    /// Without the metric's name and the labels that describe the metric, which go with it.
    #[must_use]
    pub fn without_name(&self) -> Labels {
        self.filter(|name| !matches!(name, METRIC_NAME | "__type__" | "__unit__"))
    }

    /// With one label set, or removed when the value is empty.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let others = self.0.iter().filter(|(other, _)| &**other != name).cloned();
        let set = (!value.is_empty()).then(|| (Arc::from(name), Arc::from(value)));
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = others.chain(set).collect();
        pairs.sort();
        Labels(pairs.into())
    }
}

/// As PromQL writes a series: `name{label="value"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.value(METRIC_NAME).unwrap_or_default())?;
        f.write_str("{")?;
        for (position, (name, value)) in self.iter().filter(|(name, _)| *name != METRIC_NAME).enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
