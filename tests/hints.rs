//! Hints for a command that is not found, for wrong values, and for conditions that cannot match. A
//! hint never repeats a word of the command, because the word may be a secret.

use crate::support::{Run, Scratch, retry};

const SHELL: &str = "to run a shell command line: retry -- sh -c '...'";
const ENV: &str = "to set a variable for the command: retry -- env NAME=VALUE COMMAND";
const WORD: &str = "a shell function, alias or builtin needs its shell: retry -- bash -c '...'";

#[track_caller]
fn hinted(run: &Run, status: i32, hint: &str) {
    run.code(status).stdout("");
    let lines = run.messages();
    run.check(
        lines.last() == Some(&format!("retry: hint: {hint}").as_str()),
        &format!("the last line is {hint:?}"),
    );
    run.check(lines.len() == 2, "one line of cause, one of hint");
}

#[test]
fn a_command_that_is_not_found_gets_a_hint_without_its_words() {
    for (words, hint) in [
        (&["s3cret --token x"][..], SHELL),
        (&["s3cret|x"], SHELL),
        (&["s3cret&"], SHELL),
        (&["s3cret;x"], SHELL),
        (&["s3cret>x"], SHELL),
        (&["<s3cret"], SHELL),
        (&["$s3cret"], SHELL),
        (&["'s3cret'"], SHELL),
        (&["s3cret\"x\""], SHELL),
        (&["`s3cret`"], SHELL),
        (&["s3cret*"], SHELL),
        (&["(s3cret)"], SHELL),
        (&["TOKEN=s3cret curl"], SHELL),
        (&["TOKEN=s3cret", "curl"], ENV),
        (&["TOKEN=s3cret&x", "curl"], ENV),
        (&["TOKEN=s3cret"], ENV),
        (&["no-such-command", "s3cret"], WORD),
        (&["", "s3cret"], "the name of the command is empty: is a variable unset?"),
    ] {
        let run = retry().args(["-n", "3"]).args(words).run();
        run.code(127).check(run.messages()[0].contains("not found"), "the cause comes first");
        hinted(&run, 127, hint);
        let line = run.messages()[1].to_owned();
        assert!(!line.contains("s3cret") && !line.contains("no-such"), "{line}");
        // The hint is the same without options.
        hinted(&retry().args(words).run(), 127, hint);
    }
}

#[test]
fn a_hint_comes_once_and_only_where_the_command_is_missing() {
    let run = retry().args(["-n", "2", "-d", "0", "-r", "127", "no-such-command"]).run();
    run.code(127).check(run.stderr.matches("hint:").count() == 1, "once");
    let run = retry().args(["-q", "no-such-command"]).run();
    run.code(127).check(run.messages().len() == 2, "-q has the final error, with its hint");
    retry().args(["-qq", "no-such-command"]).run().code(127).silent();
    // The command was found, and reports the problem itself.
    let run = retry().args(["-n1"]).sh("exit 127").run();
    run.code(127).check(!run.stderr.contains("hint:"), "no hint");
    let run = retry().args(["/no/such/file"]).run();
    run.code(127).check(!run.stderr.contains("hint:"), "no hint for a path");
}

#[test]
fn a_unit_that_became_the_command_is_told() {
    for (words, hint) in [
        ("--timeout 5 minutes", "a duration is one word: --timeout 5m"),
        ("--timeout 5 min -- true", "a duration is one word: --timeout 5m"),
        ("--deadline=5 hours true", "a duration is one word: --deadline 5h"),
        ("-d 0.5 seconds true", "a duration is one word: -d 0.5s"),
        ("--max-delay 2 M true", "a duration is one word: --max-delay 2m"),
    ] {
        hinted(&retry().args(words.split(' ')).run(), 127, hint);
    }
}

