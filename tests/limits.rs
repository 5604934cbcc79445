//! Limits, delays and verdicts: the number of attempts, the times, the exit statuses and the
//! messages.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::process::{stopped, wait_until};
use crate::support::scratch::quoted;
use crate::support::{Log, Run, Scratch, each, retry};

/// A limit far below the sleeps of the commands here.
const BOUNDED: Duration = Duration::from_secs(40);

/// A script that never ends by itself, and only reacts with its traps.
const FOR_EVER: &str = "while :; do sleep 0.05; done";

/// Creates a command with this name in `scratch`.
fn command(scratch: &Scratch, name: &str, script: &str) -> std::path::PathBuf {
    scratch.script(name, format!("#!/bin/sh\n{script}\n"))
}

/// A script that waits for a file.
fn until_there(path: &Path) -> String {
    format!("until [ -e {} ]; do sleep 0.02; done", quoted(path))
}

#[test]
fn a_timeout_is_124() {
    let retry = || retry().args(["--kill-after", "30"]).limit(BOUNDED);
    let run = retry().args(["-n", "1", "--timeout", "0.3", "sleep", "600"]).run();
    run.code(124).stdout("");
    run.says(&["retry: sleep: gave up after 1 attempt in {T}: timed out after 0.3s, ended by TERM"]);
    run.check(run.took >= Duration::from_millis(300), "not before its time");
    let run = retry().args(["-n2", "-d0.1", "-jnone", "--timeout=0.3", "sleep", "600"]).run();
    run.code(124).says(&[
        "retry: sleep: attempt 1 of 2 timed out after 0.3s, ended by TERM; next in 0.1s",
        "retry: sleep: gave up after 2 attempts in {T}: timed out after 0.3s, ended by TERM",
    ]);
}

#[test]
fn a_command_that_ends_in_time_is_not_touched() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let script = format!("trap '{}' TERM; exit 0", log.echo("term"));
    retry().args(["--timeout", "60", "--deadline", "60"]).sh(script).run().code(0).silent();
    assert_eq!(log.lines(), [""; 0]);
}

#[test]
fn success_at_the_signal_is_still_a_timeout() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let trap = format!("trap '{}; exit 0' TERM", log.echo("term"));
    let options = ["-n", "1", "--timeout", "2", "--kill-after", "30"];
    let run = retry().args(options).sh(format!("{trap}; {FOR_EVER}")).run();
    run.code(124);
    run.says(&["retry: sh: gave up after 1 attempt in {T}: timed out after 2s, ended by TERM"]);
    assert_eq!(log.lines(), ["term"]);
}

#[test]
fn the_signal_is_the_one_asked_for() {
    each([("INT", "INT"), ("sigusr1", "USR1"), ("1", "HUP")], |(name, signal)| {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let traps = ["INT", "USR1", "HUP", "TERM"].map(|s| format!("trap '{}; exit 9' {s}", log.echo(s)));
        let script = format!("{}; {FOR_EVER}", traps.join("; "));
        let run = retry().args(["-n", "1", "--timeout", "2", "--signal", name]).sh(script).run();
        run.code(124);
        let said =
            format!("retry: sh: gave up after 1 attempt in {{T}}: timed out after 2s, ended by {signal}");
        run.says(&[&said]);
        assert_eq!(log.lines(), [signal]);
    });
}

#[test]
fn kill_follows_after_its_time_and_at_once_after_none() {
    each([("0", &["started"][..]), ("5", &["started", "term"])], |(kill_after, logged)| {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = format!("trap '{}' TERM; {}; {FOR_EVER}", log.echo("term"), log.echo("started"));
        let run = retry().args(["-n", "1", "--timeout", "2", "--kill-after", kill_after]).sh(script);
        let run = run.limit(BOUNDED).run();
        run.code(124);
        run.says(&["retry: sh: gave up after 1 attempt in {T}: timed out after 2s, ended by KILL"]);
        assert_eq!(log.lines(), logged);
    });
}

