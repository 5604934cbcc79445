//! An alarm that was set before retry started, and SIGALRM in every state. A wait for a lock
//! changes neither.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::process::wait_until;
use crate::support::records::Records;
use crate::support::{Retry, Running};

/// Holds the lock of a record like a busy run. A waiting run allows a busy run ten seconds.
fn locked(records: &Records, name: &str) -> File {
    let file = records.locked(name);
    file.write_all_at(format!("{:>10} {:>20}\n", std::process::id(), 1).as_bytes(), 0).unwrap();
    file
}

/// Records with a breaker that has seen one failure. A run locks the record after its command
/// fails.
fn failed() -> Records {
    let records = Records::new();
    run(&records).sh("exit 7").run().code(7);
    records
}

/// Records with a breaker that is due for a probe. A run locks the record before its command.
fn due() -> Records {
    let records = Records::new();
    records.retry().arg("--breaker-trip=b=1").run().code(0);
    records.age("b", Duration::from_secs(30));
    records
}

fn run(records: &Records) -> Retry {
    records.retry().args(["-n1", "--breaker", "b", "--breaker-failures", "9"])
}

/// Waits until the run waits for a lock.
fn wait_for_its_wait(running: &Running) {
    let lock = libc::SYS_fcntl.to_string();
    wait_until("it waits for the lock", || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", running.pid())).unwrap_or_default();
        running.ended() || call.split(' ').next() == Some(lock.as_str())
    });
}

#[test]
fn a_blocked_and_pending_alarm_does_not_end_a_wait_for_a_lock() {
    let records = failed();
    let lock = locked(&records, "b");
    let running = run(&records)
        .blocking(Signal::SIGALRM)
        .with(|command| {
            // SAFETY: the calls are async-signal-safe (signal-safety(7)), and the set is built in
            // place.
            unsafe {
                command.pre_exec(|| {
                    let alarm: nix::sys::signal::SigSet = [Signal::SIGALRM].into_iter().collect();
                    alarm.thread_block()?;
                    nix::sys::signal::raise(Signal::SIGALRM)?;
                    Ok(())
                });
            }
        })
        .sh("exit 7")
        .spawn();
    wait_for_its_wait(&running);
    drop(lock);
    running.wait_bounded().code(7);
    assert_eq!(records.failures("b"), 2);
}

/// Starts a run with an alarm that is due in this many milliseconds.
fn with_alarm(retry: Retry, milliseconds: i64) -> Retry {
    let none = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let due = libc::timeval { tv_sec: 0, tv_usec: milliseconds * 1000 };
    let timer = libc::itimerval { it_interval: none, it_value: due };
    retry.with(|command| {
        // SAFETY: setitimer(2) is a plain system call, and the closure owns the timer.
        unsafe {
            command.pre_exec(move || {
                match libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
    })
}

#[test]
fn an_inherited_alarm_comes_in_time_during_a_wait_for_a_lock() {
    let records = due();
    let lock = locked(&records, "b");
    let log = records.scratch.log("log");
    let run = with_alarm(run(&records), 700).sh(log.echo("start")).run();
    drop(lock);
    run.signal(Signal::SIGALRM);
    run.check(run.took < Duration::from_secs(5), "it was not put off");
    assert_eq!(log.lines(), [""; 0]);
}

#[test]
fn a_lock_is_waited_for_where_no_timer_is_left() {
    let records = failed();
    let lock = locked(&records, "b");
    let running = run(&records)
        .with(|command| {
            // SAFETY: setrlimit(2) is a plain system call.
            unsafe {
                command.pre_exec(|| {
                    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                    match libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const none) {
                        0 => Ok(()),
                        _ => Err(io::Error::last_os_error()),
                    }
                });
            }
        })
        .sh("exit 7")
        .spawn();
    let sleeps = [libc::SYS_nanosleep, libc::SYS_clock_nanosleep].map(|number| number.to_string());
    wait_until("it waits", || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", running.pid())).unwrap_or_default();
        running.ended() || sleeps.iter().any(|sleep| call.split(' ').next() == Some(sleep.as_str()))
    });
    drop(lock);
    running.wait_bounded().code(7);
    assert_eq!(records.failures("b"), 2);
}

#[test]
fn a_signal_ends_a_wait_for_a_lock_long_before_its_time() {
    let records = due();
    let _lock = locked(&records, "b");
    let running = run(&records).sh("exit 7").spawn();
    wait_for_its_wait(&running);
    running.signal(Signal::SIGTERM);
    let run = running.wait_bounded();
    run.signal(Signal::SIGTERM);
    run.check(run.took < Duration::from_secs(5), "soon");
}
