//! Fuzzes [`melv_fuzz::manifest`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::manifest(data));
