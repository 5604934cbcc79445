//! The retry budget: a bucket of tokens that all runs of one name share. A retry takes a token. If
//! there is none, the run does not retry. First attempts never wait for a token.
//!
//! A share of the load (`20%`) suits a service: each first attempt deposits a part of a token. So
//! retries add this share to the load and no more, however long the outage. A few tokens come back
//! with time, so that a job that runs once a night has its retries too.
//!
//! The bucket counts billionths of a token, as integers, and rounds down. So it never grants more
//! than it may.

use std::time::Duration;

use super::moment::Moment;

/// One token, in billionths.
const TOKEN: u64 = 1_000_000_000;

/// The most tokens in the bucket of a share.
const SHARE_SIZE: u64 = 10;

/// One token comes back to a share in this time.
const SHARE_RETURNS: Duration = Duration::from_secs(30);

/// The allowance of retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rate {
    /// At most `count` in each period, and at most `count` at once.
    Times { count: u32, period: Duration },
    /// A share of the first attempts: each deposits this many billionths of a token.
    Share { billionths: u64 },
}

/// The budget has no token for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    /// The time until a token is there, if no other run takes it.
    pub(crate) next: Duration,
}

/// A bucket as it is kept between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// The content at the moment `at`, in billionths of a token.
    pub(crate) billionths: u64,
    pub(crate) at: Moment,
    /// The most that it holds, in tokens.
    pub(crate) size: u64,
    /// This many tokens come back in this time.
    pub(crate) returns: (u32, Duration),
}

impl Rate {
    /// The most that a bucket of this rate holds, in tokens.
    fn size(self) -> u64 {
        match self {
            Self::Times { count, .. } => u64::from(count),
            Self::Share { .. } => SHARE_SIZE,
        }
    }

    /// This many tokens come back in this time.
    fn returns(self) -> (u32, Duration) {
        match self {
            Self::Times { count, period } => (count, period),
            Self::Share { .. } => (1, SHARE_RETURNS),
        }
    }

    /// A bucket of this rate with this content.
    fn holding(self, billionths: u64, now: Moment) -> Bucket {
        Bucket { billionths, at: now, size: self.size(), returns: self.returns() }
    }
}

/// The content that comes back in `time`, in billionths of a token.
fn returned((count, period): (u32, Duration), time: Duration) -> u64 {
    let tokens = u128::from(count) * u128::from(TOKEN);
    let returned = time.as_millis().saturating_mul(tokens) / period.as_millis().max(1);
    u64::try_from(returned).unwrap_or(u64::MAX)
}

impl Bucket {
    /// A bucket that nobody has used.
    pub(crate) fn full(rate: Rate, now: Moment) -> Self {
        rate.holding(rate.size() * TOKEN, now)
    }

    /// Takes the deposit of a first attempt. A full bucket does not change.
    pub(crate) fn deposit(&mut self, rate: Rate, now: Moment) {
        let Rate::Share { billionths } = rate else { return };
        let (level, full) = (self.level(rate, now), rate.size() * TOKEN);
        if level < full {
            *self = rate.holding(level.saturating_add(billionths).min(full), now);
        }
    }

    /// Takes a token for a retry, if there is one.
    ///
    /// # Errors
    /// [`Spent`] if there is less than one token; the bucket is then as it was.
    pub(crate) fn withdraw(&mut self, rate: Rate, now: Moment) -> Result<(), Spent> {
        match self.level(rate, now).checked_sub(TOKEN) {
            Some(rest) => {
                *self = rate.holding(rest, now);
                Ok(())
            }
            None => Err(Spent { next: self.token_at(rate).since(now) }),
        }
    }

