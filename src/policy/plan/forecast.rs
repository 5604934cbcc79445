//! What many runs of the same policy have in common.

use std::time::Duration;

use rand::Rng;

use super::walk::{FOLLOWED, Walk};
use crate::policy::Policy;

/// The number of runs of a forecast, if they do not make too many attempts.
const RUNS: usize = 1000;

/// The smallest number of runs of a forecast. Long runs differ less from each other.
const FEWEST_RUNS: usize = 100;

/// The number of attempts of all runs together for which there is time.
const ATTEMPTS: usize = 1_000_000;

/// The first attempts, each of which is shown.
const FIRST: u32 = 3;

/// The most attempts that are shown after the first ones, without the last.
const FURTHER: u32 = 4;

/// The smallest value, the one in the middle, and the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent<T> {
    pub(crate) least: T,
    pub(crate) median: T,
    pub(crate) most: T,
}

/// When an attempt starts, counted from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) attempt: u32,
    /// Over the runs that make the attempt. The median is that of all runs: at least half of them
    /// make the attempt.
    pub(crate) at: Extent<Duration>,
}

/// The attempts of many runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forecast {
    pub(crate) runs: usize,
    /// Whether every run was followed to its end.
    pub(crate) is_whole: bool,
    /// Some of the attempts that at least half of the runs make, in their order.
    pub(crate) moments: Vec<Moment>,
    /// The number of attempts of a run.
    pub(crate) attempts: Extent<u32>,
    /// The moment of the last attempt of a run.
    pub(crate) last: Extent<Duration>,
    /// The longest outage that a run outlives: until the last attempt that can begin a success.
    pub(crate) outlived: Extent<Duration>,
    /// The number of runs that make no retry.
    pub(crate) without_retry: usize,
}

impl Forecast {
    /// Draws runs whose attempts each take `length`. `rows` chooses the attempts to show from the
    /// number that at least half of the runs make.
    pub(super) fn new(
        policy: &Policy,
        length: Duration,
        rng: &mut impl Rng,
        rows: impl FnOnce(u32) -> Vec<u32>,
    ) -> Self {
        let first = Walk::new(policy, length, FOLLOWED, rng);
        let runs = (ATTEMPTS / first.starts.len().max(1)).clamp(FEWEST_RUNS, RUNS);
        let mut drawn = first.starts.len();
        let mut walks = vec![first];
        while walks.len() < runs && drawn < 2 * ATTEMPTS {
            let walk = Walk::new(policy, length, FOLLOWED, rng);
            drawn += walk.starts.len();
            walks.push(walk);
        }
        let count = |walk: &Walk| u32::try_from(walk.starts.len()).unwrap_or(u32::MAX);
        let attempts = extent(walks.iter().map(count).collect());
        Self {
            runs: walks.len(),
            is_whole: walks.iter().all(|walk| walk.is_whole),
            moments: rows(attempts.median).into_iter().map(|attempt| moment(attempt, &walks)).collect(),
            attempts,
            last: extent(walks.iter().map(Walk::last).collect()),
            outlived: extent(walks.iter().map(|walk| walk.outlived(&policy.schedule)).collect()),
            without_retry: walks.iter().filter(|walk| walk.starts.len() < 2).count(),
        }
    }

    /// When an attempt starts, if it is among those that are shown.
    pub(crate) fn at(&self, attempt: u32) -> Option<Extent<Duration>> {
        self.moments.iter().find(|moment| moment.attempt == attempt).map(|moment| moment.at)
    }

    /// Whether the runs differ in their number of attempts.
    pub(crate) fn varies(&self) -> bool {
        self.attempts.least < self.attempts.most
    }
}

/// The attempts to show, if half of the runs make `most`: the first ones, then every so many, and the
/// last.
pub(super) fn shown(most: u32) -> Vec<u32> {
    if most <= FIRST + FURTHER {
        return (1..=most).collect();
    }
    let step = round((most - FIRST).div_ceil(FURTHER));
    let further = (1..).map(|n| n * step).skip_while(|n| *n <= FIRST).take_while(|n| *n < most);
    (1..=FIRST).chain(further).chain([most]).collect()
}

/// The next number of the form 1, 2, 5, 10, 20, 25, 50, 100, 200, 250 ...
fn round(number: u32) -> u32 {
    let units = std::iter::successors(Some(1u64), |unit| Some(unit * 10));
    let tenths = units.take(11).flat_map(|unit| [10, 20, 25, 50].map(|factor| unit * factor));
    let mut numbers = tenths.filter(|tenths| tenths % 10 == 0).map(|tenths| tenths / 10);
    let round = numbers.find(|round| *round >= u64::from(number));
    round.and_then(|round| u32::try_from(round).ok()).unwrap_or(u32::MAX)
}

/// When an attempt starts that at least half of the runs make. A run that does not make the attempt
/// counts as one that makes it later than all others.
fn moment(attempt: u32, walks: &[Walk]) -> Moment {
    let at = |walk: &Walk| walk.starts.get(attempt as usize - 1).copied();
    let mut starts: Vec<Duration> = walks.iter().filter_map(at).collect();
    starts.sort_unstable();
    let median = starts.get((walks.len() - 1) / 2).or(starts.last()).copied().unwrap_or_default();
    let (least, most) = (starts.first().copied(), starts.last().copied());
    Moment {
        attempt,
        at: Extent { least: least.unwrap_or_default(), median, most: most.unwrap_or_default() },
    }
}

/// The extent of values of which there is at least one. Of an even number, the lower one of the two
/// in the middle is the median, as for a [`moment`].
fn extent<T: Ord + Copy + Default>(mut values: Vec<T>) -> Extent<T> {
    values.sort_unstable();
    let at = |n: usize| values.get(n).copied().unwrap_or_default();
    Extent {
        least: at(0),
        median: at(values.len().saturating_sub(1) / 2),
        most: at(values.len().saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempts_are_shown_and_then_every_so_many() {
        for (most, rows) in [
            (0, &[][..]),
            (1, &[1]),
            (5, &[1, 2, 3, 4, 5]),
            (7, &[1, 2, 3, 4, 5, 6, 7]),
            (8, &[1, 2, 3, 4, 6, 8]),
            (12, &[1, 2, 3, 5, 10, 12]),
            (20, &[1, 2, 3, 5, 10, 15, 20]),
            (100, &[1, 2, 3, 25, 50, 75, 100]),
            (10_000, &[1, 2, 3, 2500, 5000, 7500, 10_000]),
        ] {
            assert_eq!(shown(most), rows, "{most}");
        }
        for most in 1..3000 {
            let rows = shown(most);
            assert!(rows.len() <= 8 && rows.last() == Some(&most), "{rows:?}");
            assert!(rows.windows(2).all(|two| two[0] < two[1]), "{rows:?}");
        }
    }

    #[test]
    fn the_median_counts_runs_that_do_not_come_so_far() {
        let walk = |seconds: &[u64]| Walk {
            starts: seconds.iter().map(|s| Duration::from_secs(*s)).collect(),
            is_whole: true,
        };
        let walks = [walk(&[0, 9]), walk(&[0, 3]), walk(&[0, 5]), walk(&[0])];
        let Moment { at, .. } = moment(2, &walks);
        assert_eq!([at.least, at.median, at.most].map(|at| at.as_secs()), [3, 5, 9]);
        assert_eq!(extent(vec![4, 1, 2, 3]), Extent { least: 1, median: 2, most: 4 });
    }
}
