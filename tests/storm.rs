//! A crowd of clients and a service that was down. Retries must not make the outage worse, and all
//! clients must succeed.

use std::time::Duration;

use crate::support::Scratch;
use crate::support::retry::nice;
use crate::support::storm::{Aftermath, Service, storm};

const CLIENTS: usize = 60;

const SERVICE: Service =
    Service { outage: Duration::from_secs(3), stumbles: 0, rate: 30.0, asks: None, gathers: 0 };

/// The same service, but its outage begins when all clients have connected, even on a busy machine.
const GATHERING: Service = Service { gathers: CLIENTS, ..SERVICE };

/// A client makes one connection, prints the answer to stderr, and exits with 0 if the answer is
/// 200.
pub(crate) const CLIENT: &str = r#"exec 3<>"/dev/tcp/127.0.0.1/$PORT" || exit 7; IFS= read -r -d "" -u 3 x; echo "$x" >&2; [[ $x == *200* ]]"#;

fn crowd(service: Service, options: &[&str], scratch: &Scratch) -> Aftermath {
    let after = storm(service, CLIENTS, Duration::from_mins(1), |port| {
        let mut command = nice();
        command.args(options).args(["--", "bash", "-c", CLIENT]);
        command.env("PORT", port.to_string()).env("RETRY_STATE", scratch.path());
        command
    });
    assert_eq!(after.unfinished, 0);
    // Each successful client was served exactly once.
    let served = after.arrivals.iter().filter(|arrival| arrival.served).count();
    assert_eq!(served + after.gave_up, CLIENTS);
    after
}

#[test]
fn with_a_deadline_all_come_through_and_spread() {
    let scratch = Scratch::new();
    let after = crowd(GATHERING, &["--deadline", "50s", "--max-delay", "4s"], &scratch);
    assert_eq!(after.gave_up, 0);
    // Full jitter from one second on makes about three and a half requests in three seconds, with a
    // tenth of variation.
    assert!((2.0..3.9).contains(&after.amplification()), "{}", after.amplification());
    assert!(after.peak() < CLIENTS / 3, "{}", after.peak());
}

#[test]
fn with_a_budget_the_outage_sees_few_retries() {
    let scratch = Scratch::new();
    let after = crowd(GATHERING, &["--budget", "b=20%", "-n", "20"], &scratch);
    // The budget allows ten tokens at the start and a fifth of the first attempts, and the clients
    // use them.
    let most = (60.0 + 10.0 + 12.0 + 1.0) / 60.0;
    assert!((1.1..=most).contains(&after.amplification()), "{}", after.amplification());
}

#[test]
fn a_budget_lets_through_whom_a_hiccup_has_met() {
    let scratch = Scratch::new();
    // The service stumbles less often than the ten tokens of the budget, and it could serve all
    // clients at once.
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
    // Five failures open the breaker, but further requests of the 60 clients may already be on their
    // way: about ten, forty on a busy machine, and all on a machine that has twenty processes for
    // each processor. Without the breaker there are more than two requests per client.
    assert!(after.amplification() < 1.5, "{}", after.amplification());
}

#[test]
fn with_retry_after_nobody_comes_before_he_is_told_to() {
    let scratch = Scratch::new();
    // The wait is longer than the outage, and longer than any first delay of a client.
    let asks = Duration::from_secs(4);
    let service = Service { asks: Some(4), ..GATHERING };
    let after = crowd(service, &["-p", "http", "--deadline", "50s"], &scratch);
    assert_eq!(after.gave_up, 0);
    // All clients have come once before the first client returns, and the returns are spread over a
    // second.
    let mut times: Vec<Duration> = after.arrivals.iter().map(|arrival| arrival.at).collect();
    times.sort();
    let (first, again, last) = (times[0], times[CLIENTS], times[2 * CLIENTS - 1]);
    assert!(again >= first + asks, "{first:?} {again:?}");
    assert!(last > again + Duration::from_millis(700), "{again:?} {last:?}");
}
