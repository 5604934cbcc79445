//! The binary: calls the library. It has a C `main`, so that nothing of Rust's runtime touches SIGPIPE and
//! the standard descriptors before their state is known.
#![no_main]

use std::ffi::{c_char, c_int};

#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: the C library calls this as `main` with what it promises.
    unsafe { retry_command::start(argc, argv) }
}
