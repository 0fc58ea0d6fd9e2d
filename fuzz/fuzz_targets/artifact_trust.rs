//! Hands the fuzzer's bytes to `ecowatt_fuzz_targets::artifact_trust`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ecowatt_fuzz_targets::artifact_trust(data));
