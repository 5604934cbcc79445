use std::sync::mpsc::RecvTimeoutError;

use tempfile::TempDir;

use super::*;

/// The path of a lock file. The directory is removed at the end of the test.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.lock");
    (directory, path)
}

/// The same lock as another run sees it. The kernel tells open file descriptions apart, not
/// processes.
fn opened(path: &Path) -> Lock {
    Lock::open(path, Surroundings::none()).unwrap().unwrap()
}

#[test]
fn one_run_at_a_time_has_the_lock() {
    let (_directory, path) = place();
    assert!(Lock::open(&path, Surroundings::none()).unwrap().is_none());
    let first = Lock::create(&path, Surroundings::none()).unwrap();
    let second = opened(&path);
    assert_eq!(first.acquire(&path, Duration::ZERO), Ok(Acquired::Yes));
    let held = Err(LockError::Held(Some(std::process::id())));
    assert_eq!(second.acquire(&path, Duration::ZERO), held);
    first.release();
    assert_eq!(second.acquire(&path, Duration::ZERO), Ok(Acquired::Yes));
}

#[test]
fn a_lock_that_goes_from_hand_to_hand_has_no_one_holder() {
    let (_directory, path) = place();
    let holder = Lock::create(&path, Surroundings::none()).unwrap();
    assert_eq!(holder.acquire(&path, Duration::ZERO), Ok(Acquired::Yes));
    let patience = Duration::from_millis(500);
    let waits = opened(&path);
    assert_eq!(waits.acquire(&path, patience), Err(LockError::Held(Some(std::process::id()))));
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let holder = &holder;
        scope.spawn(move || {
            // The next holder signs, and so on.
            while waiting.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
                holder.sign();
            }
        });
        assert_eq!(waits.acquire(&path, patience), Err(LockError::Held(None)));
        drop(done);
    });
}

#[test]
fn a_lock_that_was_replaced_locks_nothing() {
    let (_directory, path) = place();
    let lock = Lock::create(&path, Surroundings::none()).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(lock.acquire(&path, Duration::ZERO), Ok(Acquired::Replaced));
    let other = Lock::create(&path, Surroundings::none()).unwrap();
    assert_eq!(lock.acquire(&path, Duration::ZERO), Ok(Acquired::Replaced));
    assert_eq!(other.acquire(&path, Duration::ZERO), Ok(Acquired::Yes));
}

#[test]
fn a_signal_ends_the_wait() {
    let (_directory, path) = place();
    let holder = Lock::create(&path, Surroundings::none()).unwrap();
    assert_eq!(holder.acquire(&path, Duration::ZERO), Ok(Acquired::Yes));
    let signalled = Surroundings { end_is_pending: || true, ..Surroundings::none() };
    let waiting = Lock::open(&path, signalled).unwrap().unwrap();
    assert_eq!(waiting.acquire(&path, Duration::MAX), Err(LockError::Interrupted));
}

#[test]
fn a_lease_lasts_until_it_is_given_up_or_closed() {
    let (_directory, path) = place();
    let first = Lock::create(&path, Surroundings::none()).unwrap();
    let second = opened(&path);
    let generations = [0, 7, LEASES - 1];
    for generation in generations {
        first.hold(Claim::Probe(generation)).unwrap();
        assert!(second.is_held(Claim::Probe(generation)) && !first.is_held(Claim::Probe(generation)));
        assert_eq!(second.hold(Claim::Probe(generation)), Err(LockError::Held(None)));
        assert_eq!(second.newest_lease(), Some(generation));
    }
    // A lease is independent of the lock.
    assert_eq!(second.acquire(&path, Duration::ZERO), Ok(Acquired::Yes));
    first.give_up(Claim::Probe(LEASES - 1));
    assert_eq!(second.newest_lease(), Some(7));
    drop(first);
    assert_eq!(second.newest_lease(), None);
}

