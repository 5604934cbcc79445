//! Runs the cases of a table test, several at once.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread;

/// The number of cases that run at once. It may exceed the number of processors, because cases
/// mostly wait.
const AT_ONCE: usize = 5;

/// Runs `test` on each case. The cases must not depend on each other. The first panic becomes the
/// panic of the test.
pub(crate) fn each<C: Send>(cases: impl IntoIterator<Item = C>, test: impl Fn(C) + Sync) {
    let cases: Vec<C> = cases.into_iter().collect();
    assert!(!cases.is_empty(), "a table without cases tests nothing");
    let queue = Mutex::new(cases.into_iter());
    let work = || {
        loop {
            // A `while let` would hold the lock for as long as the case runs.
            let next = queue.lock().unwrap().next();
            let Some(case) = next else { break };
            test(case);
        }
    };
    // The workers take the test's name, so that panics and the list of left-out tests show it.
    let name = thread::current().name().unwrap_or("a test").to_owned();
    thread::scope(|scope| {
        let start = |_| thread::Builder::new().name(name.clone()).spawn_scoped(scope, work).unwrap();
        let workers: Vec<_> = (0..AT_ONCE).map(start).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
}

mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::support::failure::{failure, without_report};

    #[test]
    fn every_case_runs_and_several_run_at_once() {
        let (seen, meeting) = (Mutex::new(Vec::new()), Barrier::new(AT_ONCE));
        each(0..3 * AT_ONCE, |case| {
            meeting.wait();
            seen.lock().unwrap().push(case);
        });
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..3 * AT_ONCE).collect::<Vec<_>>());
    }

    #[test]
    fn a_case_that_fails_fails_the_test() {
        let text = failure(|| {
            each([1, 2, 3], |case| without_report(|| assert!(case != 3, "this case: {case}")));
        });
        assert_eq!(text, "this case: 3");
    }
}
