//! A command that stops without a stop key (SIGSTOP). At a terminal the whole job stops, so that
//! the shell shows its prompt again. If no shell looks after the job, the limits still hold.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::process::{self, alive, stopped, wait_until};
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::terminal::{CTRL_C, CTRL_Z};
use crate::support::{Log, Scratch, Terminal, retry};

/// A limit far below the waiting time of a stopped command.
const BOUNDED: Duration = Duration::from_secs(20);

/// A script that writes its pid to a log, stops itself, and exits with 7 after it continues.
fn stops_itself(scratch: &Scratch, log: &Log) -> String {
    let text = format!("{}; kill -STOP $$; {}; exit 7", log.echo("$$"), log.echo("on"));
    format!("sh {}", quoted(scratch.file("script", text)))
}

fn number(text: &str) -> i32 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

#[track_caller]
fn status(terminal: &mut Terminal) -> i32 {
    number(&terminal.command("echo $?"))
}

/// Asserts that the command has stopped itself in this terminal, that the shell shows its prompt,
/// and that `fg` continues all processes.
#[track_caller]
fn stopped_and_brought_back(terminal: &mut Terminal, log: &Log) {
    let command = number(&log.wait_for(1)[0]);
    terminal.expect_prompt();
    assert_eq!(terminal.foreground_pgid(), Some(terminal.leader()), "{}", terminal.transcript());
    let retry = process::parent_of(command).unwrap();
    assert!(stopped(command) && stopped(retry), "{}", terminal.transcript());
    terminal.line("fg");
    log.wait_for(2);
    terminal.expect_prompt();
    assert!(!alive(command) && !alive(retry));
    assert_eq!(status(terminal), 7, "{}", terminal.transcript());
}

#[test]
fn a_command_that_stops_itself_gives_the_shell_its_prompt() {
    need!("bash", "dash", "zsh");
    for mut terminal in [Terminal::shell(), Terminal::dash(), Terminal::zsh()] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        terminal.line(&format!("retry -n 1 --timeout 60 -- {}", stops_itself(&scratch, &log)));
        stopped_and_brought_back(&mut terminal, &log);
    }
}

#[test]
fn a_retry_in_a_retry_stops_with_it() {
    need!("bash");
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let mut terminal = Terminal::shell();
    terminal.line(&format!("retry -n 1 -- retry -n 1 -- {}", stops_itself(&scratch, &log)));
    stopped_and_brought_back(&mut terminal, &log);
}

#[test]
fn a_command_that_another_process_stops_gives_the_shell_its_prompt() {
    need!("bash");
    for continues in ["fg", "bg"] {
        let scratch = Scratch::new();
        let (log, go) = (scratch.log("log"), scratch.join("go"));
        let text = format!("{}; until [ -e {} ]; do sleep 0.02; done; exit 7", log.echo("$$"), quoted(&go));
        let mut terminal = Terminal::shell();
        terminal.line(&format!("retry -n 1 -- sh {}", quoted(scratch.file("script", text))));
        let command = number(&log.wait_for(1)[0]);
        let retry = terminal.wait_for_job("retry");
        for _ in 0..2 {
            process::send(command, Signal::SIGSTOP);
            terminal.expect_prompt();
            assert!(stopped(command) && stopped(retry), "{}", terminal.transcript());
            terminal.line(continues);
            // retry passes CONT on to the command, which would undo a stop that comes before.
            wait_until("both go on, and retry has nothing left to do", || {
                !stopped(command) && process::state(retry) == Some('S')
            });
            if continues == "bg" {
                terminal.expect_prompt();
                break;
            }
            assert_eq!(terminal.wait_for_job("retry"), retry);
        }
        scratch.file("go", "");
        if continues == "bg" {
            terminal.command("wait %1");
        } else {
            terminal.expect_prompt();
        }
        assert_eq!(status(&mut terminal), 7, "{}", terminal.transcript());
    }
}

#[test]
fn in_a_pipeline_the_stop_key_does_the_rest() {
    need!("bash");
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let mut terminal = Terminal::shell();
    terminal.line(&format!("retry -n 1 -- {} | cat", stops_itself(&scratch, &log)));
    let command = number(&log.wait_for(1)[0]);
    let retry = process::parent_of(command).unwrap();
    wait_until("both are stopped", || stopped(command) && stopped(retry));
    // The other member of the job runs on, as it would without retry.
    terminal.key(CTRL_Z);
    terminal.expect_prompt();
    terminal.line("fg");
    terminal.expect("gave up after 1 attempt");
    terminal.expect("exited 7");
    terminal.expect_prompt();
    assert_eq!(log.lines().len(), 2);
}

