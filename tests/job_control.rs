//! At a terminal, keys, job control, reads from the terminal and pipelines work as without retry.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::process::{self, Entry, alive, stopped, wait_until};
use crate::support::retry::BINARY;
use crate::support::scratch::quoted;
use crate::support::terminal::{CTRL_BACKSLASH, CTRL_C, CTRL_Z};
use crate::support::{Log, Scratch, Terminal};

/// The end of a script that runs until a signal ends it. Its sleeps are short, so that its traps
/// run soon.
const LOOP: &str = "while :; do sleep 0.02; done";

/// A line of a script that waits for the test without a child process. If ^Z stopped a child
/// between vfork(2) and its exec, the shell itself could not stop, with or without retry.
const GATE: &str = "read go <\"$LOG.gate\"";

fn number(text: &str) -> i32 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn count(log: &Log, word: &str) -> usize {
    log.lines().iter().filter(|line| *line == word).count()
}

#[track_caller]
fn wait_for_word(log: &Log, word: &str, n: usize) {
    wait_until(&format!("line {word} number {n}"), || count(log, word) >= n);
}

/// A shell at a terminal, a directory, and a log whose path is `$LOG` for the commands of the
/// shell.
struct Desk {
    scratch: Scratch,
    log: Log,
    terminal: Terminal,
    gate: File,
}

impl Desk {
    #[track_caller]
    fn new() -> Self {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let mut terminal = Terminal::shell();
        terminal.command(&format!("export LOG={}; ulimit -c 0", quoted(log.path())));
        let gate = scratch.join("log.gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // The open does not block, because it opens the FIFO for reading and writing.
        let gate = OpenOptions::new().read(true).write(true).open(gate).unwrap();
        Self { scratch, log, terminal, gate }
    }

    /// Writes a script for sh, and returns the words that run it.
    fn script(&self, text: &str) -> String {
        format!("sh {}", quoted(self.scratch.file("script", text)))
    }

    /// Starts `retry OPTIONS -- sh` with a script that first writes its pid to the log. Waits for
    /// that line, and returns the pids of retry and of the command.
    #[track_caller]
    fn start(&mut self, options: &str, script: &str) -> (i32, i32) {
        let script = self.script(&format!("echo $$ >>\"$LOG\"\n{script}"));
        self.terminal.line(&format!("retry {options} -- {script}"));
        let command = number(&self.log.wait_for(1)[0]);
        let job = self.terminal.wait_for_job("retry");
        assert_eq!(process::parent_of(command), Some(job));
        (job, command)
    }

    /// Lets a script that waits at its [`GATE`] continue.
    fn open_gate(&mut self) {
        self.gate.write_all(b"\n").unwrap();
    }

    /// The exit status of the last command.
    #[track_caller]
    fn status(&mut self) -> i32 {
        number(&self.terminal.command("echo $?"))
    }

    /// Types ^Z, and waits until the shell has the terminal and all of these processes are stopped.
    #[track_caller]
    fn suspend(&mut self, stops: &[i32]) {
        self.terminal.key(CTRL_Z);
        self.terminal.expect("Stopped");
        self.terminal.expect_prompt();
        for pid in stops {
            assert!(stopped(*pid), "{pid} is not stopped\n{}", self.terminal.transcript());
        }
        assert_eq!(self.terminal.foreground_pgid(), Some(self.terminal.leader()));
    }

    /// Types `fg`, and waits until all of these processes continue.
    #[track_caller]
    fn foreground(&mut self, go_on: &[i32]) {
        self.terminal.line("fg");
        for pid in go_on {
            wait_until("it goes on", || !stopped(*pid));
        }
    }
}

#[test]
fn at_a_terminal_the_command_shares_the_process_group() {
    let mut desk = Desk::new();
    let (job, command) = desk.start("", "exec sleep 300");
    assert_eq!(process::pgid(command), Some(job));
    assert_eq!(desk.terminal.foreground_pgid(), Some(job));
}

#[test]
fn the_interrupt_key_ends_both_and_the_shell_has_its_prompt() {
    for (key, status) in [(CTRL_C, 130), (CTRL_BACKSLASH, 131)] {
        let mut desk = Desk::new();
        let before = desk.terminal.termios();
        let (job, command) = desk.start("-d 0", "exec sleep 300");
        wait_until("sleep", || Entry::read(command).is_some_and(|e| e.name == "sleep"));
        desk.terminal.key(key);
        desk.terminal.expect_prompt();
        assert!(!alive(job) && !alive(command), "{}", desk.terminal.transcript());
        assert_eq!(desk.status(), status);
        assert_eq!(desk.log.lines().len(), 1);
        assert_eq!(desk.terminal.termios(), before);
    }
}

#[test]
fn the_interrupt_key_ends_the_wait_between_attempts() {
    let mut desk = Desk::new();
    let script = desk.script("echo start >>\"$LOG\"; exit 1");
    desk.terminal.line(&format!("retry -d 300 -j none --max-delay 300 -- {script}"));
    desk.terminal.expect("; next in ");
    desk.terminal.key(CTRL_C);
    desk.terminal.expect("interrupted by INT during the wait after attempt 1");
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 130);
    assert_eq!(desk.log.lines(), ["start"]);
}

