//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz signal_batch`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lotline_fuzz::targets::signal_batch(data));
