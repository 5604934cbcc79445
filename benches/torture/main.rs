//! Tries to break the tool: random options, random commands, random signals at random times. What each attempt
//! did it wrote down itself; and after each run that must agree with the exit status, the output, the time it
//! took, and with what is left of processes, files and the terminal.
//!
//! `cargo bench --bench torture [-- SECONDS [FIRST-SEED]]`, ten minutes by default, from a seed by the clock. A
//! failing run prints its seed; `cargo bench --bench torture -- 0 SEED [TIMES]` repeats what it drew.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measurement prints, fails by a panic, and counts in floating point"
)]

mod judge;
mod plan;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use judge::Wrong;
use nix::sys::prctl::set_child_subreaper;
use plan::Plan;
use support::{argument, arguments, preamble};

/// So often is a run made that only took too long: a busy machine does that too.
const TRIES: u32 = 3;

fn main() -> ExitCode {
    if let [first, words @ ..] = &arguments()[..]
        && first == stage::LEADER
    {
        return stage::lead(words);
    }
    // What retry leaves behind, dead or alive, comes to this process.
    set_child_subreaper(true).expect("a subreaper");
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let (seconds, first, times) = (argument(0, 600), argument(1, clock), argument(2, 0));
    preamble("Torture");
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut runs, mut failed, mut late) = (0_u64, 0_u64, 0_u64);
    loop {
        let seed = if times > 0 { first } else { first + runs };
        let plan = Plan::draw(seed);
        match attempt(&plan) {
            Ok(again) => late += u64::from(again),
            Err(what) => {
                failed += 1;
                println!("seed {seed}: {what}: {plan}");
            }
        }
        runs += 1;
        if if times > 0 { runs >= times } else { Instant::now() >= end } {
            break;
        }
    }
    let again = if late > 0 { format!(", {late} late and made again") } else { String::new() };
    println!("{runs} runs from seed {first} on, {failed} failed{again}");
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Makes a run; whether one was late, and a later one was not.
fn attempt(plan: &Plan) -> Result<bool, String> {
    for tried in 1.. {
        match stage::run(plan) {
            Ok(()) => return Ok(tried > 1),
            Err(Wrong::Late(_)) if tried < TRIES => {}
            Err(Wrong::Late(what) | Wrong::Never(what)) => return Err(what),
        }
    }
    Ok(false)
}
