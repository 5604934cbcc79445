//! Job control on a real terminal, under a shell that has it: as without retry.

use std::fs;

use crate::support::process::{stopped, wait_until};
use crate::support::{Log, Scratch, Terminal};

/// A script as a file, which says where to append lines as `$LOG` and its pid in the first one.
fn script(scratch: &Scratch, log: &Log, rest: &str) -> String {
    let path = scratch.path().join("job.sh");
    fs::write(&path, format!("LOG={}\necho $$ >>$LOG\n{rest}\n", log.path().display())).unwrap();
    format!("sh {}", path.display())
}

fn pid(log: &Log) -> i32 {
    log.wait_for(1)[0].parse().unwrap()
}

#[test]
fn an_interrupt_ends_both_and_the_shell_sees_it() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let job = script(
        &scratch,
        &log,
        "trap 'echo int >>$LOG; exit 5' INT\necho ready >>$LOG\nwhile :; do sleep 0.02; done",
    );
    let mut terminal = Terminal::shell();
    let before = terminal.termios();
    terminal.line(&format!("retry -d 0 {job}"));
    log.wait_for(2);
    terminal.key(b"\x03");
    terminal.expect("interrupted by INT during attempt 1 of 5; exited 5");
    terminal.expect_prompt();
    // Once, although the terminal sends it to retry as well.
    assert_eq!(log.lines()[1..], ["ready", "int"]);
    terminal.line("retry -d 0 sleep 300");
    terminal.wait_for_job("retry");
    wait_until("sleep is there", || {
        let group = terminal.foreground_pgid();
        crate::support::process::table().iter().any(|e| Some(e.pgid) == group && e.name == "sleep")
    });
    terminal.key(b"\x03");
    terminal.expect_prompt();
    assert!(terminal.command("echo status $((0+$?))").contains("status 130"));
    assert_eq!(terminal.termios(), before);
}

#[test]
fn a_stopped_job_goes_on_in_the_foreground_and_its_clock_stood_still() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let job = script(&scratch, &log, "mkfifo $LOG.go; echo ready >>$LOG; read x <$LOG.go; echo done >>$LOG");
    let mut terminal = Terminal::shell();
    terminal.line(&format!("retry -n 1 --timeout 4 {job}"));
    let command = pid(&log);
    // From here on it starts nothing: a shell that is in vfork(2) does not stop.
    log.wait_for(2);
    terminal.key(b"\x1a");
    terminal.expect("Stopped");
    terminal.expect_prompt();
    assert!(stopped(command));
    // Longer than the timeout.
    let mut text = terminal.command("sleep 5; echo slept");
    assert!(text.contains("slept"), "{text}");
    terminal.line("fg");
    wait_until("the command goes on", || !stopped(command));
    fs::write(format!("{}.go", log.path().display()), "").unwrap();
    terminal.expect_prompt();
    text = terminal.command("echo status $((0+$?))");
    assert!(text.contains("status 0"), "{text}");
    assert_eq!(log.lines()[1..], ["ready", "done"]);
}

#[test]
fn a_command_in_the_background_that_reads_the_terminal_stops_until_it_is_brought_to_the_front() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let job = script(&scratch, &log, "read x; echo \"got $x\" >>$LOG");
    let mut terminal = Terminal::shell();
    terminal.command(&format!("retry {job} &"));
    let command = pid(&log);
    wait_until("it is stopped", || stopped(command));
    terminal.line("fg");
    wait_until("it goes on", || !stopped(command));
    terminal.line("hello");
    assert_eq!(log.wait_for(2)[1], "got hello");
    terminal.expect_prompt();
}

#[test]
fn a_wait_can_be_stopped_and_go_on() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let job = script(&scratch, &log, "[ $RETRY_ATTEMPT = 2 ]");
    let mut terminal = Terminal::shell();
    terminal.line(&format!("retry -d 1 -j none {job}"));
    terminal.expect("next in 1s");
    terminal.key(b"\x1a");
    terminal.expect("Stopped");
    terminal.expect_prompt();
    terminal.line("fg");
    log.wait_for(2);
    terminal.expect("succeeded at attempt 2 of 5");
    terminal.expect_prompt();
}

#[test]
fn a_command_that_ignores_the_stop_is_not_left_behind() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let job =
        script(&scratch, &log, "trap '' TSTP\necho ready >>$LOG\nuntil [ -e $LOG.go ]; do sleep 0.02; done");
    let mut terminal = Terminal::shell();
    terminal.line(&format!("retry {job}; echo en''ded"));
    log.wait_for(2);
    terminal.key(b"\x1a");
    fs::write(format!("{}.go", log.path().display()), "").unwrap();
    let text = terminal.expect("ended");
    assert!(!text.contains("Stopped"), "{text}");
}

#[test]
fn a_signal_from_elsewhere_reaches_the_command_once() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let job = script(
        &scratch,
        &log,
        "trap 'echo term >>$LOG; exit 6' TERM\necho ready >>$LOG\nwhile :; do sleep 0.02; done",
    );
    let mut terminal = Terminal::shell();
    terminal.line(&format!("retry {job}"));
    log.wait_for(2);
    let retry = crate::support::process::parent_of(pid(&log)).unwrap();
    crate::support::process::send(retry, nix::sys::signal::Signal::SIGTERM);
    terminal.expect("interrupted by TERM during attempt 1 of 5; exited 6");
    terminal.expect_prompt();
    assert_eq!(log.lines()[1..], ["ready", "term"]);
}

#[test]
fn the_command_shares_the_terminal_with_a_pipeline() {
    let mut terminal = Terminal::shell();
    let text =
        terminal.command("retry -- sh -c 'test -t 2 && ps -o pgid= -p $$ -p $PPID | sort -u | wc -l' | cat");
    assert!(text.trim().ends_with('1'), "{text}");
    let text = terminal.command("retry -- seq 100000 | head -n 1; echo ${PIPESTATUS[0]}");
    assert!(text.contains("141") && !text.contains("retry:"), "{text}");
}

#[test]
fn a_hangup_reaches_the_command_of_a_retry_that_leads_the_session() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_retry"));
    command.args(["sh", "-c", &format!("echo $$ >>{}; exec sleep 300", log.path().display())]);
    let mut terminal = Terminal::open(command);
    let sleep = pid(&log);
    terminal.hang_up();
    wait_until("the command is gone", || !crate::support::process::alive(sleep));
}
