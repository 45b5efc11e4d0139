//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz global_id`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lotline_fuzz::targets::global_id(data));
