//! What the process was started with, read from where the C library put it.
//!
//! Rust's own runtime ignores SIGPIPE and opens `/dev/null` on closed descriptors before `main`; a wrapper
//! must hand both on as it got them, so the binary has a C `main` and none of that runs.

use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt as _;

/// The arguments behind `argv[0]`, which may be missing (execve(2) allows an empty list).
///
/// # Safety
/// `argv` must be null or point to `argc` valid C strings.
pub(crate) unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<OsString> {
    if argv.is_null() {
        return Vec::new();
    }
    let count = usize::try_from(argc).unwrap_or(0);
    (1..count)
        // SAFETY: the caller vouches for `argc` strings at `argv`.
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) })
        .map(|text| OsString::from_vec(text.to_bytes().to_vec()))
        .collect()
}

/// The environment, every entry as it stands: doubled ones and ones without `=` too, which
/// `std::env::vars_os` would drop.
pub(crate) fn environment() -> Vec<CString> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let mut entries = Vec::new();
    // SAFETY: one thread only, so nobody changes the list; it is null or ends with a null pointer.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            entries.push(CStr::from_ptr(*entry).to_owned());
            entry = entry.add(1);
        }
    }
    entries
}

/// Ends the process at once: for a panic, where nothing else may run.
#[expect(clippy::exit, reason = "the one place")]
pub(crate) fn leave(status: u8) -> ! {
    std::process::exit(i32::from(status))
}
