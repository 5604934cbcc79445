//! A crowd against a service that was down: retries must not make it worse, and all must come
//! through.

use std::process::Command;
use std::time::Duration;

use crate::support::Scratch;
use crate::support::retry::BINARY;
use crate::support::storm::{Aftermath, Service, storm};

const CLIENTS: usize = 60;

const SERVICE: Service =
    Service { outage: Duration::from_secs(3), stumbles: 0, rate: 30.0, asks: None, gathers: 0 };

/// The same, whose outage begins when all clients are there, however busy the machine is.
const GATHERING: Service = Service { gathers: CLIENTS, ..SERVICE };

/// A client: one connection, and the answer on stderr; 0 if it is 200.
const CLIENT: &str = r#"exec 3<>"/dev/tcp/127.0.0.1/$PORT" || exit 7; IFS= read -r -d "" -u 3 x; echo "$x" >&2; [[ $x == *200* ]]"#;

fn crowd(service: Service, options: &[&str], scratch: &Scratch) -> Aftermath {
    let after = storm(service, CLIENTS, Duration::from_mins(1), |port| {
        let mut command = Command::new(BINARY);
        command.args(options).args(["--", "bash", "-c", CLIENT]);
        command.env("PORT", port.to_string()).env("RETRY_STATE", scratch.path());
        command
    });
    assert_eq!(after.unfinished, 0);
    // Each that succeeded was served, and nobody twice.
    let served = after.arrivals.iter().filter(|arrival| arrival.served).count();
    assert_eq!(served + after.gave_up, CLIENTS);
    after
}

#[test]
fn with_a_deadline_all_come_through_and_spread() {
    let scratch = Scratch::new();
    let after = crowd(GATHERING, &["--deadline", "50s"], &scratch);
    assert_eq!(after.gave_up, 0);
    // Full jitter from a second on: about three and a half in three seconds, with a tenth more or
    // less.
    assert!((2.0..3.9).contains(&after.amplification()), "{}", after.amplification());
    assert!(after.peak() < CLIENTS / 3, "{}", after.peak());
}

#[test]
fn with_a_budget_the_outage_sees_few_retries() {
    let scratch = Scratch::new();
    let after = crowd(GATHERING, &["--budget", "b=20%", "-n", "20"], &scratch);
    // Ten that are kept, and a fifth of the first attempts; and they are made use of.
    let most = (60.0 + 10.0 + 12.0 + 1.0) / 60.0;
    assert!((1.1..=most).contains(&after.amplification()), "{}", after.amplification());
}

#[test]
fn a_budget_lets_through_whom_a_hiccup_has_met() {
    let scratch = Scratch::new();
    // Fewer than the ten that are kept; and it could serve all at once.
    let hiccup = Service { outage: Duration::ZERO, stumbles: 8, rate: 600.0, asks: None, gathers: 0 };
    let after = crowd(hiccup, &["--budget", "b=20%", "-n", "20"], &scratch);
    assert_eq!(after.gave_up, 0);
    assert_eq!(after.arrivals.len(), CLIENTS + 8);
}

#[test]
fn with_a_breaker_that_is_waited_for_the_outage_sees_few_requests_and_all_come_through() {
    let scratch = Scratch::new();
    let options = ["--breaker", "b", "--breaker-cooldown", "2s", "--breaker-wait", "--deadline", "55s"];
    let after = crowd(SERVICE, &options, &scratch);
    assert_eq!(after.gave_up, 0);
    // Not even one for each client: five failures open it, of 60. As many again may be on their
    // way, and more on a busy machine.
    assert!(after.amplification() <= 0.45, "{}", after.amplification());
}

#[test]
fn with_retry_after_nobody_comes_before_he_is_told_to() {
    let scratch = Scratch::new();
    // Longer than the outage, and than any first delay of its own.
    let asks = Duration::from_secs(4);
    let service = Service { asks: Some(4), ..GATHERING };
    let after = crowd(service, &["-p", "http", "--deadline", "50s"], &scratch);
    assert_eq!(after.gave_up, 0);
    // All have come once before the first may come again; and they come spread over a second.
    let mut times: Vec<Duration> = after.arrivals.iter().map(|arrival| arrival.at).collect();
    times.sort();
    let (first, again, last) = (times[0], times[CLIENTS], times[2 * CLIENTS - 1]);
    assert!(again >= first + asks, "{first:?} {again:?}");
    assert!(last > again + Duration::from_millis(700), "{again:?} {last:?}");
}
