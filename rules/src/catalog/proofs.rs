//! What was proven of a query: how it can be shared, with and without metric selectors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use selector::labels::Selector;

/// That answers to a rule's query can be shared.
#[derive(Debug)]
pub(super) struct Proof {
    /// The query without any limit.
    pub(super) text: Arc<str>,
    /// Whether one query may be for several scopes.
    pub(super) many: bool,
}

/// Proofs of one rule's query for one metric, kept from the first request on: each takes parsing the query a few times.
/// `None` is that it cannot be shared.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    everything: OnceLock<Option<Arc<Proof>>>,
    /// By the text of the metric selector.
    selected: OnceLock<Box<Mutex<BySelector>>>,
}

type BySelector = HashMap<String, Option<Arc<Proof>>>;

impl Proofs {
    pub(super) fn get_or_prove(
        &self,
        selector: &Selector,
        prove: impl FnOnce() -> Option<Arc<Proof>>,
    ) -> Option<Arc<Proof>> {
        if selector.is_empty() {
            return self.everything.get_or_init(prove).clone();
        }
        let selected = self.selected.get_or_init(Box::default);
        let text = selector.to_string();
        if let Some(known) = selected.lock().unwrap_or_else(PoisonError::into_inner).get(&text) {
            return known.clone();
        }
        let proof = prove();
        let mut selected = selected.lock().unwrap_or_else(PoisonError::into_inner);
        // Callers choose selectors.
        if selected.len() >= MOST_SELECTORS {
            selected.clear();
        }
        selected.insert(text, proof.clone());
        proof
    }
}

const MOST_SELECTORS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_selector_is_proven_once_and_not_too_many_are_kept() {
        let (proofs, mut proven) = (Proofs::default(), 0);
        let mut prove = |selector: &str| {
            let selector = Selector::parse(selector).expect("a selector");
            let proof = proofs.get_or_prove(&selector, || {
                proven += 1;
                Some(Arc::new(Proof { text: selector.to_string().into(), many: false }))
            });
            assert_eq!(&*proof.expect("proven").text, selector.to_string());
            proven
        };
        assert_eq!(["", "", "code=5xx", "code=5xx", "code!=5xx"].map(&mut prove), [1, 1, 2, 2, 3]);
        for index in 0..1_000 {
            prove(&format!("code={index}"));
        }
        let kept = proofs.selected.get().expect("selectors").lock().expect("the test panics alone").len();
        assert!(kept <= MOST_SELECTORS, "{kept}");
    }
}
