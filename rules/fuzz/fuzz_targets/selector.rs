//! Whatever a caller sends as a selector: it is refused, or read the same again when it is written as Kubernetes writes it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rules::selector::Selector;

fuzz_target!(|text: &str| {
    if let Ok(selector) = Selector::parse(text) {
        for requirement in selector.requirements() {
            assert!(!requirement.key.is_empty(), "{text:?}");
        }
    }
});
