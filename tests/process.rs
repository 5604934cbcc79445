//! Processes and signals without a controlling terminal: the surroundings of the command, the
//! processes that it leaves behind, and the end of retry.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::needs;
use crate::support::process::{self, Doomed, Entry, wait_until};
use crate::support::retry::BINARY;
use crate::support::{Log, Retry, Run, Running, Scratch, retry};

/// The end of a script that runs until a signal ends it. Its sleeps are short, so that its traps
/// run soon.
const LOOP: &str = "while :; do sleep 0.02; done";

/// A wait that is longer than any test. If a test ends before that time, something else ended the
/// wait.
const LONG: Duration = Duration::from_mins(5);

fn number(text: &str) -> i32 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// Waits until a child of `pid` runs the program `name`, and returns the child.
#[track_caller]
fn child_named(pid: i32, name: &str) -> i32 {
    let mut found = None;
    wait_until(&format!("{name} as the child of {pid}"), || {
        found = process::children_of(pid).into_iter().filter_map(Entry::read).find(|e| e.name == name);
        found.is_some()
    });
    found.unwrap().pid
}

fn lines_of(log: &Log, word: &str) -> usize {
    log.lines().iter().filter(|line| *line == word).count()
}

/// Waits for the `n`th line that is equal to `word`.
#[track_caller]
fn wait_for_word(log: &Log, word: &str, n: usize) {
    wait_until(&format!("line {word} number {n}"), || lines_of(log, word) >= n);
}

/// The run `retry OPTIONS -- sh -c SCRIPT`, with the path of the log in `$LOG`.
fn scripted(log: &Log, options: &[&str], script: &str) -> Retry {
    retry().args(options).env("LOG", log.path()).sh(script)
}

// Signals to retry.

#[test]
fn a_signal_at_any_moment_after_the_start_ends_all_of_it() {
    for moment in 0..40 {
        let running = retry().args(["--", "sleep", "300"]).spawn();
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(250 * moment) {
            std::hint::spin_loop();
        }
        let pid = running.pid();
        running.signal(Signal::SIGTERM);
        let run = running.wait_bounded();
        run.signal(Signal::SIGTERM);
        assert_eq!(process::session(pid), Vec::<i32>::new(), "moment {moment}");
    }
}

#[test]
fn a_signal_during_an_attempt_reaches_the_command_each_time_and_retry_ends_as_it_does() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let name = signal.as_str().strip_prefix("SIG").unwrap();
        let script = format!(
            "ulimit -c 0; n=0
            trap 'n=$((n+1)); echo got >>\"$LOG\"; [ $n -lt 3 ] || {{ trap - {name}; kill -s {name} $$; }}' {name}
            echo start >>\"$LOG\"; {LOOP}"
        );
        let running = scripted(&log, &["-d", "0"], &script).spawn();
        wait_for_word(&log, "start", 1);
        for n in 1..=3 {
            assert_eq!(lines_of(&log, "got"), n - 1);
            assert!(!running.ended());
            running.signal(signal);
            wait_for_word(&log, "got", n);
        }
        running.wait_bounded().signal(signal);
        assert_eq!(log.lines(), ["start", "got", "got", "got"], "{signal}");
    }
}

#[test]
fn a_command_that_ends_by_a_status_of_its_own_gives_it_to_retry_and_no_attempt_follows() {
    for (status, expected) in [("3", 3), ("0", 0)] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = format!("trap 'exit {status}' TERM; echo start >>\"$LOG\"; {LOOP}");
        let running = scripted(&log, &["-d", "0"], &script).spawn();
        log.wait_for(1);
        running.signal(Signal::SIGTERM);
        running.wait_bounded().code(expected);
        assert_eq!(log.lines(), ["start"]);
    }
}

#[test]
fn a_command_that_ignores_the_signal_is_waited_for() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = "trap '' TERM; trap 'echo usr1 >>\"$LOG\"' USR1; echo start >>\"$LOG\"
        until [ -e \"$LOG.go\" ]; do sleep 0.02; done; exit 9";
    let running = scripted(&log, &["-d", "0", "--kill-after", "0.1"], script).spawn();
    log.wait_for(1);
    running.signal(Signal::SIGTERM);
    running.signal(Signal::SIGTERM);
    // retry passes USR1 on after both TERMs, so USR1 arrives last.
    running.signal(Signal::SIGUSR1);
    wait_for_word(&log, "usr1", 1);
    // This is three times the `--kill-after` time, after which KILL would follow a timeout.
    thread::sleep(Duration::from_millis(300));
    assert!(!running.ended());
    scratch.file("log.go", "");
    running.wait_bounded().code(9);
    assert_eq!(log.lines(), ["start", "usr1"]);
}

#[test]
fn a_signal_during_the_wait_ends_retry_by_it_at_once_with_a_line() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let running = retry().args(["-d", "300", "-j", "none", "--max-delay", "300", "--", "false"]).spawn();
        running.wait_for_stderr("; next in ");
        running.signal(signal);
        let name = signal.as_str().strip_prefix("SIG").unwrap();
        let run = running.wait_bounded();
        run.signal(signal).says(&[
            "retry: false: attempt 1 of 5 exited 1; next in {T}",
            &format!("retry: false: interrupted by {name} during the wait after attempt 1 of 5; exited 1"),
        ]);
        run.check(!run.status.core_dumped(), "no core");
    }
}

