//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz api_key`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lotline_fuzz::targets::api_key(data));
