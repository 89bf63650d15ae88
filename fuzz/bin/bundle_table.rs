//! Fuzzes [`melv_fuzz::bundle_table`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::bundle_table(data));
