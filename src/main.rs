//! The binary. It has a C `main`, because Rust's runtime changes SIGPIPE and closed standard
//! descriptors before `main`, and retry has to know their state.
#![no_main]

use std::ffi::{c_char, c_int};

#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: the C library calls `main` with valid arguments.
    unsafe { retry_command::start(argc, argv) }
}
