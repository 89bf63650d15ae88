//! Fuzzes [`melv_fuzz::journal`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::journal(data));