#[test]
fn a_deadline_cuts_an_attempt() {
    let run = retry().args(["--deadline", "0.4", "sleep", "600"]).limit(BOUNDED).run();
    run.code(124).stdout("");
    run.says(&["retry: sleep: gave up after 1 attempt in {T}: {*}deadline of 0.4s, ended by TERM"]);
    run.check(run.took >= Duration::from_millis(400), "not before its time");
    // The first run has a timeout after its deadline, and the second run has a timeout before its
    // deadline.
    let run = retry().args(["--deadline", "1", "--timeout", "60", "sleep", "600"]).limit(BOUNDED).run();
    run.code(124).says(&["retry: sleep: gave up after 1 attempt in {T}: {*}deadline of 1s, ended by TERM"]);
    let run = retry().args(["--deadline", "60", "-n1", "--timeout", "0.2", "sleep", "600"]).limit(BOUNDED);
    let run = run.run();
    run.code(124)
        .says(&["retry: sleep: gave up after 1 attempt in {T}: timed out after 0.2s, ended by TERM"]);
    // An exit with 0 after the deadline's signal is not a success.
    let script = format!("trap 'exit 0' TERM; {FOR_EVER}");
    retry().args(["--deadline", "2"]).sh(script).limit(BOUNDED).run().code(124);
}

#[test]
fn a_delay_that_cannot_fit_is_not_begun() {
    let run =
        retry().args(["--deadline", "60s", "-d", "200", "-j", "none"]).sh("exit 7").limit(BOUNDED).run();
    run.code(7).says(&[
        "retry: sh: gave up after 1 attempt in {T}: the next delay does not fit into the deadline of 60s; \
         exited 7",
    ]);
    // A delay shortened to the deadline would be below the lower bound.
    let run = retry().args(["--deadline", "60", "-d", "0", "--min-delay", "90"]);
    let run = run.sh("kill -KILL $$").limit(BOUNDED).run();
    run.code(137).says(&["retry: sh: gave up after 1 attempt in {T}: {*}deadline of 60s; killed by KILL"]);
}

#[test]
fn a_delay_past_the_deadline_is_shortened_so_that_one_more_attempt_fits() {
    let run = retry().args(["--deadline", "60", "-d", "0.1,500", "-j", "none"]).sh("exit 7").spawn();
    run.wait_for_stderr("attempt 2 exited 7; next in ");
    run.wait_for_stderr("s\nretry: sh: attempt 2 exited 7; next in ");
    wait_until("the second line is whole", || run.stderr_so_far().matches('\n').count() == 2);
    let text = run.stderr_so_far();
    let announced: Vec<f64> = text
        .lines()
        .filter_map(|line| line.rsplit_once("; next in ")?.1.trim_end_matches('s').parse().ok())
        .collect();
    assert!(matches!(announced[..], [0.1, shortened] if (50.0..=54.0).contains(&shortened)), "{text}");
}

/// Twice the time of the longest attempt does not fit into the rest, so the run ends at once with
/// the command's status. An attempt after half of the rest would be cut by the deadline (124).
#[test]
fn no_attempt_is_begun_that_the_deadline_would_cut() {
    // On a busy machine two attempts may take longer than the deadline. Then longer attempts leave
    // more time.
    for seconds in [2, 8] {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let script = format!("{}; sleep {seconds}; exit 7", log.echo("$RETRY_ATTEMPT"));
        let deadline = format!("{}s", seconds * 7 / 2);
        let run = retry().args(["--deadline", &deadline, "-d", "0.05,500"]).sh(script).limit(BOUNDED).run();
        if seconds == 2 && (run.status.code() != Some(7) || log.lines() != ["1", "2"]) {
            continue;
        }
        run.code(7).check(log.lines() == ["1", "2"], "two whole attempts, and no third");
        run.stderr_contains(&format!(
            "the next delay does not fit into the deadline of {deadline}; exited 7"
        ));
        return;
    }
}

