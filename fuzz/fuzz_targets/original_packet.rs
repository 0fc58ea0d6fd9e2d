//! Hands the fuzzer's bytes to `ecowatt_fuzz_targets::original_packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ecowatt_fuzz_targets::original_packet(data));
