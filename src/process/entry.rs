//! The arguments and the environment of this process, as the C library stores them.
//!
//! Before `main`, Rust's runtime ignores SIGPIPE and opens `/dev/null` on closed standard streams.
//! A wrapper must hand both on as it got them, so the binary has a C `main`, and the runtime does
//! not start.

use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt as _;

/// The arguments after `argv[0]`. The list may be empty, without `argv[0]` (execve(2)).
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

/// All entries of the environment. `std::env::vars_os` would leave out entries without `=` and
/// repeated names.
pub(crate) fn environment() -> Vec<CString> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let mut entries = Vec::new();
    // SAFETY: there is one thread only, so nobody changes the list. It is null or ends with a null
    // pointer.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            entries.push(CStr::from_ptr(*entry).to_owned());
            entry = entry.add(1);
        }
    }
    entries
}

/// Ends the process at once, after a panic.
#[expect(clippy::exit, reason = "nothing else may run after a panic")]
pub(crate) fn leave(status: u8) -> ! {
    std::process::exit(i32::from(status))
}
