//! Fuzzes [`melv_fuzz::names`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::names(data));
