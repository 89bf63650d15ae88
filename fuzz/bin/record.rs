//! Fuzzes [`melv_fuzz::record`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::record(data));
