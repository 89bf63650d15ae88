//! Fuzzes [`melv_fuzz::vmdk_sparse`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::vmdk_sparse(data));
