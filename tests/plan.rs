//! `--plan`: what the options mean, without a run.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::support::retry::{BINARY, nice};
use crate::support::{Retry, Run, Scratch, Terminal, retry};

/// The run of a plan, with a locale that shows blocks. The words are separated by blanks.
fn plan(options: &str) -> Retry {
    let retry = retry().env_remove("COLUMNS").env_remove("LC_CTYPE").env("LC_ALL", "C.UTF-8");
    retry.arg("--plan").args(options.split(' ').filter(|word| !word.is_empty()))
}

#[track_caller]
fn text(run: &Run) -> String {
    String::from_utf8(run.code(0).silent().stdout.clone()).unwrap()
}

#[track_caller]
fn json(options: &str) -> Value {
    serde_json::from_slice(&plan(&format!("--json {options}")).run().code(0).silent().stdout).unwrap()
}

#[test]
fn a_plan_runs_and_touches_nothing() {
    let scratch = Scratch::new();
    let options = "--check touch\tcheck --on-retry touch\thook --report report --breaker b --budget 20% --state \
                   state --idempotency-key file:key --headers headers --hold=both";
    let options = options.split(' ').map(|word| word.replace('\t', " "));
    let run = retry().dir(scratch.path()).arg("--plan").args(options).args(["touch", "ran"]).run();
    assert!(text(&run).starts_with("touch (no profile): a run makes 5 attempts"), "{run:?}");
    // Nobody listens there, and the answer would be a file.
    for options in ["--breaker b --state redis://127.0.0.1:1 touch ran", "--once answer touch ran"] {
        let run = plan(options).dir(scratch.path()).run();
        assert!(text(&run).starts_with("touch (no profile): a run makes 5 attempts"), "{options}: {run:?}");
    }
    // The command is not even looked for.
    let run = plan("-n 3 -- no-such-command --plan").dir(scratch.path()).run();
    assert!(text(&run).starts_with("no-such-command (no profile): "), "{run:?}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    // stdin stays as it is.
    let script = format!("{{ {BINARY} --plan cat >/dev/null; cat; }}");
    Retry::new("sh").args(["-c", &script]).stdin("left").run().code(0).stdout("left");
}

#[test]
fn the_profile_is_named() {
    for (options, head) in [
        ("sudo curl x", "curl (profiles curl, sudo): a run"),
        ("nice curl x", "curl (profile curl): a run"),
        ("-p git,curl -- ./x", "x (profiles git, curl): a run"),
        ("-p none curl", "curl (no profile): a run"),
        ("--label job curl", "job (profile curl): a run"),
        ("", "A run makes 5 attempts"),
    ] {
        let run = plan(options).run();
        assert!(text(&run).starts_with(head), "{options}: {run:?}");
    }
}

#[test]
fn wrong_options_are_errors_as_ever() {
    for (options, error) in [
        ("-n 0", "retry: --max 0: 0 attempts would run nothing"),
        ("--splay 9 --deadline 5", "retry: --splay must be shorter than --deadline"),
        ("--min-delay 9 --max-delay 5", "retry: --min-delay is longer than --max-delay"),
        ("--breaker-wait x", "retry: --breaker-wait needs --breaker"),
        ("--summary x", "retry: --summary and --plan contradict each other"),
        ("--markdown", "retry: --markdown does nothing with --plan"),
        ("500 curl", "retry: --plan takes its number of clients after an equals sign"),
    ] {
        plan(options).run().code(125).stdout("").says(&[error, "retry: hint: {*}"]);
    }
    for clients in ["0", "-1", "x", "1000001", ""] {
        let run = retry().arg(format!("--plan={clients}")).run();
        run.code(125).stdout("").says(&["retry: --plan {*}", "retry: hint: {*}1 to 1000000"]);
    }
}

#[test]
fn a_page_fits_the_terminal_and_the_locale() {
    let lines = |run: Run| text(&run).lines().map(str::to_owned).collect::<Vec<_>>();
    let wide = lines(plan("-n 8 --max-delay 30s -- curl URL").run());
    assert!(wide.len() <= 24, "{wide:#?}");
    assert!(wide.iter().all(|line| line.chars().count() <= 80), "{wide:#?}");
    assert!(wide.iter().any(|line| line.contains('\u{2588}')), "{wide:#?}");
    let narrow = lines(plan("-n 8 --timeout 9 --seed 7 curl").env("COLUMNS", "40").run());
    assert!(narrow.iter().all(|line| line.chars().count() <= 40), "{narrow:#?}");
    for (name, locale) in [("LC_ALL", "C"), ("LC_CTYPE", "POSIX"), ("LANG", "C")] {
        let run = plan("--label größer x").env_remove("LC_ALL").env(name, locale).run();
        let page = text(&run);
        assert!(page.is_ascii() && page.contains("###"), "{page}");
    }
    let mut terminal = Terminal::shell();
    terminal.size(24, 40);
    terminal.line(&format!("unset COLUMNS; LC_ALL=C {BINARY} --plan -n 3; echo do''ne"));
    terminal.expect("\n");
    let page = terminal.expect("done\r\n");
    assert!(page.contains("###") && page.lines().all(|line| line.trim_end().len() <= 40), "{page}");
}

#[test]
fn an_outage_must_leave_room_for_all_successes() {
    let outlives = |options: &str| {
        json(&format!("-d1 -j none {options}"))["quick"]["outlives_s"]["most"].as_f64().unwrap()
    };
    // The attempts start after 0, 1, 3, 7 and 15 seconds.
    for (options, expected) in [
        ("-n5", 15.0),
        ("-n5 --successes 3", 3.0),
        ("-n5 --successes 5", 0.0),
        ("-n5 --deadline 9 --successes 3", 3.0),
        ("-n9 --deadline 9 --successes 3", 3.0),
        ("-n9 --deadline 9.5 --successes 3", 7.0),
    ] {
        assert_eq!(outlives(options).to_bits(), f64::to_bits(expected), "{options}");
    }
    let page = text(&plan("--deadline 0.5s -d 1s -j none").run());
    assert!(!page.contains("in the same instant"), "{page}");
}

#[test]
fn a_plan_without_an_end_ends() {
    for options in [
        "-n 1000000",
        "-n unlimited",
        "-n unlimited -d 0",
        "--deadline 1m -d 0",
        "-n 4294967295 -d 500000w --max-delay 500000000w --timeout 500000000w",
        "--deadline 52w --max-delay 1s",
        "-n 100000 --factor 1000000 --max-delay 18446744073709551615",
    ] {
        let page = text(&plan(options).run());
        assert!(page.lines().count() < 36, "{page}");
        assert!(page.contains("The plan follows the first 10000 attempts of a run."), "{page}");
    }
    let crowd = |options: &str| {
        let run = retry().arg("--plan=1000000").args(options.split(' ')).arg("--json").run();
        let plan: Value = serde_json::from_slice(&run.code(0).stdout).unwrap();
        plan["crowd"]["peak_100ms"].as_u64().unwrap()
    };
    assert_eq!(crowd("-j none"), 1_000_000);
    assert!((180_000..230_000).contains(&crowd("-n 50 -d 1 -j equal --backoff constant")));
}

#[test]
fn a_deadline_of_an_outer_retry_is_left_out() {
    let plain = text(&plan("-n 3").run());
    let soon =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 60_000;
    let outer = |deadline: &str| {
        let inside = plan("-n 3").env("RETRY_DEADLINE", deadline);
        text(&inside.env("RETRY_ATTEMPT", "1").env("RETRY_MAX_ATTEMPTS", "5").run())
    };
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let note = "RETRY_DEADLINE is set: an outer retry may end the run earlier. The plan leaves it out. ";
    let noted = words(&outer(&soon.to_string()));
    assert!(noted.contains(note), "{noted}");
    assert_eq!(noted.replace(note, ""), words(&plain));
    assert_eq!(outer("1000"), plain, "a deadline in the past counts as absent");
    assert_eq!(json("-n 3")["outer_deadline"], false);
}

#[test]
fn a_plan_takes_the_options_of_a_policy() {
    let scratch = Scratch::new();
    scratch.file("seven", "--max=7\n--jitter=none\n");
    for run in [plan("--policy ./seven"), plan("").env("RETRY_POLICY", "./seven")] {
        let run = run.dir(scratch.path()).run();
        assert!(
            text(&run).starts_with("A run makes 7 attempts and outlives an outage of 1m 3s; "),
            "{run:?}"
        );
    }
    let run = plan("--policy ./seven -n 2").dir(scratch.path()).run();
    assert!(text(&run).starts_with("A run makes 2 attempts and outlives an outage of 1s; "), "{run:?}");
    scratch.file("action", "--plan\n");
    plan("--policy ./action").dir(scratch.path()).run().code(125).stderr_contains("action:1: ");
}

#[test]
fn a_warning_is_told_if_it_is_true() {
    for (options, kinds) in [
        ("-n 8", &[][..]),
        ("-n 1", &["no-retry"]),
        ("--deadline 0.4 -j none", &["deadline-before-retry"]),
        ("--deadline 9 --timeout 9", &["deadline-before-timeout"]),
        ("--deadline 10 --timeout 9.9", &["no-retry-after-timeout"]),
        ("--deadline 10 --timeout 2", &[]),
        ("--deadline 9 -n 50", &["max-not-reached"]),
        ("--deadline 1h -n 5", &[]),
        ("-d 0", &["no-delay"]),
        ("-d 1,2,3", &["in-step"]),
        ("-d 1,2,3 -j full", &[]),
        ("-d 1,2,3 --splay 1m", &[]),
        ("-d 9 --max-delay 2", &["max-delay-below-delay"]),
        ("-d 9", &[]),
        ("--healthy-after 1m --timeout 30", &["never-healthy"]),
        ("--healthy-after 10 --timeout 30", &["timeout-is-healthy"]),
        ("--healthy-after 10", &[]),
        ("--successes 5", &["no-room-for-failure"]),
        ("--successes 3", &[]),
        ("--successes 9 --deadline 5", &["successes-past-deadline"]),
    ] {
        let plan = json(options);
        let seen: Vec<&str> =
            plan["warnings"].as_array().unwrap().iter().filter_map(|one| one["kind"].as_str()).collect();
        assert_eq!(seen, kinds, "{options}");
        let page = text(&self::plan(options).run());
        assert_eq!(page.matches("Warning: ").count(), kinds.len(), "{page}");
    }
}

#[test]
fn every_plan_fits_the_schema() {
    need!("jsonschema");
    let scratch = Scratch::new();
    let plans: Vec<Value> = [
        "",
        "-n 1",
        "-n unlimited --seed 18446744073709551615",
        "-n 3 --timeout 5 --seed 7 --until 3 -- sudo curl x",
        "--deadline 1m --splay 5 -d 1,2 -p curl,git true",
        "--deadline 0.1 --timeout 1 -n 9",
    ]
    .map(json)
    .into();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plan.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(schema).unwrap()).unwrap();
    // References are looked up from the root.
    let each = serde_json::json!({ "type": "array", "items": schema, "$defs": schema["$defs"] });
    let schema = scratch.file("each.json", serde_json::to_vec(&each).unwrap());
    let check = |plans: &[Value]| {
        let all = scratch.file("all.json", serde_json::to_vec(plans).unwrap());
        Command::new("jsonschema").arg("-i").arg(all).arg(&schema).output().unwrap()
    };
    let valid = check(&plans);
    assert!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stderr));
    for member in ["quick", "crowd", "warnings", "seeded"] {
        let mut wrong = plans[0].clone();
        wrong[member] = "x".into();
        assert!(!check(&[wrong]).status.success(), "the schema accepts any {member}");
    }
}

