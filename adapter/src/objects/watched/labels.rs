//! Labels of objects, each set of them kept once: the pods of a ReplicaSet share theirs.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, Hash, Hasher as _, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::objects::Labels;

/// The label sets in use, and their texts, which different sets share.
#[derive(Default)]
pub(super) struct SharedLabels {
    sets: HashTable<Labels>,
    texts: HashSet<Arc<str>>,
    hashes: RandomState,
    sweep_at: usize,
}

impl SharedLabels {
    /// The set of these labels.
    pub(super) fn share(&mut self, labels: &BTreeMap<String, String>) -> Labels {
        let hash = hash(&self.hashes, labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let is_same = |set: &Labels| {
            let mut pairs = set.iter().zip(labels);
            set.len() == labels.len()
                && pairs.all(|(held, (name, value))| *held.0 == **name && *held.1 == **value)
        };
        if let Some(set) = self.sets.find(hash, is_same) {
            return Arc::clone(set);
        }
        self.sweep();
        let set: Labels = labels.iter().map(|(name, value)| (self.text(name), self.text(value))).collect();
        let hashes = &self.hashes;
        self.sets.insert_unique(hash, Arc::clone(&set), |set| hash_of(hashes, set));
        set
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(held) = self.texts.get(text) {
            return Arc::clone(held);
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets what no object has any more, once it may be half of what is held.
    fn sweep(&mut self) {
        if self.sets.len() > self.sweep_at.max(1024) {
            self.sets.retain(|set| Arc::strong_count(set) > 1);
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = 2 * self.sets.len();
        }
    }
}

fn hash_of(hashes: &RandomState, set: &Labels) -> u64 {
    hash(hashes, set.iter().map(|(name, value)| (&**name, &**value)))
}

fn hash<'a>(hashes: &RandomState, labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut hasher = hashes.build_hasher();
    labels.for_each(|label| label.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: &str) -> BTreeMap<String, String> {
        [("app", "m"), ("version", value)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn equal_sets_are_one_and_different_sets_share_texts() {
        let mut shared = SharedLabels::default();
        let (one, same, other) =
            (shared.share(&labels("1")), shared.share(&labels("1")), shared.share(&labels("2")));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        assert!(Arc::ptr_eq(&one[0].1, &other[0].1), "the text m is kept once");
        assert_eq!(other[1], ("version".into(), "2".into()));
    }

    #[test]
    fn sets_and_texts_without_an_owner_are_forgotten() {
        let mut shared = SharedLabels::default();
        let kept = shared.share(&labels("kept"));
        for round in 0..5000 {
            shared.share(&labels(&format!("value-{round}")));
        }
        assert!(shared.sets.len() < 2000 && shared.texts.len() < 4000, "{}", shared.sets.len());
        assert!(Arc::ptr_eq(&kept, &shared.share(&labels("kept"))));
    }
}
