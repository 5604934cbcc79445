//! The delays of `--delay`: one, or a schedule.

use std::time::Duration;

use super::{ValueError, duration};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delays {
    pub(crate) first: Duration,
    /// Empty for one delay.
    pub(crate) rest: Vec<Duration>,
}

/// Reads one duration, or several with commas between them.
pub(crate) fn delays(text: &str) -> Result<Delays, ValueError> {
    let (first, rest) = match text.split_once(',') {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    };
    let rest = rest.into_iter().flat_map(|rest| rest.split(','));
    Ok(Delays { first: duration(first)?, rest: rest.map(duration).collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_delays_keeps_its_order() {
        let secs = Duration::from_secs;
        assert_eq!(delays("1s, 5,1m"), Ok(Delays { first: secs(1), rest: vec![secs(5), secs(60)] }));
        assert!(delays("1,,2").is_err());
        assert!(delays("1,").is_err());
    }
}