/// The waits that a real run has announced in its report, in order.
fn waits(report: &Path) -> Vec<f64> {
    let text = fs::read_to_string(report).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "attempt").filter_map(|line| line["next_s"].as_f64()).collect()
}

/// The moments of attempts without the time that the attempts take.
fn moments(waits: &[f64]) -> Vec<f64> {
    std::iter::once(0.0)
        .chain(waits.iter().scan(0.0, |sum, wait| {
            *sum += wait;
            Some(*sum)
        }))
        .collect()
}

#[test]
fn a_seed_means_the_same_in_a_plan_and_in_a_run() {
    let scratch = Scratch::new();
    for (n, jitter) in ["full", "equal", "decorrelated", "additive"].into_iter().enumerate() {
        let options = format!("-n 7 -d 0.01 -j {jitter} --seed 42");
        let report = scratch.join(format!("report{n}"));
        let run = retry().args(options.split(' ')).arg("-qq").arg("--report").arg(&report).arg("false");
        run.run().code(1);
        let planned = json(&options);
        let planned: Vec<f64> =
            planned["seeded"]["starts_s"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        let real = moments(&waits(&report));
        assert_eq!((planned.len(), real.len()), (7, 7));
        // Each wait in the report is rounded down to a millisecond.
        for (planned, real) in planned.iter().zip(&real) {
            assert!((-0.001..0.007).contains(&(planned - real)), "{planned} {real}");
        }
    }
}

/// A service that is down: it closes each connection. Returns its port and the count of connections.
fn down() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, count)
}