#[test]
fn a_loop_of_the_shell_ends_with_the_retry_in_it() {
    // A shell continues its loop unless the process that it waited for died by the signal itself.
    let mut desk = Desk::new();
    let script = desk.script("echo start >>\"$LOG\"; exec sleep 300");
    desk.terminal.line(&format!("for i in 1 2 3; do retry -- {script}; done"));
    desk.log.wait_for(1);
    desk.terminal.wait_for_job("retry");
    desk.terminal.key(CTRL_C);
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 130);
    assert_eq!(desk.log.lines(), ["start"]);
}

#[test]
fn each_press_of_the_interrupt_key_reaches_the_command_exactly_once() {
    let mut desk = Desk::new();
    let traps = "trap 'echo int >>\"$LOG\"' INT; trap 'echo mark >>\"$LOG\"' WINCH; trap 'exit 6' TERM";
    let (job, _) = desk.start("-d 0", &format!("{traps}; echo ready >>\"$LOG\"; {LOOP}"));
    wait_for_word(&desk.log, "ready", 1);
    for n in 1..=5 {
        desk.terminal.key(CTRL_C);
        desk.terminal.expect("^C");
        wait_for_word(&desk.log, "int", n);
        // retry passes WINCH on after all signals that came before it.
        process::send(job, Signal::SIGWINCH);
        wait_for_word(&desk.log, "mark", n);
        assert_eq!(count(&desk.log, "int"), n, "{:?}", desk.log.lines());
    }
    process::send(job, Signal::SIGTERM);
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 6);
    assert_eq!((count(&desk.log, "int"), count(&desk.log, "mark")), (5, 5));
}

#[test]
fn each_signal_to_retry_alone_reaches_the_command_exactly_once() {
    let mut desk = Desk::new();
    let traps = "trap 'echo term >>\"$LOG\"' TERM; trap 'echo hup >>\"$LOG\"' HUP
        trap 'echo int >>\"$LOG\"' INT; trap 'echo mark >>\"$LOG\"' WINCH; trap 'exit 6' USR1";
    let (job, _) = desk.start("-d 0", &format!("{traps}; echo ready >>\"$LOG\"; {LOOP}"));
    wait_for_word(&desk.log, "ready", 1);
    let mut marks = 0;
    for n in 1..=3 {
        for (signal, word) in [(Signal::SIGTERM, "term"), (Signal::SIGHUP, "hup"), (Signal::SIGINT, "int")] {
            process::send(job, signal);
            wait_for_word(&desk.log, word, n);
            marks += 1;
            process::send(job, Signal::SIGWINCH);
            wait_for_word(&desk.log, "mark", marks);
            assert_eq!(count(&desk.log, word), n, "{:?}", desk.log.lines());
        }
    }
    process::send(job, Signal::SIGUSR1);
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 6);
    assert_eq!(desk.log.lines().len(), 2 + 4 * 3 + 2 * 3);
}

#[test]
fn stopped_and_brought_back_the_command_goes_on() {
    let mut desk = Desk::new();
    let before = desk.terminal.termios();
    let script = format!("{GATE}; echo do''ne; exit 7");
    let (job, command) = desk.start("-n 1", &script);
    for _ in 0..3 {
        desk.suspend(&[job, command]);
        desk.foreground(&[job, command]);
        assert_eq!(desk.terminal.wait_for_job("retry"), job);
    }
    desk.open_gate();
    desk.terminal.expect("done");
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 7);
    assert_eq!(desk.terminal.termios(), before);
}

