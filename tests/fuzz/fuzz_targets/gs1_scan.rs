//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz gs1_scan`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lotline_fuzz::targets::gs1_scan(data));