    /// When the bucket has a token again, if nobody takes or adds anything.
    fn token_at(&self, rate: Rate) -> Moment {
        let (count, period) = rate.returns();
        let missing = u128::from(TOKEN.saturating_sub(self.billionths));
        // Rounded up, because `returned` rounds down.
        let scaled = missing.saturating_mul(period.as_millis().max(1));
        let millis = scaled.div_ceil(u128::from(count.max(1)) * u128::from(TOKEN));
        self.at.plus(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// The content now, in billionths of a token.
    fn level(&self, rate: Rate, now: Moment) -> u64 {
        self.billionths.saturating_add(returned(rate.returns(), now.since(self.at))).min(rate.size() * TOKEN)
    }

    /// The content now by the rate of the run that used it last, in tokens.
    #[expect(clippy::cast_precision_loss, reason = "for people, who see one digit behind the point")]
    pub(crate) fn tokens(&self, now: Moment) -> f64 {
        let level = self.billionths.saturating_add(returned(self.returns, now.since(self.at)));
        level.min(self.size.saturating_mul(TOKEN)) as f64 / TOKEN as f64
    }

    /// The time in which an empty bucket is full again.
    pub(crate) fn full_in(&self) -> Duration {
        let (count, period) = self.returns;
        let periods = self.size.div_ceil(u64::from(count.max(1)));
        period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX))
    }

    /// Moves its time into the count of another boot, which is `millis` ahead.
    pub(crate) fn shift(&mut self, millis: i64) {
        self.at = self.at.shifted(millis);
    }