#[test]
fn a_signal_between_the_first_one_and_kill_at_a_timeout_reaches_the_command_too() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    // The timeout sends the first TERM, and the test sends the second TERM.
    let script = format!("n=0; trap 'n=$((n+1)); echo term >>\"$LOG\"; [ $n -lt 2 ] || exit 7' TERM; {LOOP}");
    let options = ["--timeout", "0.5", "--kill-after", "300", "-d", "0"];
    let running = scripted(&log, &options, &script).spawn();
    log.wait_for(1);
    running.signal(Signal::SIGTERM);
    running.wait_bounded().code(124);
    assert_eq!(log.lines(), ["term", "term"]);
}

#[test]
fn a_core_of_retrys_own_is_not_written_beside_the_commands() {
    let scratch = Scratch::new();
    let ended = |command: &str| {
        let script = format!("ulimit -c unlimited; exec {command}");
        Retry::new("sh").args(["-c", &script, BINARY]).dir(scratch.path()).spawn()
    };
    let direct = ended("sleep 300");
    wait_until("sleep", || Entry::read(direct.pid()).is_some_and(|e| e.name == "sleep"));
    direct.signal(Signal::SIGQUIT);
    if !direct.wait_bounded().status.core_dumped() {
        return;
    }
    let running = ended("\"$0\" -- sleep 300");
    child_named(running.pid(), "sleep");
    running.signal(Signal::SIGQUIT);
    let run = running.wait_bounded();
    run.signal(Signal::SIGQUIT);
    run.check(!run.status.core_dumped(), "no core");
}

#[test]
fn signals_for_the_command_alone_reach_it_each_time() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let mut script = String::new();
    let signals = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGCONT];
    for signal in signals {
        let name = signal.as_str().strip_prefix("SIG").unwrap();
        script += &format!("trap 'echo {signal} >>\"$LOG\"' {name}; ");
    }
    script += "trap 'exit 4' TERM; echo start >>\"$LOG\"; ";
    let running = scripted(&log, &["-d", "0"], &(script + LOOP)).spawn();
    log.wait_for(1);
    for n in 1..=3 {
        for signal in signals {
            assert_eq!(lines_of(&log, signal.as_str()), n - 1);
            running.signal(signal);
            wait_for_word(&log, signal.as_str(), n);
        }
    }
    running.signal(Signal::SIGTERM);
    running.wait_bounded().code(4).stderr_contains("exited 4");
    assert_eq!(log.lines().len(), 13);
}

#[test]
fn signals_for_the_command_alone_do_not_end_a_wait() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let running =
        scripted(&log, &["-d", "0.4", "-j", "none", "-n", "2"], "echo start >>\"$LOG\"; exit 1").spawn();
    running.wait_for_stderr("; next in ");
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGCONT] {
        running.signal(signal);
    }
    let run = running.wait_bounded();
    run.code(1).check(run.took >= Duration::from_millis(400), "the whole wait");
    assert_eq!(log.lines().len(), 2);
}

#[test]
fn an_ignored_signal_stays_ignored_during_an_attempt_and_during_a_wait() {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = "trap 'echo winch >>\"$LOG\"' WINCH; echo start >>\"$LOG\"
            until [ -e \"$LOG.go\" ]; do sleep 0.02; done; exit 5";
        let options = ["-d", "0.3", "-j", "none", "-n", "2"];
        let running = scripted(&log, &options, script).ignoring(signal).spawn();
        log.wait_for(1);
        running.signal(signal);
        // retry reads the signal with the lower number first. After WINCH has arrived, retry has
        // also dealt with the other signal.
        running.signal(Signal::SIGWINCH);
        wait_for_word(&log, "winch", 1);
        scratch.file("log.go", "");
        running.wait_for_stderr("; next in ");
        running.signal(signal);
        running.wait_bounded().code(5).says(&[
            "retry: sh: attempt 1 of 2 exited 5; next in {T}",
            "retry: sh: gave up after 2 attempts in {T}: exited 5",
        ]);
        assert_eq!(lines_of(&log, "start"), 2, "{signal}");
    }
}

// The surroundings of the command.

/// The ignored, blocked and caught signals in the output of `cat /proc/self/status`.
#[track_caller]
fn signal_sets(run: &Run) -> [u64; 3] {
    run.code(0);
    let text = String::from_utf8_lossy(&run.stdout);
    ["SigIgn:", "SigBlk:", "SigCgt:"].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    })
}

/// Options of retry, each with a prefix of the script that makes all attempts but the last fail.
const WAYS: [(&[&str], &str); 3] = [
    (&[], ""),
    (&["--timeout", "100", "-q"], ""),
    (&["-d", "0.01", "--deadline", "100", "-n", "3", "-qq"], "[ ${RETRY_ATTEMPT-3} = 3 ] || exit 1; "),
];

