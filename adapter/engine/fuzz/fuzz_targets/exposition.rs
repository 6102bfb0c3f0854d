//! Whatever a scraped target says, in both formats: an error has its place in the text, and nothing panics.

#![no_main]

use engine::exposition::{Format, samples};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for format in [Format::Text, Format::OpenMetrics] {
        for sample in samples(text, format) {
            match sample {
                Ok(sample) => assert!(!sample.name.is_empty()),
                Err(error) => assert!(error.line >= 1 && error.line <= text.lines().count() + 1, "{error}"),
            }
        }
    }
});
