//! Many clients that fail at the same instant, and the arrivals of their retries.

use std::num::NonZeroU32;
use std::time::Duration;

use rand::Rng;

use super::forecast::Forecast;
use super::walk::{FOLLOWED, Walk};
use crate::policy::Policy;

/// The number of attempts of all clients together for which there is time.
const ATTEMPTS: usize = 2_000_000;

/// The attempts of a client that arrive in the chart, if a run is not followed to its end.
const CHARTED: usize = 20;

/// The time for which a peak is counted.
const PEAK: Duration = Duration::from_millis(100);

/// The most bars of a chart.
const BARS: u32 = 6;

/// The delay that a plan is compared with.
const FIXED: Duration = Duration::from_secs(1);

/// What many clients do to a service that stays down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Crowd {
    pub(crate) clients: NonZeroU32,
    /// The mean number of requests of a client, the first included.
    pub(crate) requests_per_client: f64,
    /// Whether the first attempts are among the arrivals: with a splay, they do not come at the same
    /// instant.
    pub(crate) counts_first: bool,
    pub(crate) peak: Peak,
    /// None if no client comes back.
    pub(crate) chart: Option<Chart>,
    /// The same clients with a fixed delay of one second, for as long as half of the runs last.
    pub(crate) fixed: Fixed,
}

/// The most arrivals within a tenth of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Peak {
    pub(crate) arrivals: u64,
    /// The moment of the first of them.
    pub(crate) at: Duration,
}

/// The arrivals in periods of equal length, from the start of the runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chart {
    pub(crate) period: Duration,
    pub(crate) arrivals: Vec<u64>,
}

/// Clients with a fixed delay, which stay in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) requests_per_client: u64,
    pub(crate) peak: u64,
}

impl Crowd {
    /// `quick` is the forecast for attempts that take no time.
    pub(super) fn new(policy: &Policy, clients: NonZeroU32, quick: &Forecast, rng: &mut impl Rng) -> Self {
        let counts_first = !policy.schedule.splay.is_zero();
        let most = if quick.is_whole { FOLLOWED } else { CHARTED };
        let length = (quick.attempts.median as usize).clamp(1, most);
        // Of too many clients only a part is drawn, and stands for all.
        let drawn = (clients.get() as usize).min(ATTEMPTS / length).max(1);
        let mut arrivals = Vec::new();
        let mut requests = 0usize;
        for _ in 0..drawn {
            let walk = Walk::new(policy, Duration::ZERO, most, rng);
            requests += walk.starts.len();
            arrivals.extend(walk.starts.into_iter().skip(usize::from(!counts_first)));
        }
        arrivals.sort_unstable();
        let scale = Scale { drawn: drawn as u64, clients: u64::from(clients.get()) };
        Self {
            clients,
            requests_per_client: mean(requests, drawn),
            counts_first,
            peak: peak(&arrivals, scale),
            chart: Chart::new(&arrivals, scale),
            fixed: Fixed {
                requests_per_client: (quick.last.median.as_nanos() / FIXED.as_nanos())
                    .try_into()
                    .unwrap_or(u64::MAX)
                    .saturating_add(1),
                peak: u64::from(clients.get()),
            },
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "both are far below 2⁵²")]
fn mean(sum: usize, number: usize) -> f64 {
    sum as f64 / number as f64
}

/// From the clients that were drawn to all clients.
#[derive(Debug, Clone, Copy)]
struct Scale {
    drawn: u64,
    clients: u64,
}

impl Scale {
    fn up(self, count: u64) -> u64 {
        (count * self.clients + self.drawn / 2) / self.drawn
    }
}

/// The most arrivals within a tenth of a second. The arrivals are in order.
fn peak(arrivals: &[Duration], scale: Scale) -> Peak {
    let mut peak = Peak::default();
    let mut end = 0;
    for (start, at) in arrivals.iter().enumerate() {
        let until = at.saturating_add(PEAK);
        while arrivals.get(end).is_some_and(|arrival| *arrival < until) {
            end += 1;
        }
        let count = end.saturating_sub(start) as u64;
        if count > peak.arrivals {
            peak = Peak { arrivals: count, at: *at };
        }
    }
    Peak { arrivals: scale.up(peak.arrivals), ..peak }
}

impl Chart {
    /// The arrivals are in order.
    fn new(arrivals: &[Duration], scale: Scale) -> Option<Self> {
        let period = period(*arrivals.last()?);
        let mut counts: Vec<u64> = Vec::new();
        for arrival in arrivals {
            let at = usize::try_from(arrival.as_nanos() / period.as_nanos()).unwrap_or(usize::MAX);
            counts.resize(counts.len().max(at + 1), 0);
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
        }
        Some(Self { period, arrivals: counts.into_iter().map(|count| scale.up(count)).collect() })
    }
}

/// The shortest round time of which few enough periods reach past `end`.
fn period(end: Duration) -> Duration {
    let millis = [1, 2, 5, 10, 20, 50, 100, 200, 500].map(Duration::from_millis);
    let seconds = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800].map(Duration::from_secs);
    let hours = [1, 2, 3, 6, 12, 24].map(Duration::from_hours);
    let days = std::iter::successors(Some(Duration::from_hours(48)), |days| days.checked_mul(2));
    let reaches = |period: &Duration| period.checked_mul(BARS).is_none_or(|reach| reach > end);
    let mut all = millis.into_iter().chain(seconds).chain(hours).chain(days);
    all.find(reaches).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: Scale = Scale { drawn: 1, clients: 1 };

    fn moments(millis: &[u64]) -> Vec<Duration> {
        millis.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_peak_is_counted_from_any_moment() {
        let of = |millis: &[u64]| peak(&moments(millis), SAME);
        assert_eq!(of(&[]), Peak::default());
        let at = Duration::from_millis;
        assert_eq!(of(&[5, 90, 110, 180, 189, 400]), Peak { arrivals: 4, at: at(90) });
        assert_eq!(of(&[0, 100, 200]), Peak { arrivals: 1, at: at(0) });
        let scale = Scale { drawn: 2, clients: 5 };
        assert_eq!(peak(&moments(&[7, 7, 7]), scale), Peak { arrivals: 8, at: at(7) });
    }

    #[test]
    fn a_chart_has_few_bars_of_a_round_length() {
        for (end, period_ms) in [(0, 1), (5, 1), (6, 2), (599, 100), (14_999, 5000), (87_000, 20_000)] {
            let chart = Chart::new(&moments(&[0, end]), SAME).unwrap();
            assert_eq!(chart.period.as_millis(), period_ms, "{end}");
            assert!(chart.arrivals.len() <= 6 && chart.arrivals.iter().sum::<u64>() == 2, "{chart:?}");
        }
        for end in [Duration::from_secs(u64::MAX / 2), Duration::MAX] {
            let chart = Chart::new(&[Duration::ZERO, end], SAME).unwrap();
            assert!(chart.arrivals.len() <= 6, "{chart:?}");
        }
        assert_eq!(Chart::new(&[], SAME), None);
    }
}