#[test]
fn dispositions_and_mask_are_the_ones_that_retry_was_started_with() {
    let all: Vec<Signal> =
        // A shell resets CHLD for itself, so another test covers CHLD.
        Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGCHLD)).collect();
    let cases: [(&[Signal], &[Signal]); 9] = [
        (&[], &[]),
        (&[Signal::SIGHUP], &[]),
        (&[Signal::SIGPIPE], &[]),
        (&[Signal::SIGINT, Signal::SIGQUIT], &[Signal::SIGPIPE]),
        (&[], &[Signal::SIGTERM, Signal::SIGCHLD]),
        (&[Signal::SIGTSTP, Signal::SIGTTOU], &[Signal::SIGTSTP, Signal::SIGUSR1]),
        (&[Signal::SIGCONT], &[Signal::SIGCHLD, Signal::SIGWINCH]),
        (&all, &[]),
        (&[], &all),
    ];
    for (ignored, blocked) in cases {
        let set = |signals: &[Signal]| signals.iter().fold(0, |set, s| set | 1u64 << (*s as u32 - 1));
        for (options, unless) in WAYS {
            let script = format!("{unless}exec cat /proc/self/status");
            let start = |program: Retry| {
                let program = program.args(["sh", "-c", &script]);
                let program = ignored.iter().fold(program, |program, s| program.ignoring(*s));
                blocked.iter().fold(program, |program, s| program.blocking(*s)).run()
            };
            let with = signal_sets(&start(retry().args(options).arg("--")));
            let without = signal_sets(&start(Retry::new("env")));
            assert_eq!(with, without, "ignored {ignored:?}, blocked {blocked:?}, {options:?}");
            // The process that started the tests may have ignored 32 and 33, as glibc's posix_spawn
            // does.
            let own = [without[0] & !(0b11 << 31), without[1], without[2]];
            assert_eq!(own, [set(ignored), set(blocked), 0], "the oracle itself");
        }
    }
}

#[test]
fn real_time_signals_are_handed_on_as_they_came() {
    for change in [
        &["--block-signal", "--ignore-signal=RTMIN+2"][..],
        &["--ignore-signal=RTMAX", "--block-signal=RTMIN"],
        &["--ignore-signal"],
        &["--default-signal"],
    ] {
        let env = || Retry::new("env").args(change);
        let without = signal_sets(&env().args(["cat", "/proc/self/status"]).run());
        let with = signal_sets(&env().args([BINARY, "cat", "/proc/self/status"]).run());
        assert_eq!(with, without, "{change:?}");
    }
}

#[test]
fn ignored_children_are_waited_for_and_stay_ignored_for_the_command() {
    // The test uses no shell here, because a shell resets CHLD for itself.
    let start = |program: Retry| {
        program.args(["grep", "SigIgn", "/proc/self/status"]).ignoring(Signal::SIGCHLD).run()
    };
    let direct = start(Retry::new("env")).stdout;
    let text = String::from_utf8(direct.clone()).unwrap();
    let set = u64::from_str_radix(text["SigIgn:".len()..].trim(), 16).unwrap();
    assert_ne!(set & 1 << (Signal::SIGCHLD as u32 - 1), 0, "the oracle itself");
    for options in [&["-n", "2"][..], &["-n", "2", "--timeout", "100"]] {
        let run = start(retry().args(options).args(["-d", "0", "-r", "success", "--"]));
        run.code(1).stdout(direct.repeat(2));
    }
    let timed = ["--timeout", "0.2", "-n", "1", "--", "sleep", "300"];
    retry().args(timed).ignoring(Signal::SIGCHLD).run().code(124);
}

#[test]
fn without_a_terminal_the_command_leads_a_group_of_its_own() {
    let running = retry().args(["--", "sleep", "300"]).spawn();
    let command = child_named(running.pid(), "sleep");
    assert_eq!(process::pgid(command), Some(command));
    assert_eq!(process::sid(command), Some(running.pid()));
    assert_eq!(process::pgid(running.pid()), Some(running.pid()));
}

#[test]
fn without_a_terminal_a_signal_reaches_the_whole_group() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = "sleep 300 & echo $! >>\"$LOG\"; wait";
    let running = scripted(&log, &[], script).spawn();
    let sleeper = Doomed::new(number(&log.wait_for(1)[0]));
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM);
    wait_until("the other member of the group is dead", || !sleeper.alive());
}

