//! Fuzzes [`melv_fuzz::map_leaf`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::map_leaf(data));
