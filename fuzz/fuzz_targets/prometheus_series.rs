//! [`fuzz::prometheus_series`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::prometheus_series(input));
