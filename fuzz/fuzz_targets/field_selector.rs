//! [`fuzz::field_selector`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::field_selector(input));
