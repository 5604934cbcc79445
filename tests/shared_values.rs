//! Wrong values of the options of shared state.

use std::fs;

use crate::support::{Scratch, retry};

#[test]
fn a_url_is_not_taken_for_a_directory_of_shared_state() {
    let scratch = Scratch::new();
    let (log, here) = (scratch.log("log"), scratch.join("here"));
    fs::create_dir(&here).unwrap();
    for url in ["file:///x", "https://u:SECRET@x:6379/1", "a.b-c://", "redis+tls://x"] {
        let scheme = url.split_once(':').unwrap().0;
        for options in
            [&["--breaker", "b"][..], &["--budget", "b=20%"], &["--breaker-status"], &["--breaker-reset=b"]]
        {
            for variable in [true, false] {
                let run = retry().dir(&here).args(options);
                let run = if variable { run.env("RETRY_STATE", url) } else { run.args(["--state", url]) };
                let run = if options[0].len() < 10 { run.sh(log.echo("ran")).run() } else { run.run() };
                run.code(125).stdout("");
                run.stderr_contains(&format!("write ./{scheme}://..."));
                run.stderr_contains(if variable { "RETRY_STATE" } else { "--state" });
                run.check(!run.stderr.contains("SECRET"), "no password");
            }
        }
    }
    assert_eq!(log.lines(), [""; 0]);
    assert_eq!(fs::read_dir(&here).unwrap().count(), 0, "nothing was made");
    // A run without shared state ignores the location, and --state takes precedence over the
    // variable.
    let run = || retry().dir(&here).env("RETRY_STATE", "file:///x");
    run().arg("true").run().code(0).silent();
    run().args(["--breaker", "b", "--state", "below", "true"]).run().code(0).silent();
}

#[test]
fn a_directory_may_have_any_name() {
    let scratch = Scratch::new();
    for name in ["./redis://x", "a/redis://x", "1://x", "://x", "a_b://x", "./d.e/f", ".x/y", "g.h/i", "../k"]
    {
        let below = scratch.join("below");
        fs::create_dir_all(&below).unwrap();
        let run = retry().dir(&below).args(["--breaker", "b", "--state", name, "true"]).run();
        run.code(0).silent();
        assert!(below.join(name).join("b.json.lock").exists(), "{name}");
        fs::remove_dir_all(&below).unwrap();
    }
}

#[test]
fn a_wrong_time_of_a_trip_or_a_rate_has_the_hint_for_its_unit() {
    let minutes = "minutes are m, in lower case, as in 5m";
    let weeks = "the longest unit is the week";
    let forms = "a duration is a number of seconds";
    let rate = "a budget is a number of retries per time";
    for (option, hint) in [
        ("--breaker-trip=x=1M", minutes),
        ("--breaker-trip=a=b=1M", minutes),
        ("--breaker-trip=x=1y", weeks),
        ("--breaker-trip=x=2H", "units are in lower case, as in 2h"),
        ("--breaker-trip=x=0", "write a duration such as 30s or 5m"),
        ("--breaker-trip=x=0s", "write a duration such as 30s or 5m"),
        ("--breaker-trip=x=-1", forms),
        ("--breaker-trip=x=.5q", forms),
        ("--breaker-trip=x=5 minuets", forms),
        ("--breaker-trip=x=soon", "the text after the last = is a duration, as in x=2h or x=soon=2h"),
        ("--breaker-trip=x=", "the text after the last = is a duration, as in x=2h"),
        ("--budget=x=10/M", minutes),
        ("--budget=10/M", minutes),
        ("--budget=x=10/5M", minutes),
        ("--budget=x=10/month", weeks),
        ("--budget=x=10/S", "units are in lower case, as in 1s"),
        ("--budget=x=10/5q", rate),
        ("--budget=x=ten", rate),
    ] {
        let run = retry().arg(option);
        let run = if option.starts_with("--budget") { run.arg("true").run() } else { run.run() };
        run.code(125).stdout("").stderr_contains(&format!("\nretry: hint: {hint}"));
        run.check(!run.stderr.contains("=0=2h"), "no time in a name");
    }
}
