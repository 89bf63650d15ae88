//! Fuzzes [`melv_fuzz::objects`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::objects(data));
