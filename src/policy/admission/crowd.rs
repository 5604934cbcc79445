//! A crowd that waits for a breaker, in simulated time: how soon it is through, and what it costs the
//! service.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::breaker::{Admitted, Applicant, Breaker, Observation, Opens, Pass, Settings};
use super::moment::Moment;
use super::*;

/// A service that refuses everybody until `outage` is over. Then it serves `rate` requests a second
/// and refuses the rest. An answer takes `latency`.
#[derive(Debug, Clone, Copy)]
struct Service {
    outage: Duration,
    rate: f64,
    latency: Duration,
}

/// The results of a storm.
#[derive(Debug)]
struct Aftermath {
    /// The time until all clients were through, divided by the least possible time.
    slowness: f64,
    /// Requests for each client in the outage.
    in_outage: f64,
    /// Refused requests for each client after the outage.
    refused: f64,
}

/// What a client does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Ask,
    Arrive,
    Report { served: bool },
}

struct Client {
    pass: Option<Pass>,
    failures: u32,
}

/// Lets `clients` call the service, all within the first half second, with `--breaker-wait`.
fn storm(clients: usize, service: Service, cooldown: Duration, seed: u64) -> Aftermath {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let opens = Opens::InRow(NonZeroU32::new(5).unwrap());
    let settings = Settings { opens, cooldown, lease: Duration::from_mins(5) };
    let admission = Admission { breaker: Some(settings), wait: true, budget: None };
    let start = Moment(1_000_000_000);
    let end_of_outage = start.plus(service.outage);
    let burst = (service.rate / 10.0).max(1.0);
    let (mut tokens, mut filled) = (burst, end_of_outage);
    let (mut breaker, mut in_outage, mut refused, mut last) = (Breaker::default(), 0, 0, start);
    let mut all: Vec<Client> = (0..clients).map(|_| Client { pass: None, failures: 0 }).collect();
    let mut events: BinaryHeap<Reverse<(Moment, usize, Act)>> = (0..clients)
        .map(|client| {
            Reverse((start.plus(Duration::from_millis(rng.random_range(0..500))), client, Act::Ask))
        })
        .collect();
    while let Some(Reverse((now, client, act))) = events.pop() {
        assert!(now.since(start) < Duration::from_mins(30), "somebody starves");
        let mut then = |after: Duration, act| events.push(Reverse((now.plus(after), client, act)));
        match act {
            Act::Ask => {
                let pid = u32::try_from(client).unwrap();
                let applicant = Applicant { pid, lease: settings.lease, waits: true, returns: false };
                match breaker.admit(&applicant, now, |_, _| true) {
                    Admitted::Yes(pass) => {
                        all[client].pass = Some(pass);
                        then(service.latency / 2, Act::Arrive);
                    }
                    Admitted::No(refusal) => {
                        let look = admission.next_look(&refusal, Duration::MAX, &mut rng);
                        then(look.unwrap(), Act::Ask);
                    }
                }
            }
            Act::Arrive => {
                tokens = (tokens + now.since(filled).as_secs_f64() * service.rate).min(burst);
                filled = filled.max(now);
                let served = now >= end_of_outage && tokens >= 1.0;
                if served {
                    tokens -= 1.0;
                } else if now < end_of_outage {
                    in_outage += 1;
                } else {
                    refused += 1;
                }
                then(service.latency / 2, Act::Report { served });
            }
            Act::Report { served } => {
                let observation = match served {
                    true => Observation::Success,
                    false => Observation::Failure { description: String::new(), asked: None },
                };
                breaker.record(all[client].pass.take().unwrap(), &observation, None, now, &settings);
                if served {
                    last = last.max(now);
                } else {
                    // Full jitter, up to a minute.
                    all[client].failures += 1;
                    let most = (1000_u64 << all[client].failures.min(7).saturating_sub(1)).min(60_000);
                    then(Duration::from_millis(rng.random_range(0..=most)), Act::Ask);
                }
            }
        }
    }
    let count = |things: u32| f64::from(things) / f64::from(u32::try_from(clients).unwrap());
    let least = service.outage.as_secs_f64()
        + (f64::from(u32::try_from(clients).unwrap()) - burst).max(0.0) / service.rate;
    Aftermath {
        slowness: last.since(start).as_secs_f64() / least,
        in_outage: count(in_outage),
        refused: count(refused),
    }
}

#[test]
fn a_crowd_is_through_soon_and_spares_the_service() {
    let (secs, millis) = (Duration::from_secs, Duration::from_millis);
    let quick = |outage, rate| Service { outage: secs(outage), rate, latency: millis(4) };
    let slow = |outage, rate| Service { outage: secs(outage), rate, latency: millis(200) };
    // The limits are those of the mean of seven storms: the time, requests in the outage, and refused
    // requests after it. With a slow service, more requests are under way when the outage begins.
    for (clients, service, cooldown, [slowness, in_outage, refused]) in [
        (300, quick(10, 60.0), 30, [1.2, 0.1, 0.1]),
        (300, quick(10, 60.0), 5, [1.2, 0.1, 0.1]),
        (300, slow(10, 60.0), 30, [1.4, 0.6, 0.3]),
        (60, quick(4, 40.0), 30, [1.35, 0.2, 0.1]),
        (60, slow(60, 5.0), 30, [1.3, 1.0, 0.8]),
        (1000, quick(100, 20.0), 30, [1.1, 0.1, 0.2]),
        (20, quick(600, 100.0), 30, [1.05, 3.5, 0.1]),
        (30, quick(10, 1.0), 30, [1.8, 0.6, 0.9]),
    ] {
        let storms: Vec<Aftermath> =
            (0..7).map(|seed| storm(clients, service, secs(cooldown), seed)).collect();
        let mean = |figure: fn(&Aftermath) -> f64| storms.iter().map(figure).sum::<f64>() / 7.0;
        let figures =
            [mean(|after| after.slowness), mean(|after| after.in_outage), mean(|after| after.refused)];
        let within = figures.iter().zip([slowness, in_outage, refused]).all(|(figure, most)| *figure <= most);
        assert!(within, "{clients} clients, {service:?}, cooldown {cooldown} s: {figures:?}");
    }
}