#[test]
fn attempts_have_a_limit_or_none() {
    let scratch = Scratch::new();
    let count = |options: &[&str], script: &str| {
        let log = scratch.log("log");
        let script = format!("{}; {script}", log.echo("$RETRY_ATTEMPT/$RETRY_MAX_ATTEMPTS"));
        let run = retry().args(["-d", "0"]).args(options).sh(script).run();
        (run, log.lines())
    };
    let (run, lines) = count(&[], "exit 7");
    run.code(7).stderr_contains("gave up after 5 attempts in ");
    assert_eq!(lines, ["1/5", "2/5", "3/5", "4/5", "5/5"]);
    let (run, lines) = count(&["--max", "2", "--deadline", "60"], "exit 7");
    run.code(7).stderr_contains("gave up after 2 attempts in ");
    assert_eq!(lines, ["1/2", "2/2"]);
    let (run, lines) = count(&["--max", "1"], "exit 7");
    run.code(7).says(&["retry: sh: gave up after 1 attempt in {T}: exited 7"]);
    assert_eq!(lines, ["1/1"]);
    for options in [&["-n", "unlimited", "--deadline", "60"][..], &["--deadline", "60"], &["-nunlimited"]] {
        let (run, lines) = count(options, "[ $RETRY_ATTEMPT = 9 ]");
        let last = *run.code(0).messages().last().unwrap();
        assert!(last.starts_with("retry: sh: succeeded at attempt 9 in "), "{last}");
        assert!(run.messages()[0].starts_with("retry: sh: attempt 1 exited 1; next in 0s"), "{}", run.stderr);
        assert_eq!(lines, (1..=9).map(|n| format!("{n}/")).collect::<Vec<_>>());
    }
    // There is no maximum, but the deadline ends the run.
    let (run, lines) = count(&["-n", "unlimited", "--deadline", "3", "-d", "0.1"], "exit 7");
    run.check(matches!(run.status.code(), Some(7 | 124)), "7 or, cut, 124");
    run.stderr_contains("deadline of 3s").check(lines.len() > 1, "more than one attempt");
}

#[test]
fn each_attempt_knows_its_number_and_what_came_before() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let known = log.echo("$RETRY_ATTEMPT/$RETRY_MAX_ATTEMPTS/$RETRY_LAST_STATUS/$RETRY_OWN");
    let script = format!(
        "{known}; case $RETRY_ATTEMPT in 1) exit 7;; 2) kill -TERM $$;; 3) sleep 600;; 4) exit 255;; esac"
    );
    let run = retry()
        .args(["-d", "0", "--timeout", "2"])
        .env("RETRY_ATTEMPT", "99")
        .env("RETRY_LAST_STATUS", "98")
        .env("RETRY_OWN", "kept")
        .sh(script)
        .run();
    run.code(0).says(&[
        "retry: sh: attempt 1 of 5 exited 7; next in 0s",
        "retry: sh: attempt 2 of 5 killed by TERM; next in 0s",
        "retry: sh: attempt 3 of 5 timed out after 2s, ended by TERM; next in 0s",
        "retry: sh: attempt 4 of 5 exited 255; next in 0s",
        "retry: sh: succeeded at attempt 5 of 5 in {T}",
    ]);
    assert_eq!(log.lines(), ["1/5//kept", "2/5/7/kept", "3/5/143/kept", "4/5/124/kept", "5/5/255/kept"]);
}

