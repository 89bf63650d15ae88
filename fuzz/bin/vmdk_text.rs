//! Fuzzes [`melv_fuzz::vmdk_text`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::vmdk_text(data));
