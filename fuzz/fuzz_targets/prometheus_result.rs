//! [`fuzz::prometheus_result`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::prometheus_result(input));