/// Options, the command's script, the exit status, and the number of attempts, which is at most
/// three.
const VERDICTS: &[(&str, &str, i32, usize)] = &[
    // No options.
    ("", "exit 0", 0, 1),
    ("", "exit 7", 7, 3),
    ("", "exit 255", 255, 3),
    ("", "exit 125", 125, 3),
    ("", "exit 124", 124, 3),
    ("", "exit 126", 126, 1),
    ("", "exit 127", 127, 1),
    ("", "kill -TERM $$", 143, 3),
    ("", "kill -KILL $$", 137, 3),
    ("", "kill -INT $$", 130, 1),
    ("", "kill -QUIT $$", 131, 1),
    ("", "kill -PIPE $$", 141, 1),
    ("", "exit 130", 130, 3),
    ("", "[ $RETRY_ATTEMPT = 2 ]", 0, 2),
    // --fatal-on
    ("-x 7", "exit 7", 7, 1),
    ("-x 7", "exit 8", 8, 3),
    ("-x 5-9,20", "exit 9", 9, 1),
    ("-x 5-9,20", "exit 20", 20, 1),
    ("-x 5-9,20", "exit 10", 10, 3),
    ("-x 5 -x 7", "exit 7", 7, 1),
    ("-x failure", "exit 7", 7, 1),
    ("-x failure", "kill -TERM $$", 143, 1),
    ("-x signal", "kill -TERM $$", 143, 1),
    ("-x signal", "exit 143", 143, 3),
    ("-x SIGTERM", "kill -TERM $$", 143, 1),
    ("-x TERM", "exit 143", 143, 3),
    ("-x TERM", "kill -KILL $$", 137, 3),
    ("-x 143", "kill -TERM $$", 143, 1),
    ("-x 143", "exit 143", 143, 1),
    ("-x success", "exit 0", 1, 1),
    ("-x any", "exit 0", 1, 1),
    ("-x 0", "exit 0", 1, 1),
    ("-x 1", "[ $RETRY_ATTEMPT = 4 ] || exit $RETRY_ATTEMPT", 1, 1),
    ("-x 2", "[ $RETRY_ATTEMPT = 4 ] || exit $RETRY_ATTEMPT", 2, 2),
    // --success-on: the run ends with the command's own status.
    ("--success-on 7", "exit 7", 7, 1),
    ("--success-on 7", "exit 8", 8, 3),
    ("--success-on 7", "exit 0", 0, 1),
    ("--success-on 7,8 --success-on 9", "exit 9", 9, 1),
    ("--success-on TERM", "kill -TERM $$", 143, 1),
    ("--success-on 126", "exit 126", 126, 1),
    // --until: a match ends with 0, and other successes are retried.
    ("-u 7", "exit 7", 0, 1),
    ("-u 7", "exit 0", 1, 3),
    ("-u 7", "exit 8", 8, 3),
    ("-u 7", "exit 127", 127, 1),
    ("-u 7", "[ $RETRY_ATTEMPT != 2 ] || exit 7", 0, 2),
    ("-u success", "exit 0", 0, 1),
    ("-u failure", "exit 0", 1, 3),
    ("-u failure", "exit 9", 0, 1),
    ("-u KILL", "kill -KILL $$", 0, 1),
    ("-u 7 --success-on 0", "exit 0", 0, 1),
    // --retry-on: only these failures are retried.
    ("-r 7", "exit 7", 7, 3),
    ("-r 7", "exit 8", 8, 1),
    ("-r 7", "exit 0", 0, 1),
    ("-r 7", "kill -TERM $$", 143, 1),
    ("-r 7 -r 8", "exit 8", 8, 3),
    ("-r 126,127", "exit 127", 127, 3),
    ("-r failure", "exit 126", 126, 3),
    ("-r INT", "kill -INT $$", 130, 3),
    ("-r success", "exit 0", 1, 3),
    ("-r any", "exit 0", 1, 3),
    ("-r transient", "exit 7", 7, 3),
    ("-r transient", "exit 126", 126, 1),
    ("-r transient,126", "exit 126", 126, 3),
    // The order of the rules.
    ("-x 7 --success-on 7", "exit 7", 7, 1),
    ("-x 7 -u 7", "exit 7", 7, 1),
    ("-x 7 -r 7", "exit 7", 7, 1),
    ("-r 7 --success-on 7", "exit 7", 7, 1),
    ("-r 7 -u 7", "exit 7", 0, 1),
    ("-r 7 -u 8", "exit 0", 1, 3),
];