#[test]
fn a_value_that_was_left_out_is_missed() {
    for (words, option) in [
        ("-d -- true", "--delay"),
        ("--delay --max 3 true", "--delay"),
        ("--timeout -n 3 true", "--timeout"),
        ("--label -- true", "--label"),
        ("--check -- true", "--check"),
        ("--on-retry -- true", "--on-retry"),
        ("--until -v true", "--until"),
        ("--breaker -- true", "--breaker"),
        ("-vn -- true", "--max"),
        ("--profile -- true", "--profile"),
        ("--idempotency-key --expand true", "--idempotency-key"),
        ("--state --breaker x true", "--state"),
        ("--signal", "--signal"),
    ] {
        let run = retry().args(words.split(' ')).run();
        run.code(125).stdout("").says(&[&format!("retry: {option} needs a value"), "retry: hint: {*}"]);
    }
    // A value may begin with a dash.
    retry().args(["--label=--", "true"]).run().code(0);
    retry().args(["--label", "-5", "true"]).run().code(0);
}

#[test]
fn a_value_that_is_nearly_right_is_corrected() {
    for (words, hint) in [
        ("-r 503", "an exit status is 0 to 255; for the HTTP status write http:503"),
        ("-r 5xx", "did you mean http:5xx?"),
        ("-x 400-499", "an exit status is 0 to 255; for the HTTP status write http:400-499"),
        ("-r stderr:foo", "did you mean stderr~foo?"),
        ("-r stdout=a,b", "did you mean stdout~a,b?"),
        ("-u fail", "did you mean failure?"),
        ("--until sucess", "did you mean success?"),
        ("-r 22,tiemout", "did you mean timeout?"),
        ("--timeout 5M", "minutes are m, in lower case, as in 5m"),
        ("--timeout 5S", "units are in lower case, as in 5s"),
        ("--deadline 1month", "the longest unit is the week: write days or weeks, as in 30d or 52w"),
        ("-d 1,2years", "the longest unit is the week: write days or weeks, as in 30d or 52w"),
        ("-p foo", "valid values: curl, {*}"),
        ("-p curll", "did you mean curl? {*}"),
        ("-p podman", "did you mean docker? {*}"),
        ("-p postgres", "did you mean psql? {*}"),
        ("-j 0.5", "did you mean additive? {*}"),
        ("--backoff expo", "did you mean exponential? {*}"),
    ] {
        let run = retry().args(words.split(' ')).arg("true").run();
        run.code(125).stdout("").says(&["retry: {*}", &format!("retry: hint: {hint}")]);
    }
    for (words, hint) in [
        ("-H", "options of the command follow its name: retry -- curl -f URL; {*}"),
        ("--header=x:1", "options of the command follow its name: retry -- curl -f URL; {*}"),
        ("--success-threshold 3", "--successes sets how many attempts in a row have to succeed"),
        ("-n forever", "for no limit on attempts, write --max unlimited"),
        ("-n inf", "for no limit on attempts, write --max unlimited"),
        ("--max=INFINITE", "for no limit on attempts, write --max unlimited"),
        ("-n -1", "for no limit on attempts, write --max unlimited"),
        ("--timeout none", "for no limit, write 0"),
        ("--deadline never", "for no limit, write 0"),
        ("-d none", "for no delay, write 0"),
        ("-r 5-500", "an exit status is 0 to 255, as in 5-255; for an HTTP status write http:503, {*}"),
        ("-x 1-999", "an exit status is 0 to 255, as in 5-255; for an HTTP status write http:503, {*}"),
        ("--timeout 5,5s", "a fraction has a point, as in 5.5s"),
        ("--max-delay 1,5", "a fraction has a point, as in 1.5"),
        ("--deadline 1,2,3", "only --delay takes a list"),
        ("--factor 1,5", "a fraction has a point, as in 1.5"),
        ("--stdin-limit 1,5G", "a fraction has a point, as in 1.5G"),
        ("--budget x=0,5%", "a fraction has a point, as in 0.5%"),
        ("--timeout 00:05", "a duration has units: write 5s or 5m"),
        ("-d 1:30", "a duration has units: write 1m 30s or 1h 30m"),
        ("--deadline 1:02:03", "a duration has units: write 1h 2m 3s"),
    ] {
        let run = retry().args(words.split(' ')).arg("true").run();
        run.code(125).stdout("").says(&["retry: {*}", &format!("retry: hint: {hint}")]);
    }
    let run = retry().args(["-p", "foo", "true"]).run();
    run.says(&["retry: --profile foo: no such profile", "retry: hint: {*}"]);
}

