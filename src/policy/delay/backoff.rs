//! The base delay of a retry, and how it grows up to the cap. All arithmetic saturates.

use std::time::Duration;

/// How the delay grows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Growth {
    /// `delay · factorⁿ`. The factor is finite and at least 1.
    Exponential { delay: Duration, factor: f64 },
    /// `delay · (n + 1)`
    Linear { delay: Duration },
    /// `delay · F(n + 1)` with the Fibonacci numbers 1, 1, 2, 3, 5 ...
    Fibonacci { delay: Duration },
    /// `delay`
    Constant { delay: Duration },
    /// Entry n of a list that is not empty. The last entry repeats.
    List { first: Duration, rest: Vec<Duration> },
}

impl Growth {
    /// The delay before the first retry.
    pub(crate) fn first(&self) -> Duration {
        match self {
            Self::Exponential { delay, .. }
            | Self::Linear { delay }
            | Self::Fibonacci { delay }
            | Self::Constant { delay }
            | Self::List { first: delay, .. } => *delay,
        }
    }

    /// The base delay before retry `n`, which counts from 0. It is not above `cap`.
    #[must_use]
    pub(crate) fn base(&self, n: u32, cap: Duration) -> Duration {
        let base = match self {
            Self::Exponential { delay, factor } => exponential(*delay, *factor, n),
            Self::Linear { delay } => times(*delay, u128::from(n) + 1),
            Self::Fibonacci { delay } => times(*delay, fibonacci(n)),
            Self::Constant { delay } => *delay,
            Self::List { first, rest } => match (n as usize).checked_sub(1) {
                None => *first,
                Some(i) => rest.get(i).or(rest.last()).copied().unwrap_or(*first),
            },
        };
        base.min(cap)
    }
}

/// `delay · factorⁿ`. Zero stays zero: 0 · ∞ would be NaN.
fn exponential(delay: Duration, factor: f64, n: u32) -> Duration {
    if delay.is_zero() {
        return Duration::ZERO;
    }
    // powf() would load libm. A whole exponent does not need it.
    let multiple = factor.powi(i32::try_from(n).unwrap_or(i32::MAX));
    // Whole multiples are the usual case, and stay exact to the nanosecond.
    if multiple.fract() == 0.0 && multiple < 1e15 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, from 1 to 10¹⁵"
        )]
        return times(delay, multiple as u128);
    }
    Duration::try_from_secs_f64(delay.as_secs_f64() * multiple).unwrap_or(Duration::MAX)
}

fn times(delay: Duration, times: u128) -> Duration {
    from_nanos(delay.as_nanos().saturating_mul(times))
}

/// The Fibonacci number F(n + 1): 1, 1, 2, 3, 5 ...
fn fibonacci(n: u32) -> u128 {
    let (mut this, mut next) = (1u128, 1u128);
    for _ in 0..n {
        (this, next) = (next, this.saturating_add(next));
        if this == u128::MAX {
            break;
        }
    }
    this
}

pub(super) fn from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    match u64::try_from(nanos / SECOND) {
        Ok(seconds) => Duration::new(seconds, u32::try_from(nanos % SECOND).unwrap_or(0)),
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAP: Duration = Duration::from_mins(1);

    fn seconds(growth: &Growth, n: std::ops::Range<u32>) -> Vec<u64> {
        n.map(|n| growth.base(n, CAP).as_secs()).collect()
    }

    #[test]
    fn each_growth_has_its_series_up_to_the_cap() {
        let delay = Duration::from_secs(1);
        let list = Growth::List { first: delay, rest: vec![Duration::from_secs(7), Duration::from_secs(3)] };
        assert_eq!(seconds(&Growth::Exponential { delay, factor: 2.0 }, 0..8), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(&Growth::Linear { delay }, 0..5), [1, 2, 3, 4, 5]);
        assert_eq!(seconds(&Growth::Fibonacci { delay }, 0..12), [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 60, 60]);
        assert_eq!(seconds(&Growth::Constant { delay }, 0..3), [1, 1, 1]);
        assert_eq!(seconds(&list, 0..5), [1, 7, 3, 3, 3]);
    }

    fn durations() -> impl Strategy<Value = Duration> {
        (prop_oneof![0u64..120, any::<u64>()], 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n))
    }

    fn growths() -> impl Strategy<Value = Growth> {
        let factor = prop_oneof![1.0f64..4.0, Just(f64::MAX), Just(1.0)];
        prop_oneof![
            (durations(), factor).prop_map(|(delay, factor)| Growth::Exponential { delay, factor }),
            durations().prop_map(|delay| Growth::Linear { delay }),
            durations().prop_map(|delay| Growth::Fibonacci { delay }),
            durations().prop_map(|delay| Growth::Constant { delay }),
            (durations(), prop::collection::vec(durations(), 0..4))
                .prop_map(|(first, rest)| Growth::List { first, rest }),
        ]
    }

    fn attempts() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..200, any::<u32>(), Just(u32::MAX)]
    }

    proptest! {
        #[test]
        fn never_above_the_cap_and_never_a_panic(growth in growths(), n in attempts(), cap in durations()) {
            prop_assert!(growth.base(n, cap) <= cap);
            prop_assert_eq!(growth.base(0, cap), growth.first().min(cap));
        }

        #[test]
        fn all_but_a_list_never_shrink(growth in growths(), n in attempts(), cap in durations()) {
            if !matches!(growth, Growth::List { .. }) {
                prop_assert!(growth.base(n.saturating_add(1), cap) >= growth.base(n, cap));
            }
        }

        #[test]
        fn a_delay_of_nothing_stays_nothing(n in attempts(), factor in prop_oneof![1.0f64..9.0, Just(f64::MAX)]) {
            let delay = Duration::ZERO;
            for growth in [Growth::Exponential { delay, factor }, Growth::Linear { delay }, Growth::Fibonacci { delay }] {
                prop_assert_eq!(growth.base(n, CAP), Duration::ZERO);
            }
        }
    }
}