#[test]
fn verdicts_decide_attempts_and_status() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let mut wrong = Vec::new();
    for (options, does, status, attempts) in VERDICTS {
        fs::write(log.path(), "").unwrap();
        let script = format!("ulimit -c 0; {}; {does}", log.echo("$RETRY_ATTEMPT"));
        let options = options.split(' ').filter(|option| !option.is_empty());
        let options: Vec<&str> = ["-n", "3", "-d", "0"].into_iter().chain(options).collect();
        let run = retry().args(&options).sh(script).run();
        let seen = (run.status.code(), log.lines().len());
        if seen != (Some(*status), *attempts) {
            wrong.push(format!("{options:?} {does}: {seen:?} not {:?}\n{}", (status, attempts), run.stderr));
        }
        // A successful run prints nothing or reports the success. A failed run ends with one line
        // that gives the reason.
        let last = run.messages().last().copied().unwrap_or_default();
        let failed = last.contains(": gave up after ") || last.contains(": not retried: ");
        let fatal = *attempts < 3 && failed;
        if fatal != last.contains(": not retried: ") && does != &"kill -PIPE $$" {
            wrong.push(format!("{options:?} {does}: {last:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_verdict_says_by_which_rule() {
    for (options, does, said) in [
        ("-x 7", "exit 7", "retry: sh: not retried: exited 7 (fatal by --fatal-on 7{*}"),
        ("-x 7 --success-on 7", "exit 7", "retry: sh: not retried: exited 7 (fatal by --fatal-on 7{*}"),
        ("-r 8", "exit 7", "retry: sh: not retried: exited 7 (not in --retry-on; -r 7 retries it)"),
        ("-r 8", "kill -TERM $$", "retry: sh: not retried: killed by TERM ({*}; -r TERM retries it)"),
        ("", "exit 126", "retry: sh: not retried: exited 126 ({*}; -r 126 retries it)"),
        ("", "kill -INT $$", "retry: sh: not retried: killed by INT ({*}; -r INT retries it)"),
    ] {
        let options = options.split(' ').filter(|option| !option.is_empty());
        retry().args(options).sh(does).run().says(&[said]);
    }
    // The option -r 126 makes the failure retryable.
    retry().args(["-r", "126", "-n1"]).sh("exit 126").run().code(126).stderr_contains("gave up after 1");
}

#[test]
fn a_timeout_is_a_condition() {
    each(
        [
            ("-x timeout", 124, 1),
            ("-x 124", 124, 2),
            ("-x TERM", 124, 2),
            ("-x signal", 124, 2),
            ("-x failure", 124, 1),
            ("--success-on timeout", 124, 1),
            ("-u timeout", 0, 1),
            ("-r timeout", 124, 2),
            ("-r 7", 124, 1),
        ],
        |(options, status, attempts)| {
            let scratch = Scratch::new();
            let log = scratch.log("log");
            let script = format!("{}; exec sleep 600", log.echo("x"));
            let run = retry().args(["-n", "2", "-d", "0", "--timeout", "1"]).args(options.split(' '));
            let run = run.sh(script).limit(BOUNDED).run();
            run.check(run.status.code() == Some(status), &format!("{status} with {options}"));
            assert_eq!(log.lines().len(), attempts, "{options}: {}", run.stderr);
        },
    );
}

#[test]
fn what_cannot_be_started_is_not_retried() {
    let scratch = Scratch::new();
    let plain = scratch.file("plain", "#!/bin/sh\n");
    let run = retry().arg(&plain).run();
    run.code(126).says(&["retry: plain: not retried: {*}: could not run: {*}"]);
    retry().arg(scratch.path()).run().code(126);
    let run = retry().arg(scratch.join("none")).run();
    run.code(127).says(&["retry: none: not retried: {*}/none: command not found{R}"]);
    // A failed start is not a failure of the command, so these conditions must not match it.
    for options in [["-r", "failure"], ["-u", "failure"], ["--success-on", "any"]] {
        let run = retry().args(options).arg(scratch.join("none")).run();
        run.code(127).says(&["retry: none: not retried: {*}/none: command not found ({*}-r 127 retries it)"]);
    }
    let run = retry().args(["-n2", "-d0", "-r", "127"]).arg(scratch.join("none")).run();
    run.code(127).says(&[
        "retry: none: attempt 1 of 2: {*}/none: command not found; next in 0s",
        "retry: none: gave up after 2 attempts in {T}: {*}/none: command not found",
    ]);
}

#[test]
fn a_failure_is_final_once_nobody_reads_stdout() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let script = format!("{}; exit 7", log.echo("x"));
    let run = retry().args(["-n", "3", "-d", "0"]).sh(&script).stdout(writer).run();
    run.code(7).says(&["retry: sh: not retried: exited 7 ({*}; -r failure retries it)"]);
    assert_eq!(log.lines(), ["x"]);
    // While a reader exists, the failure is retried.
    let (reader, writer) = io::pipe().unwrap();
    retry().args(["-n", "3", "-d", "0"]).sh(&script).stdout(writer).run().code(7);
    drop(reader);
    assert_eq!(log.lines(), ["x"; 4]);
}

#[test]
fn a_healthy_attempt_starts_attempts_and_backoff_anew() {
    let scratch = Scratch::new();
    let run = |healthy: &[&str]| -> (Run, Log) {
        let log = scratch.log("log");
        // The second attempt takes a long time.
        let long = format!("[ $(wc -l <{}) != 2 ] || sleep 2", quoted(log.path()));
        let script = format!("{}; {long}; exit 7", log.echo("$RETRY_ATTEMPT"));
        let delays = ["-n", "2", "-d", "0.1,5", "-j", "none"];
        (retry().args(delays).args(healthy).sh(script).run(), log)
    };
    let (without, log) = run(&[]);
    without.code(7).stderr_contains("gave up after 2 attempts in ");
    assert_eq!(log.lines(), ["1", "2"]);
    // The healthy attempt counts as the first of a new series, so the first delay follows it again.
    let (with, log) = run(&["--healthy-after", "2"]);
    with.code(7).says(&[
        "retry: sh: attempt 1 of 2 exited 7; next in 0.1s",
        "retry: sh: attempt 2 of 2 exited 7; it ran {T} (--healthy-after 2s), so it now counts as attempt 1 of 2; next in 0.1s",
        "retry: sh: gave up after 3 attempts in {T}: exited 7",
    ]);
    assert_eq!(log.lines(), ["1", "2", "2"]);
}

#[test]
fn the_same_seed_makes_the_same_delays() {
    let announced = |seed: Option<&str>, more: &[&str]| {
        let run = retry().args(["-n", "5", "-d", "50ms", "--max-delay", "90ms"]).args(more);
        let run = run.args(seed.map(|seed| ["--seed", seed]).into_iter().flatten()).sh("exit 7").run();
        let delays: Vec<String> = run.code(7).announced().into_iter().map(str::to_owned).collect();
        assert_eq!(delays.len(), 4, "{}", run.stderr);
        delays
    };
    for more in [&[][..], &["-j", "equal"], &["-j", "decorrelated"], &["--splay", "0.2"]] {
        let one = announced(Some("1"), more);
        assert_eq!(one, announced(Some("1"), more), "{more:?}");
        let others = ["2", "3", "18446744073709551615"].map(|seed| announced(Some(seed), more));
        assert!(others.iter().any(|other| *other != one), "{more:?}: {one:?}");
    }
    // Without jitter retry draws no random numbers.
    for seed in [Some("1"), None] {
        assert_eq!(announced(seed, &["-j", "none"]), ["50ms", "90ms", "90ms", "90ms"]);
    }
}

#[test]
fn a_splay_waits_before_the_first_attempt() {
    let scratch = Scratch::new();
    let log = scratch.log("log");
    // With this seed the splay is long enough for the test.
    let running = retry().args(["--splay", "100000", "--seed", "1"]).sh(log.echo("ran")).spawn();
    wait_until("it waits", || {
        let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        // retry has blocked its signals, so it is ready to receive them.
        caught.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 0x4000 != 0))
    });
    running.signal(Signal::SIGTERM);
    let run = running.wait_bounded();
    run.signal(Signal::SIGTERM);
    run.says(&["retry: sh: interrupted by TERM during the wait before the first attempt (--splay 100000s)"]);
    assert_eq!(log.lines(), [""; 0]);
    // The wait is not longer than the splay.
    let run = retry().args(["--splay", "0.3"]).sh(log.echo("ran")).run();
    run.code(0).silent();
    assert_eq!(log.lines(), ["ran"]);
}