#[test]
fn the_command_has_every_descriptor_that_retry_was_given_and_no_other() {
    let scratch = Scratch::new();
    let given = scratch.file("given", "given\n");
    // The script uses neither a pipe nor a redirection, because the shell may create descriptors
    // for those.
    let list = "find /proc/$$/fd -mindepth 1 -fprintf $OUT '%f %l\\n'; exit 0";
    for redirections in [
        "",
        "9<\"$GIVEN\"",
        "3<\"$GIVEN\" 4>>\"$GIVEN\" 5<>\"$GIVEN\" 8<\"$GIVEN\"",
        "<&-",
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        "<&- 2>&- 7<\"$GIVEN\"",
    ] {
        for (options, unless) in WAYS {
            let script = format!("{unless}{list}");
            let seen = |name: &str, program: &[&str]| {
                let out = scratch.file(name, "");
                let outer = format!("exec <\"$GIVEN\" >/dev/null 2>&1 {redirections}; exec \"$@\"");
                let run =
                    Retry::new("sh").args(["-c", &outer, "sh"]).args(program).args(["sh", "-c", &script]);
                run.env("GIVEN", &given).env("OUT", &out).run().code(0);
                fs::read_to_string(out).unwrap()
            };
            let mut with = vec![BINARY, "-p", "none"];
            with.extend(options);
            with.push("--");
            let (with, without) = (seen("with", &with), seen("without", &["env"]));
            assert_eq!(with, without, "{redirections:?} {options:?}");
            assert_eq!(without.contains("9 "), redirections.starts_with('9'), "the oracle itself: {without}");
        }
    }
}

#[test]
fn a_lock_that_was_given_by_a_descriptor_is_held_by_the_command() {
    let scratch = Scratch::new();
    let lock = scratch.file("lock", "");
    // The inner flock asks through its own open description. It is refused while descriptor 9 has
    // the lock.
    let script = "exec 9<\"$LOCK\"; flock 9; exec \"$0\" -n 1 -- sh -c 'flock -n \"$LOCK\" true || flock -n 9 && exit 33'";
    Retry::new("sh").args(["-c", script, BINARY]).env("LOCK", lock).run().code(33);
}

// After a timeout, no process of the attempt survives.

/// The living processes that have this variable in their environment.
fn marked(mark: &str) -> Vec<Entry> {
    let has_mark = |entry: &Entry| {
        let environment = fs::read(format!("/proc/{}/environ", entry.pid)).unwrap_or_default();
        environment.split(|b| *b == 0).any(|variable| variable == mark.as_bytes())
    };
    process::table().into_iter().filter(|entry| entry.lives() && has_mark(entry)).collect()
}

/// Runs a command that writes `lines` lines to `$LOG` per attempt and never ends. After its
/// timeout, none of its processes may live when the next attempt begins or when retry has ended.
#[track_caller]
fn nothing_survives(what: &str, lines: usize, script: &str) {
    // On a busy machine an attempt may not write its lines within the shorter timeouts.
    let far_enough = |timeout| lines_after_timeouts(timeout, what, script) == 2 * lines;
    assert!(TIMEOUTS.into_iter().any(far_enough), "{what}: its lines are missing");
}

/// Timeouts that the test tries in turn, until one is long enough for all lines of an attempt.
const TIMEOUTS: [&str; 3] = ["1", "4", "16"];

/// Runs two attempts and returns the number of their lines. Fails if any process still lives.
#[track_caller]
fn lines_after_timeouts(timeout: &str, what: &str, script: &str) -> usize {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let late = scratch.log("late");
    // At its start an attempt looks for living processes that an earlier attempt listed.
    let whole = format!(
        "for p in $(cat \"$LOG\"); do grep -s \"^State:.[^ZX]\" /proc/$p/status >>\"$LATE\"; done
        {script}"
    );
    let mark = scratch.path().to_str().unwrap().to_owned();
    let options = ["--timeout", timeout, "--kill-after", "0.3", "-n", "2", "-d", "0"];
    let run = scripted(&log, &options, &whole).env("LATE", late.path()).env("MARK", &mark).run();
    let left = marked(&format!("MARK={mark}"));
    let guards: Vec<Doomed> = left
        .iter()
        .filter(|e| process::start_time(e.pid) == Some(e.start))
        .map(|e| Doomed::new(e.pid))
        .collect();
    run.code(124);
    run.check(left.is_empty(), &format!("{what}: nothing alive, but there is {left:?}"));
    drop(guards);
    assert_eq!(late.lines(), [""; 0], "{what}: alive when attempt 2 began");
    for line in log.lines() {
        assert!(!process::alive(number(&line)), "{what}");
    }
    log.lines().len()
}

#[test]
fn after_a_timeout_no_child_lives_that_ignores_the_signal() {
    nothing_survives("itself", 1, &format!("trap '' TERM; echo $$ >>\"$LOG\"; {LOOP}"));
    nothing_survives(
        "a child",
        1,
        "sh -c 'trap \"\" TERM; echo $$ >>\"$LOG\"; while :; do sleep 1; done' & wait",
    );
}

#[test]
fn after_a_timeout_no_grandchild_lives() {
    nothing_survives("plain", 2, "sh -c 'sleep 300 & echo $! $$ | tr \" \" \"\\n\" >>\"$LOG\"; wait' & wait");
    nothing_survives(
        "of a command that ends at once",
        1,
        "trap 'exit 0' TERM; sh -c 'trap \"\" TERM; echo $$ >>\"$LOG\"; while :; do sleep 1; done' & wait",
    );
}

