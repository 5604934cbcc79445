//! Which signals are pending, as sets that can be computed between clone(2) and execve(2).
//!
//! sigpending(2) tells only of the process that asks. The child of a start also has to know what is pending
//! for retry, and finds that in retry's /proc/PID/status (proc_pid_status(5)).

use nix::sys::signal::{SigSet, Signal as Name};

/// Signals 1 to 64, the first in the lowest bit, as /proc writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Set(u64);

impl Set {
    /// The set of one signal; empty if there is no signal with this number.
    pub(super) fn of(signal: i32) -> Self {
        match u32::try_from(signal.wrapping_sub(1)) {
            Ok(bit @ 0..64) => Self(1 << bit),
            _ => Self(0),
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn in_both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The same in the C library's form, of the signals that have names.
    pub(super) fn to_sigset(self) -> SigSet {
        Name::iterator().filter(|name| !self.in_both(Self::of(*name as i32)).is_empty()).collect()
    }
}

/// The blocked signals that are pending for this process (sigpending(2)). Async-signal-safe.
pub(super) fn own() -> Set {
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigpending(2) fills in the set; zeroed it is a set too, in case that fails.
    let pending = unsafe {
        libc::sigpending(pending.as_mut_ptr());
        pending.assume_init()
    };
    // SAFETY: sigismember(3) reads the set.
    let is_member = |signal: &i32| unsafe { libc::sigismember(&raw const pending, *signal) == 1 };
    (1..=64).filter(is_member).fold(Set::default(), |set, signal| set.with(Set::of(signal)))
}

/// The signals that are pending for the process whose `status` file this descriptor has open at its beginning;
/// none if the file does not tell. Async-signal-safe.
pub(super) fn of_status(fd: i32) -> Option<Set> {
    let mut scan = Scan::default();
    // Large enough for all of a usual file, and small beside the stack of a child that starts.
    let mut part = [0; 2048];
    loop {
        // SAFETY: read(2) writes at most as many bytes as there are.
        let length = unsafe { libc::read(fd, part.as_mut_ptr().cast(), part.len()) };
        let length = usize::try_from(length).unwrap_or(0);
        if length == 0 {
            return None;
        }
        for byte in part.iter().take(length) {
            scan.push(*byte);
        }
        if let Some(set) = scan.found() {
            return Some(set);
        }
    }
}

/// The name of a line that is wanted: `SigPnd:` for the thread, `ShdPnd:` for the process.
const NAME: usize = 7;

/// Looks for the pending signals in the text of a `status` file, which comes in pieces of any size.
#[derive(Debug, Clone, Copy, Default)]
struct Scan {
    /// The beginning of the line, and the length of the line so far.
    name: [u8; NAME],
    length: usize,
    value: u64,
    thread: Option<u64>,
    process: Option<u64>,
}

impl Scan {
    fn push(&mut self, byte: u8) {
        if byte == b'\n' {
            match &self.name {
                b"SigPnd:" => self.thread = Some(self.value),
                b"ShdPnd:" => self.process = Some(self.value),
                _ => {}
            }
            (self.name, self.length, self.value) = ([0; NAME], 0, 0);
            return;
        }
        if let Some(place) = self.name.get_mut(self.length) {
            *place = byte;
        } else if let Some(digit) = (byte as char).to_digit(16) {
            self.value = (self.value << 4) | u64::from(digit);
        }
        self.length = self.length.saturating_add(1);
    }

    fn found(&self) -> Option<Set> {
        Some(Set(self.thread? | self.process?))
    }
}

/// What became of the signals that came to retry while the command started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Arrived {
    /// They came to retry alone, or the child took them: they have to be passed on.
    pub(super) early: Set,
    /// They came to both: the command has them.
    pub(super) shared: Set,
}

impl Arrived {
    /// `retrys` was pending for retry before `childs` was pending for the child, which took `dropped` later.
    ///
    /// A signal that is in `retrys` and not in `childs` is older than the child, or was sent to retry alone. If
    /// it is in both, it was sent to the group. A signal that came between the two looks is in `childs` alone,
    /// or in neither, and one that came later is in neither: then the command has all that was sent to it.
    pub(super) fn sort(retrys: Set, childs: Set, dropped: Set) -> Self {
        Self { early: retrys.without(childs).with(dropped), shared: retrys.in_both(childs).without(dropped) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use proptest::prelude::*;

    use super::*;

    fn scanned(text: &str) -> Option<Set> {
        let mut scan = Scan::default();
        for byte in text.bytes() {
            scan.push(byte);
        }
        scan.found()
    }

    #[test]
    fn both_lines_of_a_status_file_count() {
        let text = "Name:\tSigPnd:\t1\nGroups:\t0 1 2\nSigPnd:\t0000000000000002\nShdPnd:\t8000000000004000\nSigBlk:\tff\n";
        assert_eq!(scanned(text), Some(Set(0x8000_0000_0000_4002)));
        for lacking in ["", "Name:\tx\nSigPnd:\t02\n", "ShdPnd:\t02\n", "SigPnd:\t02\nShdPnd:\t02"] {
            assert_eq!(scanned(lacking), None, "{lacking:?}");
        }
        // As long as a process with 65,536 groups makes it.
        let long = format!("Groups:\t{}\nSigPnd:\t0\nShdPnd:\t1\n", "4294967294 ".repeat(65_536));
        assert_eq!(scanned(&long), Some(Set::of(1)));
    }

    #[test]
    fn the_kernel_writes_what_is_read() {
        let status = std::fs::File::open("/proc/self/status").unwrap();
        assert!(of_status(status.as_raw_fd()).is_some());
        // At its end the file tells nothing.
        assert_eq!(of_status(-1), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(bytes: Vec<u8>) {
            let mut scan = Scan::default();
            for byte in &bytes {
                scan.push(*byte);
            }
            let _ = scan.found();
        }

        /// Each signal that a start meets reaches the command: from the group, or from retry.
        #[test]
        fn no_signal_is_lost_or_doubled(retrys: u64, childs: u64, dropped: u64) {
            let dropped = Set(dropped & childs);
            let (retrys, childs) = (Set(retrys), Set(childs));
            let Arrived { early, shared } = Arrived::sort(retrys, childs, dropped);
            let kept = childs.without(dropped);
            prop_assert!(early.in_both(shared).is_empty());
            prop_assert!(early.in_both(kept).is_empty());
            prop_assert_eq!(retrys.without(early.with(kept)), Set::default());
            prop_assert_eq!(shared.without(kept), Set::default());
        }
    }

    #[test]
    fn signals_have_their_bits() {
        assert_eq!((Set::of(1), Set::of(15), Set::of(64)), (Set(1), Set(1 << 14), Set(1 << 63)));
        for number in [0, -1, 65, i32::MIN, i32::MAX] {
            assert!(Set::of(number).is_empty());
        }
        let set = Set::of(2).with(Set::of(20)).to_sigset();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Name::SIGINT, Name::SIGTSTP]);
    }
}
