//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz position`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lotline_fuzz::targets::position(data));