#[test]
fn after_a_timeout_nothing_that_was_stopped_lives() {
    nothing_survives("a child", 1, "sleep 300 & echo $! >>\"$LOG\"; kill -STOP $!; wait");
    nothing_survives("itself", 1, "echo $$ >>\"$LOG\"; kill -STOP $$; sleep 300");
}

#[test]
fn after_a_timeout_no_daemon_lives() {
    nothing_survives("forked twice", 1, "(setsid sh -c 'sleep 300 & echo $! >>\"$LOG\"' &) ; exec sleep 300");
    nothing_survives(
        "that ignores the signal",
        1,
        "(setsid sh -c '(trap \"\" TERM; sh -c \"echo \\$\\$ >>\\\"\\$LOG\\\"; exec sleep 300\") &' &) ; exec sleep 300",
    );
}

#[test]
fn after_a_timeout_nothing_lives_that_was_started_because_of_the_signal() {
    nothing_survives(
        "in a session of its own",
        1,
        &format!("trap 'setsid sleep 300 & setsid sleep 300 &' TERM; echo $$ >>\"$LOG\"; {LOOP}"),
    );
}

#[test]
fn a_stopped_command_acts_on_the_signal_and_needs_no_kill() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = "trap 'echo term >>\"$LOG\"; exit 0' TERM; kill -STOP $$; exec sleep 300";
    let options = ["--timeout", "2", "--kill-after", "300", "-n", "1"];
    scripted(&log, &options, script).run().code(124);
    assert_eq!(log.lines(), ["term"]);
}

#[test]
fn a_timeout_spares_what_an_attempt_left_that_ended_by_itself() {
    for timeout in TIMEOUTS {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = "[ $RETRY_ATTEMPT = 2 ] && { echo $$ >>\"$LOG\"; exec sleep 300; }
        sleep 300 & echo $! >>\"$LOG\"
        setsid sh -c 'sleep 300 & echo $! >>\"$LOG\"; wait' &
        until [ $(wc -l <\"$LOG\") = 2 ]; do sleep 0.02; done; exit 1";
        let run = scripted(&log, &["--timeout", timeout, "-n", "2", "-d", "0"], script).run();
        run.code(124);
        let pids = log.lines();
        let far_enough = run.stderr.contains("attempt 1 of 2 exited 1;") && pids.len() == 3;
        if !far_enough && timeout != TIMEOUTS[2] {
            continue;
        }
        assert_eq!(pids.len(), 3, "{pids:?}\n{}", run.stderr);
        assert!(!process::alive(number(&pids[2])));
        for left in &pids[..2] {
            let left = Doomed::new(number(left));
            assert!(left.alive(), "{}", run.stderr);
        }
        return;
    }
}

#[test]
fn a_timeout_spares_what_lived_below_retry_before_it_was_retry() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = "sleep 300 & echo $! >>\"$LOG\"; exec \"$0\" --timeout 0.3 -n 1 -- sleep 300";
    Retry::new("sh").args(["-c", script, BINARY]).env("LOG", log.path()).run().code(124);
    let left = Doomed::new(number(&log.lines()[0]));
    assert!(left.alive());
}

#[test]
fn what_an_attempt_left_behind_is_reaped_when_it_ends() {
    // retry reaps while an attempt runs, and also while it waits.
    for (second, delay) in [("until [ -e \"$LOG.end\" ]; do sleep 0.02; done", "0"), ("exit", "300")] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = format!(
            "if [ $RETRY_ATTEMPT = 1 ]; then
                sh -c 'until [ -e \"$LOG.go\" ]; do sleep 0.02; done' & echo $! >>\"$LOG\"; exit 1
            fi; echo second >>\"$LOG\"; {second}"
        );
        let options = ["--timeout", "200", "-d", delay, "-j", "none", "--max-delay", "300"];
        let running = scripted(&log, &options, &script).spawn();
        let left = number(&log.wait_for(1)[0]);
        if delay == "0" {
            wait_for_word(&log, "second", 1);
        } else {
            running.wait_for_stderr("; next in ");
        }
        assert_eq!(process::parent_of(left), Some(running.pid()));
        scratch.file("log.go", "");
        wait_until("it is reaped", || process::state(left).is_none());
        assert!(!running.ended());
        scratch.file("log.end", "");
        if delay == "0" {
            running.wait_bounded().code(0);
        }
    }
}

#[test]
fn when_retry_is_killed_the_command_gets_the_signal() {
    let running = retry().args(["--", "sleep", "300"]).spawn();
    let command = Doomed::new(child_named(running.pid(), "sleep"));
    running.signal(Signal::SIGKILL);
    running.wait_bounded().signal(Signal::SIGKILL);
    wait_until("the command is dead", || !command.alive());

    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!("trap 'echo usr1 >>\"$LOG\"; exit' USR1; echo $$ >>\"$LOG\"; {LOOP}");
    let running = scripted(&log, &["--signal", "USR1"], &script).spawn();
    let command = Doomed::new(number(&log.wait_for(1)[0]));
    running.signal(Signal::SIGKILL);
    assert_eq!(log.wait_for(2)[1], "usr1");
    wait_until("the command has ended", || !command.alive());
}

