//! Fuzzes [`melv_fuzz::nbd_requests`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| melv_fuzz::nbd_requests(data));
