//! Any text is read or refused with a place; nothing comes after a refusal.
#![no_main]

use engine::exposition::{Format, samples};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &str)| {
    let (open_metrics, text) = input;
    let format = if open_metrics { Format::OpenMetrics } else { Format::Text };
    let mut failed = false;
    for sample in samples(text, format) {
        assert!(!failed, "nothing comes after an error");
        match sample {
            Ok(sample) => assert!(!sample.name.is_empty()),
            Err(error) => {
                failed = true;
                assert!(error.line >= 1 && error.column >= 1, "{error}");
            }
        }
    }
});
