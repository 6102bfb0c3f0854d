//! Whatever stands in a rule file: rules, or faults with their places.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(faults) = rules::load(text) {
        assert!(!faults.to_string().is_empty(), "refused without a reason: {text:?}");
    }
});
