//! The known objects of one kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::objects::{Labels, Object, Wanted};

/// Objects by namespace and name, with their labels. Cluster-scoped objects have an empty namespace.
#[derive(Default)]
pub(super) struct Known {
    by_namespace: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Labels>>,
}

impl Known {
    pub(super) fn insert(&mut self, namespace: &str, name: Arc<str>, labels: Labels) {
        if let Some(objects) = self.by_namespace.get_mut(namespace) {
            objects.insert(name, labels);
        } else {
            self.by_namespace.insert(namespace.into(), [(name, labels)].into());
        }
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        let Some(objects) = self.by_namespace.get_mut(namespace) else { return };
        objects.remove(name);
        if objects.is_empty() {
            self.by_namespace.remove(namespace);
        }
    }

    /// The name of a known object, to be shared with what is known of it later.
    pub(super) fn name(&self, namespace: &str, name: &str) -> Option<Arc<str>> {
        self.by_namespace.get(namespace)?.get_key_value(name).map(|(name, _)| Arc::clone(name))
    }

    pub(super) fn find(&self, wanted: Wanted<'_>) -> Vec<Object> {
        let Wanted { kind, namespace, name, selector, .. } = wanted;
        let of = |namespace: &Arc<str>, objects: &BTreeMap<Arc<str>, Labels>, found: &mut Vec<Object>| {
            let objects: &mut dyn Iterator<Item = (&Arc<str>, &Labels)> = match name {
                Some(name) => &mut objects.get_key_value(name).into_iter(),
                None => &mut objects.iter(),
            };
            // Pods of one ReplicaSet follow each other by name and share their labels: one look is enough for them.
            let mut last: Option<(&Labels, bool)> = None;
            let matching = objects.filter(|&(_, labels)| {
                if let Some((seen, matches)) = last
                    && Arc::ptr_eq(seen, labels)
                {
                    return matches;
                }
                let matches = selector.matches(|label| {
                    labels.iter().find(|(name, _)| &**name == label).map(|(_, value)| &**value)
                });
                last = Some((labels, matches));
                matches
            });
            found.extend(matching.map(|(name, labels)| Object {
                namespace: kind.namespaced.then(|| Arc::clone(namespace)),
                name: Arc::clone(name),
                labels: Arc::clone(labels),
            }));
        };
        let mut found = Vec::new();
        match namespace {
            Some(namespace) => {
                if let Some((namespace, objects)) = self.by_namespace.get_key_value(namespace) {
                    of(namespace, objects, &mut found);
                }
            }
            None => {
                for (namespace, objects) in &self.by_namespace {
                    of(namespace, objects, &mut found);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use rules::resource::{ResourceMapper as _, StaticMapper};
    use selector::labels::Selector;

    use super::super::labels::SharedLabels;
    use super::*;

    #[test]
    fn finds_by_namespace_name_and_labels() {
        let mut known = Known::default();
        let mut shared = SharedLabels::default();
        let mut insert = |known: &mut Known, namespace: &str, name: &str, app: &str| {
            let labels = shared.share(&[("app".to_owned(), app.to_owned())].into());
            known.insert(namespace, name.into(), labels);
        };
        for (namespace, name, app) in [("b", "x", "m"), ("a", "y", "m"), ("a", "x", "m"), ("a", "z", "other")]
        {
            insert(&mut known, namespace, name, app);
        }
        insert(&mut known, "a", "gone", "m");
        known.remove("a", "gone");
        known.remove("nosuch", "gone");
        let pods = StaticMapper::built_in().kind_for("pods", "").expect("pods");
        let find = |namespace, name, selector: &str| {
            let selector = Selector::parse(selector).expect("a selector");
            let wanted = Wanted { kind: &pods, namespace, name, selector: &selector, running: false };
            let found = known.find(wanted);
            found
                .iter()
                .map(|object| format!("{}/{}", object.namespace.as_deref().unwrap_or_default(), object.name))
                .collect::<Vec<_>>()
        };
        assert_eq!(find(None, None, ""), ["a/x", "a/y", "a/z", "b/x"]);
        assert_eq!(find(Some("a"), None, "app=m"), ["a/x", "a/y"]);
        assert_eq!(find(Some("a"), None, "app!=m"), ["a/z"]);
        assert_eq!(find(None, Some("x"), ""), ["a/x", "b/x"]);
        assert_eq!(find(Some("nosuch"), None, ""), [""; 0]);
    }
}