#[test]
fn a_schedule_is_followed_entry_by_entry() {
    let run = retry().args(["-n", "5", "-d", "0.1,0.3,0.2"]).sh("exit 7").run();
    assert_eq!(run.code(7).announced(), ["0.1s", "0.3s", "0.2s", "0.2s"]);
    run.check(run.took >= Duration::from_millis(800), "it waited");
    let delays = |options: &[&str]| {
        let run = retry().args(["-n", "5", "-j", "none"]).args(options).sh("exit 7").run();
        run.code(7).announced().join(" ")
    };
    assert_eq!(delays(&["-d", "0.1"]), "0.1s 0.2s 0.4s 0.8s");
    assert_eq!(delays(&["-d", "0.1", "--factor", "3", "--max-delay", "0.5"]), "0.1s 0.3s 0.5s 0.5s");
    assert_eq!(delays(&["-d", "0.1", "--factor", "1e300", "--max-delay", "0.2"]), "0.1s 0.2s 0.2s 0.2s");
    assert_eq!(delays(&["-d", "0.1", "--backoff", "linear"]), "0.1s 0.2s 0.3s 0.4s");
    assert_eq!(delays(&["-d", "0.1", "--backoff", "fibonacci"]), "0.1s 0.1s 0.2s 0.3s");
    assert_eq!(delays(&["-d", "0.1", "--backoff", "constant"]), "0.1s 0.1s 0.1s 0.1s");
    assert_eq!(delays(&["-d", "0", "--min-delay", "0.1"]), "0.1s 0.1s 0.1s 0.1s");
    assert_eq!(delays(&["-d", "50ms", "--backoff", "constant"]), "50ms 50ms 50ms 50ms");
}

