//! Tries to break retry with random options, random commands, and random signals at random times.
//! Each attempt writes a log. After each run, the log must agree with the exit status, the output,
//! and the time of the run. It must also agree with the processes, the files and the terminal that
//! the run leaves.
//!
//! `cargo bench --bench torture [-- SECONDS [FIRST-SEED]]` runs for ten minutes by default. The
//! default for the first seed comes from the clock. A failing run prints its seed. `cargo bench
//! --bench torture -- 0 SEED [TIMES]` repeats the run of a seed.

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
mod seen;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::prctl::set_child_subreaper;
use plan::Plan;
use seen::Wrong;
use support::{argument, arguments, preamble};

/// A busy machine can make a run late. A late run is therefore repeated until it is right twice in
/// a row, with at most this many tries.
const TRIES: u32 = 7;

/// The seed of the current run, for the message of a panic.
static SEED: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    if let [first, words @ ..] = &arguments()[..]
        && first == stage::LEADER
    {
        return stage::lead(words);
    }
    // The processes that retry leaves behind, dead or alive, become children of this process.
    set_child_subreaper(true).expect("a subreaper");
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let (seconds, first, times) = (argument(0, 600), argument(1, clock), argument(2, 0));
    preamble("Torture");
    println!("From seed {first} on.");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        println!("seed {}: the driver failed", SEED.load(Ordering::Relaxed));
        hook(panic);
    }));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut runs, mut failed, mut late) = (0_u64, 0_u64, 0_u64);
    loop {
        let seed = if times > 0 { first } else { first + runs };
        SEED.store(seed, Ordering::Relaxed);
        let plan = Plan::draw(seed);
        match attempt(&plan) {
            Ok(None) => {}
            Ok(Some(what)) => {
                late += 1;
                println!("seed {seed}, right when made again: {what}: {plan}");
            }
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

/// Makes a run. If the run was late and its repetitions were right, returns how the run was late.
fn attempt(plan: &Plan) -> Result<Option<String>, String> {
    let (mut late, mut right) = (None, 0);
    for _ in 0..TRIES {
        match stage::run(plan) {
            Ok(()) if late.is_none() || right == 1 => return Ok(late),
            Ok(()) => right += 1,
            Err(Wrong::Late(what)) => (late, right) = (Some(what), 0),
            Err(Wrong::Never(what)) => return Err(what),
        }
    }
    Err(late.unwrap_or_default())
}