#[test]
fn what_belongs_to_another_user_is_named_and_ends_the_run() {
    // SAFETY: geteuid only returns a number.
    if unsafe { libc::geteuid() } != 0 {
        needs::left_out("the rights of root");
        return;
    }
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let (binary, become_root) = (scratch.join("retry"), scratch.join("become-root"));
    let install = |mode: &str, from: &str, to: &Path| {
        assert!(Command::new("install").args(["-m", mode, from]).arg(to).status().unwrap().success());
    };
    install("755", BINARY, &binary);
    install("4755", "/usr/bin/setpriv", &become_root);
    let nobody = || Retry::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let to_root = ["--reuid=0", "--regid=0", "--clear-groups"];
    if nobody().arg(&become_root).args(to_root).args(["id", "-u"]).run().stdout != b"0\n" {
        needs::left_out("a file system that honours set-uid programs");
        return;
    }
    let script = "echo $$ >>\"$LOG\"; exec sleep 300";
    let running = nobody()
        .arg(&binary)
        .args(["--timeout", "1", "--kill-after", "0.2", "-d", "0", "--"])
        .arg(&become_root)
        .args(to_root)
        .args(["sh", "-c", script])
        .env("LOG", log.path())
        .limit(Duration::from_secs(30))
        .spawn();
    let pid = Doomed::new(number(&log.wait_for(1)[0]));
    let run = running.wait_bounded();
    run.code(124).stderr_contains("belongs to another user");
    run.stderr_contains(&format!(" {}", pid.pid()));
    assert!(pid.alive());
    assert_eq!(log.lines().len(), 1);
}

// retry as PID 1.

/// retry as PID 1 of a namespace, with its pid outside, or `None` if that is not permitted.
fn as_init(arguments: &[&str], log: &Log) -> Option<(Running, i32)> {
    let unshare = || Retry::new("unshare").args(["--pid", "--fork", "--mount-proc"]);
    if unshare().arg("true").run().status.code() != Some(0) {
        needs::left_out("the right to make a pid namespace");
        return None;
    }
    let running = unshare().arg(BINARY).args(arguments).env("LOG", log.path()).spawn();
    let init = child_named(running.pid(), "retry");
    Some((running, init))
}

#[test]
fn as_pid_1_a_signal_ends_the_wait_with_a_status_and_orphans_are_reaped() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = "(until [ -e \"$LOG.go\" ]; do sleep 0.02; done) & exit 1";
    let arguments = ["-d", "300", "-j", "none", "--max-delay", "300", "--", "sh", "-c", script];
    let Some((running, init)) = as_init(&arguments, &log) else { return };
    running.wait_for_stderr("; next in ");
    let orphan = process::children_of(init);
    assert_eq!(orphan.len(), 1);
    scratch.file("log.go", "");
    wait_until("the orphan is reaped", || process::children_of(init).is_empty());
    process::send(init, Signal::SIGTERM);
    running.wait_bounded().code(143).stderr_contains("interrupted by TERM during the wait after attempt 1");
}

#[test]
fn as_pid_1_a_signal_during_an_attempt_ends_it_with_a_status() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = "echo $$ >>\"$LOG\"; exec sleep 300";
    let Some((running, init)) = as_init(&["--", "sh", "-c", script], &log) else { return };
    assert_ne!(log.wait_for(1)[0], "1");
    process::send(init, Signal::SIGTERM);
    running.wait_bounded().code(143);
    assert_eq!(log.lines().len(), 1);
}

#[test]
fn as_pid_1_a_timeout_works() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = "trap '' TERM; echo start >>\"$LOG\"; while :; do sleep 1; done";
    let arguments = ["--timeout", "2", "--kill-after", "0.2", "-n", "2", "-d", "0", "--", "sh", "-c", script];
    let Some((running, _)) = as_init(&arguments, &log) else { return };
    running.wait_bounded().code(124);
    assert_eq!(log.lines(), ["start"; 2]);
}

// Many attempts.

#[test]
fn a_thousand_attempts_leave_no_descriptor_and_no_zombie() {
    // If each attempt lost a descriptor, the run would soon reach this limit.
    let script = "ulimit -n 32; exec \"$0\" --delay 0 --max 1000 -q -- /bin/false";
    let running = Retry::new("sh").args(["-c", script, BINARY]).limit(LONG).spawn();
    let pid = running.pid();
    let mut descriptors = BTreeSet::new();
    let mut children = 0;
    while !running.ended() {
        let count = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        descriptors.insert(count);
        let now = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children = children.max(now.split_whitespace().count());
        thread::sleep(Duration::from_millis(3));
    }
    running.wait_bounded().code(1).says(&["retry: false: gave up after 1000 attempts in {T}: exited 1"]);
    assert!(descriptors.last().is_some_and(|most| *most <= 10), "{descriptors:?}");
    assert!(children <= 1, "{children} children at a time");
}

// The search for the command, and its exit status.