const RUNS: usize = 200;
const AT_ONCE: usize = 20;
const OPTIONS: &str = "-n 4 -d 0.02";

/// Compares the plan with real runs against a service that is down. Their seeds are fixed, so that the
/// comparison has the same result each time.
#[test]
fn two_hundred_runs_do_what_the_plan_says() {
    let (port, requests) = down();
    let scratch = Scratch::new();
    let report = |seed: usize| scratch.join(seed.to_string());
    let start = |seed: usize| {
        let mut command = nice();
        command.args(OPTIONS.split(' ')).args(["-qq", "--seed", &seed.to_string(), "--report"]);
        let script = format!("read -r x </dev/tcp/127.0.0.1/{port}");
        command.arg(report(seed)).args(["bash", "-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env_remove("RETRY_REPORT").spawn().unwrap()
    };
    let mut running = Vec::new();
    for seed in 0..RUNS {
        running.push(start(seed));
        if running.len() == AT_ONCE {
            assert_eq!(running.remove(0).wait().unwrap().code(), Some(1));
        }
    }
    for mut run in running {
        assert_eq!(run.wait().unwrap().code(), Some(1));
    }
    let plan = json(OPTIONS);
    assert_eq!(requests.load(Ordering::SeqCst), RUNS * 4, "requests per client");
    assert_eq!(plan["crowd"]["requests_per_client"], 4.0);
    let real: Vec<Vec<f64>> = (0..RUNS).map(|seed| moments(&waits(&report(seed)))).collect();
    for start in plan["quick"]["starts"].as_array().unwrap().iter().skip(1) {
        let attempt = usize::try_from(start["attempt"].as_u64().unwrap()).unwrap();
        let mut at: Vec<f64> = real.iter().map(|moments| moments[attempt - 1]).collect();
        at.sort_by(f64::total_cmp);
        let planned = |name: &str| start[name].as_f64().unwrap();
        let near = |real: f64, planned: f64, of: f64| (real - planned).abs() <= of / 10.0 + 0.001;
        let (earliest, median, latest) = (planned("earliest_s"), planned("median_s"), planned("latest_s"));
        assert!(near(at[RUNS / 2], median, median), "{attempt}: {} {median}", at[RUNS / 2]);
        // Fewer runs do not reach as far.
        assert!(
            at[0] >= earliest - 0.003 && near(at[0], earliest, latest),
            "{attempt}: {} {earliest}",
            at[0]
        );
        let last = at[RUNS - 1];
        assert!(last <= latest + 0.003 && near(last, latest, latest), "{attempt}: {last} {latest}");
    }
}