#[test]
fn a_condition_that_cannot_match_is_told_once_with_v() {
    let scratch = Scratch::new();
    // Programs with these names that always fail.
    for name in ["curl", "wget"] {
        scratch.script(name, "#!/bin/sh\nexit 8\n");
    }
    let told = |options: &str, command: &str| {
        let path = format!("{}:/usr/bin:/bin", scratch.path().display());
        let run = retry()
            .args(["-n2", "-d0"])
            .args(options.split(' '))
            .args(command.split(' '))
            .env("PATH", path)
            .run();
        run.stderr.matches("the http: conditions cannot match").count()
    };
    assert_eq!(told("-v -r http:503", "env curl -sS URL"), 1);
    assert_eq!(told("-v -x http:404 -u http:200", "env A=b curl -sS URL"), 1);
    assert_eq!(told("-v -r 7,http:5xx", "env wget -q URL"), 1);
    for (options, command) in [
        ("-r http:503", "env curl -sS URL"),
        ("-v -r 7", "env curl -sS URL"),
        ("-v -r http:503", "env curl -fsS URL"),
        ("-v -r http:503", "env curl -sSi URL"),
        ("-v -r http:503 --headers h", "env curl -sS URL"),
        ("-v -r http:503", "env wget URL"),
        ("-v -r http:503", "sh -c true"),
    ] {
        assert_eq!(told(options, command), 0, "{options} {command}");
    }
}

#[test]
fn a_pattern_that_ends_with_another_condition_is_told_at_the_first_failure() {
    let told = |options: &[&str], script: &str| {
        let run = retry().args(["-n3", "-d0"]).args(options).sh(script).run();
        let lines = run.messages();
        let notes = lines.iter().filter(|line| line.contains("is one pattern"));
        notes.map(|line| (*line).to_owned()).collect::<Vec<_>>()
    };
    let note = "retry: sh: -r 'stdout~x,7' is one pattern that contains a comma; \
                for two conditions, write -r 'stdout~x' -r '7'";
    assert_eq!(told(&["-r", "stdout~x,7"], "exit 7"), [note]);
    assert_eq!(told(&["-r", "stdout~x,7"], "echo x,7; exit 1"), [note], "once");
    let note = "retry: sh: -u 'stdout~x,0' is one pattern that contains a comma; \
                -u takes one pattern or one list of other conditions";
    assert_eq!(told(&["-u", "stdout~x,0"], "exit 0"), [note]);
    let none: [&str; 0] = [];
    for (options, script) in [
        (&["-q", "-r", "stdout~x,7"][..], "exit 7"),
        (&["-r", "stdout~x,7"], "exit 0"),
        (&["-r", "stdout~x,y"], "exit 7"),
        (&["-r", "stdout~x{1,7}"], "exit 7"),
        (&["-r", "stdout~x", "-r", "7"], "exit 7"),
    ] {
        assert_eq!(told(options, script), none, "{options:?} {script}");
    }
}

#[test]
fn an_option_of_the_command_explains_no_error_of_ours() {
    for words in [
        &["-n", "0", "find", ".", "-name", "x"][..],
        &["--timeout", "5x", "find", ".", "-name", "x"],
        &["--timeout", "5x", "java", "-timeout", "3"],
    ] {
        let run = retry().args(words).run();
        run.code(125).check(!run.stderr.contains("--label"), "no hint about the name in messages");
        run.check(!run.stderr.contains("two dashes"), "no hint about dashes");
    }
    let run = retry().args(["-timeout", "5", "find", ".", "-name", "x"]).run();
    hinted(&run, 125, "a long option has two dashes: --timeout");
}