#[test]
fn a_pipeline_whose_reader_leaves_ends_after_one_attempt() {
    for (before, status) in [("", "141"), ("trap '' PIPE; ", "1")] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = format!(
            "{before}\"$0\" -d 0 -- sh -c 'echo start >>\"$LOG\"; exec yes' | head -1; echo ${{PIPESTATUS[0]}}"
        );
        let run = Retry::new("bash").args(["-c", &script, BINARY]).env("LOG", log.path()).run();
        run.code(0).stdout(format!("y\n{status}\n"));
        assert_eq!(log.lines(), ["start"], "{}", run.stderr);
    }
}

#[test]
fn a_script_without_an_interpreter_line_runs_under_sh() {
    let scratch = Scratch::new();
    let path = scratch.script("plain", "echo \"$0|$1|$2|$RETRY_ATTEMPT\"; exit 6\n");
    let expected = format!("{}|a b||1\n{0}|a b||2\n", path.display());
    let options = ["-n", "2", "-d", "0", "--"];
    retry().args(options).arg(&path).arg("a b").run().code(6).stdout(&expected);
    let search = format!("/nowhere:{}:/bin:/usr/bin", scratch.path().display());
    retry().args(options).args(["plain", "a b"]).env("PATH", search).run().code(6).stdout(&expected);
}

#[test]
fn what_cannot_be_found_or_run_ends_with_127_or_126_after_one_attempt() {
    let scratch = Scratch::new();
    let (first, second) = (scratch.join("first"), scratch.join("second"));
    for directory in [&first, &second] {
        fs::create_dir(directory).unwrap();
    }
    scratch.file("first/tool", "#!/bin/sh\nexit 40\n");
    scratch.file("first/inert", "#!/bin/sh\nexit 41\n");
    scratch.script("second/tool", "#!/bin/sh\nexit 42\n");
    scratch.script("second/orphan", "#!/nowhere/interpreter\n");
    scratch.script("here", "#!/bin/sh\nexit 43\n");
    fs::create_dir(scratch.join("first/folder")).unwrap();
    let both = format!("{}:{}", first.display(), second.display());
    let run = |program: &str, path: Option<&str>| {
        let run = retry().args(["-d", "0", "-n", "2", "--", program]).dir(scratch.path());
        let run = match path {
            Some(path) => run.env("PATH", path),
            None => run.env_remove("PATH"),
        };
        run.run()
    };
    for (program, path, status) in [
        ("nowhere", Some(&*both), 127),
        ("./nowhere", Some(&both), 127),
        ("first/tool/x", Some(&both), 126),
        ("", Some(&both), 127),
        ("first/tool", Some(&both), 126),
        ("first", Some(&both), 127),
        ("./first", Some(&both), 126),
        ("folder", Some(&both), 126),
        ("inert", Some(&both), 126),
        ("orphan", Some(&both), 126),
        ("second/orphan", Some(&both), 126),
    ] {
        let run = run(program, path);
        // A hint may follow the line with the reason.
        let lines = run.messages().iter().filter(|line| !line.starts_with("retry: hint: ")).count();
        run.code(status).check(lines == 1, &format!("one line for {program:?}"));
        run.check(!run.stderr.contains("next in"), "no second attempt");
    }
    for (program, path, status) in [
        ("tool", Some(&*both), 42),
        ("here", Some(""), 43),
        ("here", Some(":/nowhere"), 43),
        ("here", Some("/nowhere:"), 43),
        ("./here", Some("/nowhere"), 43),
        ("false", None, 1),
    ] {
        run(program, path).code(status).stderr_contains("attempt 1 of 2 exited");
    }
    // A command may exit with one of these statuses itself, which makes no difference.
    for status in [126, 127] {
        let run = retry().args(["-d", "0"]).sh(format!("exit {status}")).run();
        run.code(status).check(run.messages().len() == 1, "one attempt");
    }
}

#[test]
fn every_exit_status_passes_through() {
    let script = "i=0; while [ $i -le 255 ]; do
            \"$0\" -qq -n 1 -- sh -c \"exit $i\"; s=$?; [ $s = $i ] || echo \"$i became $s\"; i=$((i+1))
        done; echo done";
    Retry::new("sh").args(["-c", script, BINARY]).run().code(0).stdout("done\n").silent();
    for status in [1, 2, 75, 100, 124, 125, 128, 130, 255] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = format!("echo start >>\"$LOG\"; exit {status}");
        scripted(&log, &["-n", "2", "-d", "0"], &script).run().code(status);
        assert_eq!(log.lines().len(), 2, "{status}");
    }
}

#[test]
fn death_by_a_signal_in_the_last_attempt_is_128_and_its_number() {
    let fatal = [libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE];
    let others = [libc::SIGSEGV, libc::SIGKILL, libc::SIGTERM, libc::SIGUSR1, libc::SIGRTMIN() + 1];
    for signal in fatal.into_iter().chain(others) {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = format!("ulimit -c 0; echo start >>\"$LOG\"; kill -{signal} $$; sleep 300");
        scripted(&log, &["-n", "2", "-d", "0"], &script).run().code(128 + signal);
        assert_eq!(log.lines().len(), if fatal.contains(&signal) { 1 } else { 2 }, "{signal}");
    }
}

