//! Reads the process table from /proc (proc(5)) as an oracle, and waits for changes in it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The longest wait for any event that a test expects.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

const POLL: Duration = Duration::from_millis(5);

/// One line of the process table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The process id.
    pub(crate) pid: i32,
    /// The command's name, as in `comm`.
    pub(crate) name: String,
    /// `R` running, `S` sleeping, `D` uninterruptible, `T` stopped, `t` traced, `Z` zombie, `X`
    /// dead.
    pub(crate) state: char,
    /// The parent's process id.
    pub(crate) ppid: i32,
    /// The process group.
    pub(crate) pgid: i32,
    /// The session.
    pub(crate) sid: i32,
    /// The start time in ticks since boot. Pid and start time together identify a process.
    pub(crate) start: u64,
}

impl Entry {
    /// The entry of `pid`, which may be a zombie, or `None` if there is no such process.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name may contain spaces and parentheses, so it ends at the last parenthesis.
        let (head, tail) = stat.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        Some(Self {
            pid,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            ppid: fields.get(1)?.parse().ok()?,
            pgid: fields.get(2)?.parse().ok()?,
            sid: fields.get(3)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    /// Tells whether the process is neither a zombie nor dead.
    pub(crate) fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// All readable entries of the table, including zombies.
pub(crate) fn table() -> Vec<Entry> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(Entry::read).collect()
}

/// Tells whether `pid` runs, sleeps or is stopped. A zombie is not alive.
pub(crate) fn alive(pid: i32) -> bool {
    Entry::read(pid).is_some_and(|e| e.lives())
}

/// Tells whether `pid` has ended but has not been reaped.
pub(crate) fn zombie(pid: i32) -> bool {
    state(pid) == Some('Z')
}

/// The state's letter: `R`, `S`, `D`, `T` stopped, `t` traced, `Z` zombie.
pub(crate) fn state(pid: i32) -> Option<char> {
    Entry::read(pid).map(|e| e.state)
}

/// The signals in a line of `/proc/PID/status` (proc_pid_status(5)), for example `SigBlk:` or
/// `ShdPnd:`. The result is empty if there is no such process.
pub(crate) fn signals(pid: i32, line: &str) -> Vec<Signal> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|l| u64::from_str_radix(l.strip_prefix(line)?.trim(), 16).ok());
    Signal::iterator().filter(|signal| mask.unwrap_or(0) & (1 << (*signal as u64 - 1)) != 0).collect()
}

/// Tells whether `pid` is stopped, by a signal or by a tracer.
pub(crate) fn stopped(pid: i32) -> bool {
    matches!(state(pid), Some('T' | 't'))
}

/// Ticks from boot to the start of `pid`.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    Entry::read(pid).map(|e| e.start)
}

/// The process group of `pid`.
pub(crate) fn pgid(pid: i32) -> Option<i32> {
    Entry::read(pid).map(|e| e.pgid)
}

/// The session of `pid`.
pub(crate) fn sid(pid: i32) -> Option<i32> {
    Entry::read(pid).map(|e| e.sid)
}

/// The parent of `pid`.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    Entry::read(pid).map(|e| e.ppid)
}

/// The children of `pid`, including zombies.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    table().iter().filter(|e| e.ppid == pid).map(|e| e.pid).collect()
}

/// All descendants of `pid`, nearest first, including zombies.
pub(crate) fn descendants_of(pid: i32) -> Vec<i32> {
    let table = table();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(table.iter().filter(|e| e.ppid == parent).map(|e| e.pid));
        next += 1;
    }
    found.split_off(1)
}

/// The living members of the session `sid`.
pub(crate) fn session(sid: i32) -> Vec<i32> {
    table().iter().filter(|e| e.sid == sid && e.lives()).map(|e| e.pid).collect()
}

/// Sends `signal`, and tells whether the process exists.
pub(crate) fn send(pid: i32, signal: Signal) -> bool {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) => true,
        Err(Errno::ESRCH) => false,
        Err(error) => panic!("{signal} cannot be sent to {pid}: {error}"),
    }
}

