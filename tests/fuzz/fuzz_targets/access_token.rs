//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz access_token`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lotline_fuzz::targets::access_token(data));