/// Starts a script that runs retry, and waits until the command has stopped itself. Returns the
/// pids of the shell, of retry and of the command.
#[track_caller]
fn in_a_script(terminal: &mut Terminal, scratch: &Scratch, log: &Log, options: &str) -> [i32; 3] {
    let text = format!("retry -n 1 {options} -- {}; exit $?", stops_itself(scratch, log));
    terminal.line(&format!("sh {}", quoted(scratch.file("outer", text))));
    let command = number(&log.wait_for(1)[0]);
    let retry = process::parent_of(command).unwrap();
    wait_until("the command is stopped", || stopped(command));
    wait_until("retry has seen it", || {
        !process::signals(retry, "ShdPnd:").contains(&Signal::SIGCHLD) && process::state(retry) == Some('S')
    });
    [process::parent_of(retry).unwrap(), retry, command]
}

#[test]
fn in_a_script_the_stop_key_stops_all_although_the_command_is_stopped_already() {
    need!("bash");
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let mut terminal = Terminal::shell();
    let all = in_a_script(&mut terminal, &scratch, &log, "");
    assert!(!stopped(all[1]), "{}", terminal.transcript());
    terminal.key(CTRL_Z);
    terminal.expect_prompt();
    // The terminal's shell waits only for its own child, so the test waits for the others.
    wait_until("all are stopped", || all.iter().all(|pid| stopped(*pid)));
    terminal.line("fg");
    log.wait_for(2);
    terminal.expect_prompt();
    assert_eq!(status(&mut terminal), 7, "{}", terminal.transcript());
}

#[test]
fn limits_hold_for_a_stopped_command_that_nobody_would_continue() {
    need!("bash");
    let scratch = Scratch::new();
    // There is no terminal.
    let run =
        retry().args(["-n", "1", "--timeout", "0.5"]).sh("kill -STOP $$; sleep 600").limit(BOUNDED).run();
    run.code(124).says(&["retry: sh: gave up after 1 attempt in {T}: timed out after 0.5s, ended by TERM"]);
    // retry runs in a script, whose shell sees no stop.
    let log = scratch.log("log");
    let mut terminal = Terminal::shell();
    in_a_script(&mut terminal, &scratch, &log, "--timeout 2");
    terminal.expect("timed out after 2s, ended by TERM");
    terminal.expect_prompt();
    assert_eq!(status(&mut terminal), 124);
    // retry leads the terminal's session, so its group is orphaned.
    let mut command = Command::new(BINARY);
    command.args(["-n", "1", "--timeout", "0.5", "--", "sh", "-c", "kill -STOP $$; sleep 600"]);
    let mut terminal = Terminal::open(command);
    terminal.expect("timed out after 0.5s, ended by TERM");
    assert_eq!(terminal.wait().code(), Some(124));
}

#[test]
fn the_time_of_the_stop_does_not_count() {
    need!("bash");
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let mut terminal = Terminal::shell();
    terminal.line(&format!("retry -n 1 --timeout 1 -- {}", stops_itself(&scratch, &log)));
    let command = number(&log.wait_for(1)[0]);
    terminal.expect_prompt();
    // The pause is longer than the timeout.
    std::thread::sleep(Duration::from_millis(1300));
    assert!(stopped(command));
    terminal.line("fg");
    terminal.expect_prompt();
    assert_eq!(status(&mut terminal), 7, "{}", terminal.transcript());
}

#[test]
fn the_interrupt_key_ends_a_job_that_was_brought_back() {
    need!("bash");
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let text = format!("{}; kill -STOP $$; {}; exec sleep 600", log.echo("$$"), log.echo("on"));
    let mut terminal = Terminal::shell();
    terminal.line(&format!("retry -- sh {}", quoted(scratch.file("script", text))));
    let command = number(&log.wait_for(1)[0]);
    terminal.expect_prompt();
    terminal.line("fg");
    log.wait_for(2);
    terminal.wait_for_job("retry");
    terminal.key(CTRL_C);
    terminal.expect_prompt();
    assert_eq!(status(&mut terminal), 130);
    assert!(!alive(command));
}