#[test]
fn a_stop_of_the_command_by_somebody_else_is_not_retrys() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let running = retry().sh(format!("{}; sleep 0.2; exit 0", log.echo("$$"))).spawn();
    let command: i32 = log.wait_for(1)[0].parse().unwrap();
    process::send(command, Signal::SIGSTOP);
    wait_until("it is stopped", || process::stopped(command));
    assert!(!process::stopped(running.pid()));
    process::send(command, Signal::SIGCONT);
    running.wait_bounded().code(0);
}

#[test]
fn a_signal_to_retry_is_no_success_whatever_it_waits_for() {
    for (options, script, ends) in [
        (&["-u", "failure"][..], "echo on >>\"$LOG\"; exec sleep 300", None),
        (&["-u", "TERM"], "echo on >>\"$LOG\"; exec sleep 300", None),
        (&["--success-on", "any"], "echo on >>\"$LOG\"; exec sleep 300", None),
        (&["-u", "failure"], "trap 'exit 9' TERM; echo on >>\"$LOG\"; while :; do sleep 0.02; done", Some(9)),
    ] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let running = scripted(&log, options, script).spawn();
        wait_for_word(&log, "on", 1);
        running.signal(Signal::SIGTERM);
        let run = running.wait_bounded();
        match ends {
            None => run.signal(Signal::SIGTERM),
            Some(status) => run.code(status),
        };
        run.stderr_contains("interrupted by TERM during attempt 1");
        assert_eq!(log.lines(), ["on"], "{options:?}");
    }
}

#[test]
fn what_proc_does_not_show_keeps_the_next_attempt_from_starting() {
    // The new pid namespace still has the /proc of the outer namespace.
    let unshare = || Retry::new("unshare").args(["--pid", "--fork", "setsid", "-w"]);
    if unshare().arg("true").run().status.code() != Some(0) {
        needs::left_out("the right to make a pid namespace");
        return;
    }
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = "echo start >>\"$LOG\"; setsid sleep 311 & exec sleep 311";
    let options = ["-n", "2", "-d", "0", "--timeout", "5", "--kill-after", "0.2", "--", "sh", "-c", script];
    let run = unshare().arg(BINARY).args(options).env("LOG", log.path()).run();
    run.code(124)
        .says(&["retry: sh: not retried: timed out after 5s, ended by KILL; still alive: a process \
                         (/proc does not show which); end all processes of the attempt before you run the command again"]);
    assert_eq!(log.lines(), ["start"]);
}

#[test]
fn a_background_process_of_an_earlier_attempt_survives_a_later_ones_timeout() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    // While the second attempt runs, the background process starts another process in a new
    // session, and stays.
    let script = "if [ $RETRY_ATTEMPT = 1 ]; then
            sh -c 'echo $$; until [ -e \"$LOG.go\" ]; do sleep 0.02; done; setsid sleep 300 & echo $!; wait' >>\"$LOG\" &
            until [ -s \"$LOG\" ]; do sleep 0.02; done; exit 1
        fi
        >\"$LOG.go\"; until [ $(wc -l <\"$LOG\") -ge 2 ]; do sleep 0.02; done; exec sleep 300";
    let run = scripted(&log, &["-n", "2", "-d", "0", "--timeout", "4"], script).run();
    let left: Vec<Doomed> = log.lines().iter().map(|line| Doomed::new(number(line))).collect();
    run.code(124);
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(Doomed::alive), "{left:?}");
}

#[test]
fn only_the_time_before_the_limit_is_healthy() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!("trap '' TERM; echo start >>\"$LOG\"; {LOOP}");
    let options = ["-n", "2", "-d", "0", "--timeout", "1", "--kill-after", "2", "--healthy-after", "2"];
    let run = scripted(&log, &options, &script).run();
    run.code(124);
    assert_eq!(log.lines(), ["start"; 2], "both count");
}

#[test]
fn no_attempt_begins_past_the_deadline() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let options = ["--deadline", "3", "-d", "2", "-j", "none"];
    let running = scripted(&log, &options, "echo start >>\"$LOG\"; exit 7").spawn();
    running.wait_for_stderr("next in 2s");
    running.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_secs(4));
    running.signal(Signal::SIGCONT);
    let run = running.wait_bounded();
    run.code(7).says(&[
        "retry: sh: attempt 1 exited 7; next in 2s",
        "retry: sh: gave up after 1 attempt in {T}: the deadline of 3s has passed; exited 7",
    ]);
    assert_eq!(log.lines(), ["start"]);
    // The deadline also holds before the first attempt.
    let options = ["--splay", "2.9", "--deadline", "3", "--seed", "2"];
    let running = scripted(&log, &options, "echo start >>\"$LOG\"; exit 7").spawn();
    running.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_secs(4));
    running.signal(Signal::SIGCONT);
    let run = running.wait_bounded();
    if run.status.code() == Some(124) {
        run.says(&["retry: sh: gave up before the first attempt: the deadline of 3s has passed"]);
        assert_eq!(log.lines(), ["start"]);
    }
}