    /// Moves a time that lies ahead of `now` back to `now`. It lies ahead if the clock was set
    /// back.
    pub(crate) fn not_after(&mut self, now: Moment) {
        self.at = self.at.min(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN_A_SECOND: Rate = Rate::Times { count: 10, period: Duration::from_secs(1) };
    const FIFTH: Rate = Rate::Share { billionths: TOKEN / 5 };

    fn at(millis: i64) -> Moment {
        Moment(millis)
    }

    fn withdrawals(bucket: &mut Bucket, rate: Rate, now: Moment) -> usize {
        std::iter::from_fn(|| bucket.withdraw(rate, now).ok()).take(100_000).count()
    }

    #[test]
    fn a_bucket_starts_full_and_fills_with_time() {
        let mut bucket = Bucket::full(TEN_A_SECOND, at(0));
        assert_eq!(withdrawals(&mut bucket, TEN_A_SECOND, at(0)), 10);
        assert_eq!(withdrawals(&mut bucket, TEN_A_SECOND, at(99)), 0);
        assert_eq!(withdrawals(&mut bucket, TEN_A_SECOND, at(100)), 1);
        assert_eq!(withdrawals(&mut bucket, TEN_A_SECOND, at(10_000)), 10);
    }

    #[test]
    fn a_share_is_earned_by_first_attempts_and_a_little_by_time() {
        let mut bucket = Bucket::full(FIFTH, at(0));
        assert_eq!(withdrawals(&mut bucket, FIFTH, at(0)), 10);
        for n in 1..=100 {
            bucket.deposit(FIFTH, at(0));
            assert_eq!(bucket.withdraw(FIFTH, at(0)).is_ok(), n % 5 == 0, "{n}");
        }
        assert_eq!(withdrawals(&mut bucket, FIFTH, at(29_999)), 0);
        assert_eq!(withdrawals(&mut bucket, FIFTH, at(30_000)), 1);
        for _ in 0..1000 {
            bucket.deposit(FIFTH, at(30_000));
        }
        assert_eq!(withdrawals(&mut bucket, FIFTH, at(30_000)), 10);
    }

    #[test]
    fn a_share_is_what_was_asked_for() {
        for (percent, most) in [(10, 10), (50, 50), (150, 150)] {
            let share = Rate::Share { billionths: TOKEN / 100 * percent };
            let mut bucket = Bucket::full(share, at(0));
            assert_eq!(withdrawals(&mut bucket, share, at(0)), 10);
            let mut retries = 0;
            for _ in 0..100 {
                bucket.deposit(share, at(0));
                retries += withdrawals(&mut bucket, share, at(0));
            }
            assert_eq!(retries, most, "{percent}%");
        }
    }

    #[test]
    fn a_spent_bucket_says_when_the_next_token_is_there() {
        let spent = |rate: Rate, taken_at: i64, now: i64| {
            let mut bucket = Bucket::full(rate, at(taken_at));
            let _ = withdrawals(&mut bucket, rate, at(taken_at));
            bucket.withdraw(rate, at(now)).unwrap_err().next
        };
        let three_an_hour = Rate::Times { count: 3, period: Duration::from_hours(1) };
        assert_eq!(spent(TEN_A_SECOND, 0, 0), Duration::from_millis(100));
        assert_eq!(spent(three_an_hour, 0, 0), Duration::from_mins(20));
        assert_eq!(spent(three_an_hour, 0, 1_000_000), Duration::from_secs(200));
        assert_eq!(spent(FIFTH, 0, 6000), Duration::from_secs(24));
        // A third of a second is not a whole number of milliseconds.
        let three = Rate::Times { count: 3, period: Duration::from_secs(1) };
        assert_eq!(spent(three, 0, 0), Duration::from_millis(334));
        // The record was used with another rate, or its time is after the present because the clock
        // was set back.
        assert_eq!(spent(TEN_A_SECOND, 0, -5000), Duration::from_millis(5100));
    }

    #[test]
    fn an_empty_bucket_says_when_it_is_full() {
        assert_eq!(Bucket::full(TEN_A_SECOND, at(0)).full_in(), Duration::from_secs(1));
        assert_eq!(Bucket::full(FIFTH, at(0)).full_in(), Duration::from_mins(5));
    }

    #[test]
    fn a_full_bucket_is_left_as_it_was() {
        let full = Bucket::full(FIFTH, at(0));
        let mut bucket = full;
        bucket.deposit(FIFTH, at(5000));
        assert_eq!(bucket, full);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_and_blocks_nothing() {
        let mut bucket = Bucket::full(TEN_A_SECOND, at(0));
        assert_eq!(withdrawals(&mut bucket, TEN_A_SECOND, at(0)), 10);
        bucket.not_after(at(-1_000_000));
        assert_eq!(withdrawals(&mut bucket, TEN_A_SECOND, at(-1_000_000)), 0);
        assert_eq!(withdrawals(&mut bucket, TEN_A_SECOND, at(-999_900)), 1);
    }

    fn rate() -> impl Strategy<Value = Rate> {
        prop_oneof![
            (1u32..50, 1u64..100_000)
                .prop_map(|(count, ms)| Rate::Times { count, period: Duration::from_millis(ms) }),
            (1u64..2 * TOKEN).prop_map(|billionths| Rate::Share { billionths }),
        ]
    }

    proptest! {
        /// In each window, the withdrawals are no more than the size, the tokens that came back,
        /// and the deposits.
        #[test]
        fn no_window_has_more_than_it_may(
            rate in rate(),
            steps in prop::collection::vec((0i64..5000, prop::bool::ANY), 1..80),
        ) {
            let mut bucket = Bucket::full(rate, at(0));
            let mut now = 0;
            // The entries are (time, withdrawn, deposited).
            let mut log: Vec<(i64, u64, u64)> = Vec::new();
            for (wait, deposits) in steps {
                now += wait;
                if deposits {
                    bucket.deposit(rate, at(now));
                    let worth = match rate {
                        Rate::Share { billionths } => billionths,
                        Rate::Times { .. } => 0,
                    };
                    log.push((now, 0, worth));
                } else if let Err(Spent { next }) = bucket.withdraw(rate, at(now)) {
                    // The bucket refuses only if it has less than one token, and only until the
                    // time that it names.
                    prop_assert!(bucket.level(rate, at(now)) < TOKEN);
                    let then = at(now).plus(next);
                    prop_assert!(next > Duration::ZERO);
                    prop_assert!(bucket.clone().withdraw(rate, Moment(then.0 - 1)).is_err());
                    prop_assert!(bucket.clone().withdraw(rate, then).is_ok());
                } else {
                    log.push((now, TOKEN, 0));
                }
            }
            for from in 0..log.len() {
                for to in from..log.len() {
                    let window = &log[from..=to];
                    let withdrawn: u64 = window.iter().map(|(_, out, _)| out).sum();
                    let put_in: u64 = window.iter().map(|(_, _, into)| into).sum();
                    let time = at(log[to].0).since(at(log[from].0));
                    let most = rate.size() * TOKEN + returned(rate.returns(), time) + put_in;
                    // The parts lost by rounding may add up to one billionth.
                    prop_assert!(withdrawn <= most + 1, "{withdrawn} > {most}");
                }
            }
        }
    }
}