#[test]
fn stopped_and_continued_in_the_background_the_command_goes_on() {
    let mut desk = Desk::new();
    let (job, command) = desk.start("-n 1", &format!("{GATE}; exit 7"));
    desk.suspend(&[job, command]);
    desk.terminal.command("bg");
    wait_until("both go on", || !stopped(job) && !stopped(command));
    desk.open_gate();
    desk.terminal.command("wait %1");
    assert_eq!(desk.status(), 7);
}

#[test]
fn time_spent_stopped_does_not_count_against_the_timeout() {
    // On a busy machine the time before the stop and after it may be longer than the first timeout.
    for (timeout, is_last) in [(4, false), (20, true)] {
        let mut desk = Desk::new();
        let script = format!("{GATE}; exit 7");
        let (job, command) = desk.start(&format!("-n 1 --timeout {timeout}"), &script);
        desk.suspend(&[job, command]);
        thread::sleep(Duration::from_secs(timeout));
        desk.foreground(&[job, command]);
        desk.open_gate();
        desk.terminal.expect_prompt();
        let status = desk.status();
        if status == 7 {
            return;
        }
        assert!(status == 124 && !is_last, "{status}\n{}", desk.terminal.transcript());
    }
}

#[test]
fn the_timeout_holds_after_a_stop() {
    let mut desk = Desk::new();
    let (job, command) = desk.start("-n 1 --timeout 2", "exec sleep 300");
    desk.suspend(&[job, command]);
    let stopped_at = Instant::now();
    thread::sleep(Duration::from_millis(300));
    desk.foreground(&[]);
    desk.terminal.expect("timed out after 2s");
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 124);
    assert!(!alive(command) && stopped_at.elapsed() < Duration::from_secs(15));
}

#[test]
fn stopped_by_kill_retry_stops_its_command_too() {
    let mut desk = Desk::new();
    let (job, command) = desk.start("-n 1", &format!("{GATE}; exit 7"));
    process::send(job, Signal::SIGTSTP);
    desk.terminal.expect("Stopped");
    desk.terminal.expect_prompt();
    assert!(stopped(job) && stopped(command), "{}", desk.terminal.transcript());
    desk.foreground(&[job, command]);
    desk.open_gate();
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 7);
}

#[test]
fn the_stop_key_does_not_stop_what_ignores_it() {
    let mut desk = Desk::new();
    let script = format!("trap '' TSTP; trap 'echo mark >>\"$LOG\"' WINCH; echo ready >>\"$LOG\"; {LOOP}");
    let (job, command) = desk.start("-d 0", &script);
    wait_for_word(&desk.log, "ready", 1);
    for n in 1..=3 {
        desk.terminal.key(CTRL_Z);
        desk.terminal.expect("^Z");
        // WINCH has a higher number than TSTP, so retry deals with it later.
        process::send(job, Signal::SIGWINCH);
        wait_for_word(&desk.log, "mark", n);
        assert!(!stopped(job) && !stopped(command), "{}", desk.terminal.transcript());
        assert_eq!(desk.terminal.foreground_pgid(), Some(job));
    }
    desk.terminal.key(CTRL_C);
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 130);
}

#[test]
fn the_wait_between_attempts_stops_and_goes_on() {
    let mut desk = Desk::new();
    let before = desk.terminal.termios();
    let script = desk.script("echo start >>\"$LOG\"; exit 1");
    // The delay is long enough to stop retry in it. If the delay is over, the next attempt begins
    // at `fg`.
    desk.terminal.line(&format!("retry -n 2 -d 3 -j none -- {script}"));
    desk.terminal.expect("; next in ");
    let waiting = Instant::now();
    let job = desk.terminal.wait_for_job("retry");
    desk.suspend(&[job]);
    while waiting.elapsed() < Duration::from_millis(3300) {
        assert!(stopped(job));
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(desk.log.lines(), ["start"]);
    desk.foreground(&[]);
    desk.terminal.expect("gave up after 2 attempts");
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 1);
    assert_eq!(desk.log.lines(), ["start"; 2]);
    assert_eq!(desk.terminal.termios(), before);

    desk.terminal.line(&format!("retry -d 300 -j none --max-delay 300 -- {script}"));
    desk.terminal.expect("; next in ");
    let job = desk.terminal.wait_for_job("retry");
    desk.suspend(&[job]);
    desk.foreground(&[job]);
    assert_eq!(desk.terminal.wait_for_job("retry"), job);
    desk.terminal.key(CTRL_C);
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 130);
}

