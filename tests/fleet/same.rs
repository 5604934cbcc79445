//! One policy, two stores: the same history gives the same answers in files and in a server.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::records::Records;
use crate::support::redis::Redis;
use crate::support::*;

/// A step of a history: the options of a run, and its script.
type Step = (Vec<&'static str>, &'static str);

fn step() -> impl Strategy<Value = Step> {
    let attempt =
        |options: &[&'static str]| [&["--breaker", "NAME", "--breaker-cooldown", "1h"], options].concat();
    prop_oneof![
        4 => Just((attempt(&["-n1", "--breaker-failures", "3"]), "exit 7")),
        2 => Just((attempt(&["-n1"]), "exit 0")),
        2 => Just((attempt(&["-n3", "-d0", "--budget", "2/10h"]), "exit 7")),
        2 => Just((attempt(&["-n2", "-d0", "--budget", "50%"]), "[ $RETRY_ATTEMPT = 2 ]")),
        1 => Just((attempt(&["-n1", "-x7", "--breaker-failures", "3"]), "exit 7")),
        1 => Just((vec!["--breaker-reset", "NAME"], "")),
        1 => Just((vec!["--breaker-trip", "NAME=10h"], "")),
    ]
}

/// The answer of a run, and what is known after it, without times and places.
fn answer(run: impl Fn(&dyn Fn(Retry) -> Retry) -> Run, step: &Step, name: &str) -> (Option<i32>, String) {
    let (options, script) = step;
    let done = run(&|run| {
        let run = run.args(options.iter().map(|option| option.replace("NAME", name)));
        if script.is_empty() { run } else { run.sh(script) }
    });
    let status = run(&|run| run.args([&format!("--breaker-status={name}"), "--json"]));
    let row: serde_json::Value = serde_json::from_slice(&status.code(0).stdout).unwrap();
    let tokens = row["budget"]["tokens"].as_f64().map(|tokens| (tokens + 0.05).floor());
    let fields = ["state", "failures", "last", "cause", "failed_probes"].map(|field| row[field].to_string());
    (done.status.code(), format!("{fields:?} {tokens:?}"))
}

#[test]
fn the_same_history_has_the_same_answers() {
    let Some(server) = Redis::shared() else { return };
    let (records, case) = (Records::new(), std::cell::Cell::new(0));
    let config = Config { cases: 3, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..16), |steps| {
            case.set(case.get() + 1);
            let name = format!("same{}", case.get());
            for step in &steps {
                let in_file = answer(|run| run(records.retry()).run(), step, &name);
                let in_server = answer(|run| server.run(run), step, &name);
                prop_assert_eq!(in_file, in_server, "{:?}", step);
            }
            Ok(())
        })
        .unwrap();
}
