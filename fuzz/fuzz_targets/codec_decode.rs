//! Hands the fuzzer's bytes to `ecowatt_fuzz_targets::codec_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ecowatt_fuzz_targets::codec_decode(data));
