//! Tests that must fail, as a test of the support for tests.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// This thread runs a test that must fail.
    static MUST_FAIL: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test that must fail, without the usual report. If `RUST_BACKTRACE` is set, that report
/// loads the debug information of this binary and keeps it, about 80 MB. Each later fork(2)
/// copies the page tables of all that, which has taken a quarter of the time of all tests.
pub(crate) fn without_report<T>(test: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !MUST_FAIL.get() {
                usual(panic);
            }
        }));
    });
    MUST_FAIL.set(true);
    let result = catch_unwind(AssertUnwindSafe(test));
    MUST_FAIL.set(false);
    result.unwrap_or_else(|cause| resume_unwind(cause))
}

/// The panic message of a test that must fail.
pub(crate) fn failure<T>(test: impl FnOnce() -> T) -> String {
    let test = AssertUnwindSafe(|| without_report(|| drop(test())));
    let cause = catch_unwind(test).expect_err("it did not fail");
    *cause.downcast::<String>().unwrap()
}
