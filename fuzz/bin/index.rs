//! Fuzzes [`melv_fuzz::index`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::index(data));