#[test]
fn the_command_reads_the_terminal() {
    let mut desk = Desk::new();
    let script = desk.script("printf 'na''me? '; read x; echo \"got-$x\"; [ \"$x\" = right ]");
    desk.terminal.line(&format!("retry -d 0 -- {script}"));
    desk.terminal.expect("name? ");
    desk.terminal.line("wrong");
    desk.terminal.expect("got-wrong");
    desk.terminal.expect("name? ");
    desk.terminal.line("right");
    desk.terminal.expect("got-right");
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 0);
}

#[test]
fn a_command_that_sets_the_terminal_up_for_itself_can() {
    let mut desk = Desk::new();
    let before = desk.terminal.termios();
    let script = desk.script(
        "old=$(stty -g); stty -echo; printf 'pass''word? '; read x; stty \"$old\"; echo; echo \"len-${#x}\"",
    );
    desk.terminal.line(&format!("retry -- {script}"));
    desk.terminal.expect("password? ");
    desk.terminal.line("secret");
    let seen = desk.terminal.expect("len-6");
    assert!(!seen.contains("secret"), "{seen}");
    desk.terminal.expect_prompt();
    assert_eq!(desk.terminal.termios(), before);
}

#[test]
fn in_the_background_reading_the_terminal_stops_both_until_fg() {
    let mut desk = Desk::new();
    let script = desk.script("echo $$ >>\"$LOG\"; read x; echo \"got-$x\"; exit 7");
    desk.terminal.command(&format!("retry -n 1 -- {script} &"));
    let told = desk.terminal.command("echo $!");
    // The shell may already report the stop after this line.
    let job = number(told.lines().next().unwrap());
    let command = number(&desk.log.wait_for(1)[0]);
    wait_until("both are stopped", || stopped(job) && stopped(command));
    assert_eq!(desk.terminal.foreground_pgid(), Some(desk.terminal.leader()));
    // The shell reports the stop before its next prompt.
    let told = desk.terminal.command("jobs");
    assert!(told.contains("Stopped"), "{told}");
    desk.foreground(&[job, command]);
    assert_eq!(desk.terminal.wait_for_job("retry"), job);
    desk.terminal.line("word");
    desk.terminal.expect("got-word");
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 7);
}

#[test]
fn in_the_background_a_command_that_leaves_the_terminal_alone_just_runs() {
    let mut desk = Desk::new();
    let script = desk.script("echo start >>\"$LOG\"; [ $RETRY_ATTEMPT = 3 ]");
    desk.terminal.command(&format!("retry -d 0.05 -- {script} &"));
    desk.terminal.command("wait $!");
    assert_eq!(desk.status(), 0);
    assert_eq!(desk.log.lines(), ["start"; 3]);
}

#[test]
fn a_pipeline_is_one_job() {
    let mut desk = Desk::new();
    let script = desk.script("echo on''e; echo tw''o; exit 7");
    desk.terminal.line(&format!("retry -n 1 -- {script} | cat; echo status ${{PIPESTATUS[0]}}"));
    // A message of retry may come between these lines.
    desk.terminal.expect("one\r\n");
    desk.terminal.expect("two\r\n");
    desk.terminal.expect("status 7");
    desk.terminal.expect_prompt();

    let script = desk.script("echo $$ >>\"$LOG\"; exec sleep 300");
    desk.terminal.line(&format!("retry -- {script} | cat"));
    let command = number(&desk.log.wait_for(1)[0]);
    let job = desk.terminal.wait_for_job("retry");
    let cat = process::children_of(desk.terminal.leader()).into_iter().find(|pid| *pid != job).unwrap();
    assert_eq!(process::pgid(cat), Some(job));
    wait_until("cat", || Entry::read(cat).is_some_and(|e| e.name == "cat"));
    desk.suspend(&[job, command, cat]);
    desk.foreground(&[job, command, cat]);
    assert_eq!(desk.terminal.wait_for_job("retry"), job);
    desk.terminal.key(CTRL_C);
    desk.terminal.expect_prompt();
    assert_eq!(desk.terminal.command("echo ${PIPESTATUS[*]}"), "130\r\n");
    assert!(!alive(job) && !alive(command) && !alive(cat));
}

