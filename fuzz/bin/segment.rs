//! Fuzzes [`melv_fuzz::segment`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::segment(data));
