#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| retry_command::fuzz::replies(bytes));
