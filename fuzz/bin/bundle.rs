//! Fuzzes [`melv_fuzz::bundle`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::bundle(data));
