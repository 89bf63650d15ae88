//! Fuzzes [`melv_fuzz::frames`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::frames(data));