#[test]
fn a_pager_works_behind_retry_and_under_it() {
    need!("less");
    let mut desk = Desk::new();
    let before = desk.terminal.termios();
    // The endless writer dies of SIGPIPE when the user leaves the pager, and there is no second
    // attempt.
    let writer = desk.script("echo start >>\"$LOG\"; i=0; while :; do i=$((i+1)); echo line-$i; done");
    desk.terminal.line(&format!("retry -d 0 -- {writer} | TERM=xterm less"));
    desk.terminal.expect("line-23");
    desk.terminal.send(" ");
    desk.terminal.expect("line-46");
    desk.terminal.send("q");
    desk.terminal.expect_prompt();
    assert_eq!(desk.log.lines(), ["start"]);
    assert_eq!(desk.terminal.termios(), before);

    let text = (1..=200).fold(String::new(), |text, n| text + &format!("row-{n}\n"));
    let text = quoted(desk.scratch.file("text", text));
    desk.terminal.line(&format!("TERM=xterm retry -- less {text}"));
    desk.terminal.expect("row-23");
    desk.terminal.send("G");
    desk.terminal.expect("row-200");
    desk.terminal.send("q");
    desk.terminal.expect_prompt();
    assert_eq!(desk.status(), 0);
    assert_eq!(desk.terminal.termios(), before);
}

#[test]
fn a_terminal_that_goes_takes_both_with_it() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let mut command = std::process::Command::new(BINARY);
    command.args(["-d", "0", "--", "sh", "-c", "echo $$ >>\"$LOG\"; exec sleep 300"]);
    command.env("LOG", log.path());
    let mut terminal = Terminal::open(command);
    let command = number(&log.wait_for(1)[0]);
    terminal.hang_up();
    let status = terminal.wait();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGHUP), "{status}");
    assert!(!alive(command));
    assert_eq!(log.lines().len(), 1);
}

#[test]
fn a_key_from_just_before_the_command_is_there_reaches_it() {
    need!("strace");
    let mut desk = Desk::new();
    let script = desk.script("exec sleep 300");
    // strace delays the clone(2) that creates the command. Meanwhile ^C reaches retry alone.
    let strace = "strace -f -qq -o /dev/null -e trace=clone -e inject=clone:delay_enter=3000000:when=1";
    desk.terminal.line(&format!("{strace} {BINARY} -n 1 -- {script}"));
    let mut retry = 0;
    wait_until("retry before its clone", || {
        let tree = process::descendants_of(desk.terminal.leader());
        let found = tree.into_iter().filter_map(Entry::read).find(|e| e.name == "retry");
        retry = found.map_or(0, |e| e.pid);
        // Only the delayed call stops retry for this long.
        retry != 0
            && (0..20).all(|_| {
                thread::sleep(Duration::from_millis(5));
                process::state(retry) == Some('t')
            })
    });
    desk.terminal.key(CTRL_C);
    desk.terminal.expect("retry: sh: interrupted by INT during attempt 1 of 1; killed by INT");
    desk.terminal.expect_prompt();
}

#[test]
fn the_terminal_is_taken_back_from_a_command_that_was_ended_with_it() {
    let mut desk = Desk::new();
    // A shell with job control takes the terminal, and is killed while it has the terminal.
    let script = desk.script(
        "if [ $RETRY_ATTEMPT = 1 ]; then exec bash --norc --noprofile --noediting -i; fi; read x; echo \"read $x\" >>\"$LOG\"",
    );
    desk.terminal.line(&format!("PS1='inner> ' retry --timeout 4 --kill-after 0.3 -n 2 -d 0 -- {script}"));
    desk.terminal.expect("timed out after 4s");
    desk.terminal.expect("next in 0s");
    desk.terminal.send("words\r");
    desk.terminal.expect_prompt();
    assert_eq!(desk.log.lines(), ["read words"]);
}
