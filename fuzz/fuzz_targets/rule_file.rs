//! [`fuzz::rule_file`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::rule_file(input));
