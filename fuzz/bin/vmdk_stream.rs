//! Fuzzes [`melv_fuzz::vmdk_stream`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::vmdk_stream(data));