/// Kills `leader`, all its descendants and all members of its session, until none of them lives.
pub(crate) fn kill_tree(leader: i32) {
    let signal = |pid, signal| {
        let _ = kill(Pid::from_raw(pid), signal);
    };
    // A stopped leader starts no more processes, and it still adopts orphans while we collect them.
    signal(leader, Signal::SIGSTOP);
    let end = Instant::now() + PATIENCE;
    loop {
        let mut doomed = descendants_of(leader);
        doomed.extend(session(leader));
        doomed.retain(|&pid| pid != leader && alive(pid));
        for &pid in &doomed {
            signal(pid, Signal::SIGKILL);
        }
        // A process that the leader traces dies when the leader does.
        if doomed.iter().all(|&pid| is_traced_by(pid, leader)) || Instant::now() > end {
            break;
        }
        thread::sleep(POLL);
    }
    signal(leader, Signal::SIGKILL);
}

/// Tells whether `tracer` traces the process `pid` (proc_pid_status(5)).
fn is_traced_by(pid: i32, tracer: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() == tracer.to_string()))
}

/// Waits until `condition` holds, and panics with `what` if it does not within [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
        thread::sleep(POLL);
    }
}

/// A process that a test may leave behind. Drop kills it, unless another process has its pid by
/// then.
#[derive(Debug)]
pub(crate) struct Doomed {
    pid: i32,
    start: u64,
}

impl Doomed {
    /// Takes charge of `pid`, which must exist.
    #[track_caller]
    pub(crate) fn new(pid: i32) -> Self {
        let start = start_time(pid).unwrap_or_else(|| panic!("there is no process {pid}"));
        Self { pid, start }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Tells whether this process lives. Another process with the same pid does not count.
    pub(crate) fn alive(&self) -> bool {
        Entry::read(self.pid).is_some_and(|e| e.start == self.start && e.lives())
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if self.alive() {
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }
}

/// Threads that keep processors busy until they are dropped.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `threads` busy threads.
    #[must_use]
    pub(crate) fn new(threads: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |stop: Arc<AtomicBool>| {
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..threads).map(|_| spin(Arc::clone(&stop))).collect();
        Self { stop, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

mod tests {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn pid(child: &Child) -> i32 {
        child.id().try_into().unwrap()
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").process_group(0).spawn().unwrap()
    }

    #[test]
    fn a_process_is_alive_then_stopped_then_a_zombie_then_gone() {
        let mut child = sleeper();
        let pid = pid(&child);
        assert!(alive(pid) && !zombie(pid));
        assert_eq!((pgid(pid), parent_of(pid)), (Some(pid), Some(std::process::id().try_into().unwrap())));
        assert_eq!(sid(pid), sid(std::process::id().try_into().unwrap()));
        assert!(start_time(pid) >= start_time(std::process::id().try_into().unwrap()));
        send(pid, Signal::SIGSTOP);
        wait_until("it is stopped", || stopped(pid));
        assert!(alive(pid));
        send(pid, Signal::SIGKILL);
        wait_until("it is a zombie", || zombie(pid));
        assert!(!alive(pid));
        child.wait().unwrap();
        assert_eq!((state(pid), start_time(pid)), (None, None));
        assert!(!send(pid, Signal::SIGTERM));
    }

    #[test]
    fn a_tree_is_seen_and_killed_whole_where_it_left_the_session_too() {
        let script = "sleep 600 & setsid sh -c 'sleep 600 & echo $!; wait' & wait";
        let mut top = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = top.stdout.take().unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            out.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        let deepest: i32 = String::from_utf8(line).unwrap().trim().parse().unwrap();
        let top_pid = pid(&top);
        wait_until("both children are there", || children_of(top_pid).len() == 2);
        let all: Vec<Doomed> = descendants_of(top_pid).into_iter().map(Doomed::new).collect();
        assert_eq!(all.len(), 3, "{:?}", table());
        assert!(all.iter().any(|p| p.pid() == deepest));
        assert!(all.iter().any(|p| sid(p.pid()) == Some(p.pid())));
        kill_tree(top_pid);
        top.wait().unwrap();
        wait_until("all of it is dead", || !all.iter().any(Doomed::alive));
    }

    #[test]
    fn what_is_doomed_dies_with_its_guard() {
        let mut child = sleeper();
        let guard = Doomed::new(pid(&child));
        assert!(guard.alive());
        drop(guard);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_load_ends() {
        drop(Load::new(2));
    }
}
