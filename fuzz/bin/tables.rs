//! Fuzzes [`melv_fuzz::tables`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::tables(data));