#[test]
fn a_permit_is_no_lease() {
    let (_directory, path) = place();
    let first = Lock::create(&path, Surroundings::none()).unwrap();
    let second = opened(&path);
    for number in [0, 7, LEASES - 1] {
        first.hold(Claim::Permit(number)).unwrap();
        assert!(second.is_held(Claim::Permit(number)) && !second.is_held(Claim::Probe(number)));
    }
    assert_eq!(second.newest_lease(), None);
    drop(first);
    assert!(!second.is_held(Claim::Permit(7)));
}

#[test]
fn an_ancestor_with_the_lease_leaves_the_probe_to_this_run() {
    let (_directory, path) = place();
    let holder = Lock::create(&path, Surroundings::none()).unwrap();
    holder.hold(Claim::Probe(3)).unwrap();
    // This process has the file open and plays the ancestor.
    let below = Surroundings { ancestors: || vec![std::process::id()], ..Surroundings::none() };
    let below = Lock::open(&path, below).unwrap().unwrap();
    assert!(!below.holder_lives(Claim::Probe(3), std::process::id()));
    assert!(below.holder_lives(Claim::Probe(3), 1), "another holder");
    assert!(opened(&path).holder_lives(Claim::Probe(3), std::process::id()), "no ancestor");
    assert_eq!(below.ancestor_with_it(), Some(std::process::id()));
    holder.give_up(Claim::Probe(3));
    assert!(!below.holder_lives(Claim::Probe(3), 1));
}

#[test]
fn what_is_no_lock_file_is_refused() {
    let (directory, path) = place();
    let open = |path: &Path| Lock::open(path, Surroundings::none()).map(|_| ());
    assert_eq!(open(directory.path()), Err(LockError::NotAFile));
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert_eq!(open(&path), Err(LockError::NotAFile));
    fs::remove_file(&path).unwrap();
    for (content, expected) in [
        ("", Ok(())),
        ("       123              45678\n", Ok(())),
        ("       12", Ok(())),
        ("#!/bin/sh\n", Err(LockError::NotALock)),
        ("1234567890 12345678901234567890 1\n", Err(LockError::NotALock)),
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(open(&path), expected, "{content:?}");
    }
}

#[test]
fn a_holder_is_stuck_later_if_it_is_busy() {
    let signature = |text: &str| {
        let mut signature = Signature::default();
        signature[..text.len()].copy_from_slice(text.as_bytes());
        signature
    };
    let secs = Duration::from_secs;
    let mut holder = Holder { signature: None, since: secs(100) };
    assert_eq!(holder.pid(), None);
    holder.see(signature("       123  5\n"), secs(100));
    assert_eq!(holder.pid(), Some(123));
    assert!(!holder.is_stuck(secs(100), |_| false));
    assert!(holder.is_stuck(secs(101), |_| false));
    assert!(!holder.is_stuck(secs(109), |_| true));
    assert!(holder.is_stuck(secs(110), |_| true));
    // Another holder has taken the lock.
    holder.see(signature("       124  6\n"), secs(109));
    assert!(!holder.is_stuck(secs(109), |_| false));
    holder.see(signature("       124  6\n"), secs(110));
    assert!(holder.is_stuck(secs(110), |_| false));
    // A holder without a signature cannot be a busy process.
    holder.see(signature(""), secs(110));
    assert!(holder.is_stuck(secs(111), |_| true));
}

#[test]
fn the_holder_removes_the_file_and_no_other_run_locks_it() {
    let (_directory, path) = place();
    let holder = Lock::create(&path, Surroundings::none()).unwrap();
    assert_eq!(holder.acquire(&path, Duration::ZERO), Ok(Acquired::Yes));
    let waits = opened(&path);
    assert!(matches!(waits.acquire(&path, Duration::ZERO), Err(LockError::Held(_))));
    holder.remove(&path);
    assert!(!path.exists());
    assert_eq!(waits.acquire(&path, Duration::ZERO), Ok(Acquired::Replaced));
    // The file of another run stays, whoever removed the old one.
    let other = Lock::create(&path, Surroundings::none()).unwrap();
    assert_eq!(other.acquire(&path, Duration::ZERO), Ok(Acquired::Yes));
    waits.remove(&path);
    assert!(path.exists());
}
