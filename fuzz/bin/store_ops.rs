//! Fuzzes [`melv_fuzz::store_ops`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::store_ops(data));
