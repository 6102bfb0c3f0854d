//! The known objects of one kind.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kube::api::ObjectMeta;

use crate::objects::{Labels, Object, Wanted};

/// Objects by namespace and name, with their labels. Cluster-scoped objects have an empty namespace.
#[derive(Default)]
pub(super) struct Known {
    by_namespace: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Labels>>,
    texts: Texts,
}

impl Known {
    pub(super) fn insert(&mut self, meta: &ObjectMeta) {
        let Some(name) = &meta.name else { return };
        let labels = meta.labels.iter().flatten();
        let labels: Labels =
            labels.map(|(name, value)| (self.texts.share(name), self.texts.share(value))).collect();
        let namespace = self.texts.share(meta.namespace.as_deref().unwrap_or_default());
        self.by_namespace.entry(namespace).or_default().insert(name.as_str().into(), labels);
        self.texts.sweep();
    }

    pub(super) fn remove(&mut self, meta: &ObjectMeta) {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let Some(objects) = self.by_namespace.get_mut(namespace) else { return };
        objects.remove(meta.name.as_deref().unwrap_or_default());
        if objects.is_empty() {
            self.by_namespace.remove(namespace);
        }
    }

    pub(super) fn find(&self, wanted: Wanted<'_>) -> Vec<Object> {
        let Wanted { kind, namespace, name, selector, .. } = wanted;
        let of = |namespace: &Arc<str>, objects: &BTreeMap<Arc<str>, Labels>, found: &mut Vec<Object>| {
            let objects: &mut dyn Iterator<Item = (&Arc<str>, &Labels)> = match name {
                Some(name) => &mut objects.get_key_value(name).into_iter(),
                None => &mut objects.iter(),
            };
            let matching = objects.filter(|(_, labels)| {
                selector.matches(|label| {
                    labels.iter().find(|(name, _)| &**name == label).map(|(_, value)| &**value)
                })
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

/// Label names and values, each kept once: a thousand pods of a Deployment share them.
#[derive(Default)]
struct Texts {
    held: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Texts {
    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(held) = self.held.get(text) {
            return Arc::clone(held);
        }
        let shared: Arc<str> = text.into();
        self.held.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets what no object has any more, once it may be half of what is held.
    fn sweep(&mut self) {
        if self.held.len() > self.sweep_at.max(1024) {
            self.held.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = 2 * self.held.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use rules::resource::{ResourceMapper as _, StaticMapper};
    use selector::labels::Selector;

    use super::*;

    fn meta(namespace: &str, name: &str, app: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            labels: Some([("app".to_owned(), app.to_owned())].into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn finds_by_namespace_name_and_labels() {
        let mut known = Known::default();
        for (namespace, name, app) in [("b", "x", "m"), ("a", "y", "m"), ("a", "x", "m"), ("a", "z", "other")]
        {
            known.insert(&meta(namespace, name, app));
        }
        known.insert(&meta("a", "gone", "m"));
        known.remove(&meta("a", "gone", "m"));
        known.remove(&meta("nosuch", "gone", "m"));
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
        assert_eq!(find(None, Some("x"), ""), ["a/x", "b/x"]);
        assert_eq!(find(Some("nosuch"), None, ""), [""; 0]);
    }

    #[test]
    fn texts_without_an_owner_are_forgotten() {
        let mut known = Known::default();
        for round in 0..5000 {
            known.insert(&meta("a", "x", &format!("value-{round}")));
        }
        assert!(known.texts.held.len() < 2000, "{}", known.texts.held.len());
    }
}