#[test]
fn messages_are_as_they_are_written_down() {
    let scratch = Scratch::new();
    let curl = command(&scratch, "curl", "[ $RETRY_ATTEMPT = \"$1\" ] || exit 7");
    let run = |options: &[&str], succeeds_at: &str| {
        retry().args(["-d", "0.1,0.2"]).args(options).arg(&curl).arg(succeeds_at).run()
    };
    run(&["-n", "2"], "never").code(7).says(&[
        "retry: curl: attempt 1 of 2 exited 7 (could not connect); next in 0.1s",
        "retry: curl: gave up after 2 attempts in {T}: exited 7 (could not connect)",
    ]);
    run(&[], "3").code(0).stdout("").says(&[
        "retry: curl: attempt 1 of 5 exited 7 (could not connect); next in 0.1s",
        "retry: curl: attempt 2 of 5 exited 7 (could not connect); next in 0.2s",
        "retry: curl: succeeded at attempt 3 of 5 in {T}",
    ]);
    run(&[], "1").code(0).silent();
    run(&["-v"], "1").code(0).silent();
    run(&["--deadline", "60s", "--min-delay=90", "-n3"], "never").code(7).says(&[
        "retry: curl: gave up after 1 attempt in {T}: the next delay does not fit into the deadline of 60s; \
         exited 7 (could not connect)",
    ]);
    run(&["-p", "none", "-n", "1"], "x").says(&["retry: curl: gave up after 1 attempt in {T}: exited 7"]);
    run(&["-x", "7"], "x").code(7).says(&["retry: curl: not retried: exited 7 (could not connect; {*})"]);

    let slow = command(&scratch, "slow", "exec sleep 600");
    let run = retry().args(["-n", "2", "--timeout", "500ms", "-d", "0.4", "-j", "none"]).arg(slow).run();
    run.code(124).says(&[
        "retry: slow: attempt 1 of 2 timed out after 500ms, ended by TERM; next in 0.4s",
        "retry: slow: gave up after 2 attempts in {T}: timed out after 500ms, ended by TERM",
    ]);

    let running = retry().args(["-d", "0,600"]).arg(&curl).spawn();
    running.wait_for_stderr("attempt 2 of 5 exited 7 (could not connect); next in 10m\n");
    running.signal(Signal::SIGTERM);
    let run = running.wait_bounded();
    run.signal(Signal::SIGTERM);
    run.says(&[
        "retry: curl: attempt 1 of 5 exited 7 (could not connect); next in 0s",
        "retry: curl: attempt 2 of 5 exited 7 (could not connect); next in 10m",
        "retry: curl: interrupted by TERM during the wait after attempt 2 of 5; exited 7 (could not connect)",
    ]);
}

#[test]
fn time_spent_stopped_does_not_count_against_the_timeout() {
    each([true, false], |ends| {
        let scratch = Scratch::new();
        let log = scratch.log("log");
        let go = scratch.join("go");
        let script = format!("{}; {}; {}", log.echo("started"), until_there(&go), log.echo("finished"));
        let running = retry().args(["-n", "1", "--timeout", "6"]).sh(script).spawn();
        log.wait_for(1);
        running.signal(Signal::SIGSTOP);
        wait_until("retry is stopped", || stopped(running.pid()));
        // This pause is longer than the timeout, and must not count against it.
        thread::sleep(Duration::from_secs(7));
        running.signal(Signal::SIGCONT);
        wait_until("retry runs on", || !stopped(running.pid()));
        assert_eq!(log.lines(), ["started"]);
        if ends {
            fs::write(&go, "").unwrap();
            running.wait_bounded().code(0).silent();
            assert_eq!(log.lines(), ["started", "finished"]);
        } else {
            // The remaining time of the timeout still counts.
            let run = running.wait_bounded();
            run.code(124);
            run.says(&["retry: sh: gave up after 1 attempt in {T}: timed out after 6s, ended by TERM"]);
            assert!(run.took >= Duration::from_secs(13), "{:?}", run.took);
        }
    });
}
