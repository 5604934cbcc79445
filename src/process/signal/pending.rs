//! Which signals are pending: they have arrived, are blocked, and nobody has read them.
//!
//! sigpending(2) tells only about the process that asks. The child of a start also has to know what
//! is pending for retry, and reads that from retry's /proc/PID/status (proc_pid_status(5)).

use super::disposition::is_ignored;
use super::set::SignalSet;

/// The signals that are pending for this process (sigpending(2)). Async-signal-safe.
pub(in crate::process) fn own() -> SignalSet {
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigpending(2) fills in the set. All zeros are a set too, in case the call fails.
    let pending = unsafe {
        libc::sigpending(pending.as_mut_ptr());
        pending.assume_init()
    };
    // SAFETY: sigismember(3) only reads the set.
    let is_member = |signal: &i32| unsafe { libc::sigismember(&raw const pending, *signal) == 1 };
    let members = (1..=64).filter(is_member);
    members.fold(SignalSet::default(), |set, signal| set.union(SignalSet::of(signal)))
}

/// Whether an INT, TERM, HUP or QUIT is pending that retry does not ignore.
pub(crate) fn end_is_pending() -> bool {
    let pending = own();
    let ends = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
    ends.into_iter().any(|signal| pending.contains(signal) && !is_ignored(signal))
}

/// The signals that are pending for another process. `fd` is open at the beginning of the `status`
/// file of that process. None if the file does not tell. Async-signal-safe.
pub(in crate::process) fn of_status(fd: i32) -> Option<SignalSet> {
    let mut scan = Scan::default();
    // A usual file fits in, and the buffer is small beside the stack of a child that starts.
    let mut part = [0; 2048];
    loop {
        // SAFETY: read(2) writes at most as many bytes as the buffer has.
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

/// Length of `SigPnd:` (pending for the thread) and `ShdPnd:` (pending for the process).
const NAME: usize = 7;

/// Looks for the pending signals in the text of a `status` file, which comes in pieces of any size.
#[derive(Debug, Clone, Copy, Default)]
struct Scan {
    /// The first bytes of the line.
    name: [u8; NAME],
    /// The length of the line so far.
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

    fn found(&self) -> Option<SignalSet> {
        Some(SignalSet(self.thread? | self.process?))
    }
}

/// The signals that arrived for retry while the command was starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::process) struct DuringStart {
    /// The command did not get these, so retry has to pass them on.
    pub(in crate::process) missed: SignalSet,
    /// The command got these too, so retry must not pass them on.
    pub(in crate::process) delivered: SignalSet,
}

impl DuringStart {
    /// `retrys` was pending for retry before `childs` was pending for the child. Later the child
    /// dropped `dropped`.
    ///
    /// A signal that is in `retrys` and not in `childs` is older than the child, or was sent to
    /// retry alone. A signal that is in both was sent to the group. A signal that came between the
    /// two looks is in `childs` alone or in neither, and a later signal is in neither. In these two
    /// cases the command has got whatever was sent to it.
    pub(in crate::process) fn sort(retrys: SignalSet, childs: SignalSet, dropped: SignalSet) -> Self {
        Self {
            missed: retrys.difference(childs).union(dropped),
            delivered: retrys.intersection(childs).difference(dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use proptest::prelude::*;

    use super::*;

    fn scanned(text: &str) -> Option<SignalSet> {
        let mut scan = Scan::default();
        for byte in text.bytes() {
            scan.push(byte);
        }
        scan.found()
    }

    #[test]
    fn both_lines_of_a_status_file_count() {
        let text = "Name:\tSigPnd:\t1\nGroups:\t0 1 2\nSigPnd:\t0000000000000002\nShdPnd:\t8000000000004000\nSigBlk:\tff\n";
        assert_eq!(scanned(text), Some(SignalSet(0x8000_0000_0000_4002)));
        for lacking in ["", "Name:\tx\nSigPnd:\t02\n", "ShdPnd:\t02\n", "SigPnd:\t02\nShdPnd:\t02"] {
            assert_eq!(scanned(lacking), None, "{lacking:?}");
        }
        // A process with 65,536 groups, the most that Linux allows, has a line of this length.
        let long = format!("Groups:\t{}\nSigPnd:\t0\nShdPnd:\t1\n", "4294967294 ".repeat(65_536));
        assert_eq!(scanned(&long), Some(SignalSet::of(1)));
    }

    #[test]
    fn the_file_that_the_kernel_writes_is_understood() {
        let status = std::fs::File::open("/proc/self/status").unwrap();
        assert!(of_status(status.as_raw_fd()).is_some());
        assert_eq!(of_status(-1), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(bytes: Vec<u8>) {
            let mut scan = Scan::default();
            for byte in &bytes {
                scan.push(*byte);
            }
            let _ = scan.found();
        }

        /// Each signal of a start reaches the command exactly once: from the group, or from retry.
        #[test]
        fn no_signal_is_lost_or_doubled(retrys: u64, childs: u64, dropped: u64) {
            let dropped = SignalSet(dropped & childs);
            let (retrys, childs) = (SignalSet(retrys), SignalSet(childs));
            let DuringStart { missed, delivered } = DuringStart::sort(retrys, childs, dropped);
            let kept = childs.difference(dropped);
            prop_assert!(missed.intersection(delivered).is_empty());
            prop_assert!(missed.intersection(kept).is_empty());
            prop_assert_eq!(retrys.difference(missed.union(kept)), SignalSet::default());
            prop_assert_eq!(delivered.difference(kept), SignalSet::default());
        }
    }
}
