//! `--once`: whether a run runs its command, uses the answer of an earlier run, or waits for a run
//! that is making the answer.

use std::time::Duration;

use super::outer::{Deadline, TimeLeft};

/// What a run sees when it looks for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The run has no `--once`.
    NotAsked,
    /// There is an answer of this age.
    Answer { age: Duration },
    /// There is no answer, and this run has the lock.
    Free,
    /// There is no answer, and another run has the lock. Its process id may be unknown.
    Busy { by: Option<u32> },
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Decision {
    /// Print the answer, and run nothing.
    Answered { age: Duration },
    /// Run the command.
    Run,
    /// Look again after this time.
    WaitFor { by: Option<u32>, length: Duration },
    /// Run nothing, because another run is at it. `deadline` is the one that has passed.
    Refuse { by: Option<u32>, deadline: Option<Deadline> },
}

/// The shortest and the longest time between two looks. The lock tells nobody when it is free.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(500);

/// Decides what follows a look. `until` is the time until the first deadline if the run has a
/// deadline of its own: only such a run waits. It has waited for `waited`.
pub(crate) fn decide(seen: Seen, waited: Duration, until: Option<TimeLeft>) -> Decision {
    match (seen, until) {
        (Seen::NotAsked | Seen::Free, _) => Decision::Run,
        (Seen::Answer { age }, _) => Decision::Answered { age },
        (Seen::Busy { by }, None) => Decision::Refuse { by, deadline: None },
        (Seen::Busy { by }, Some(TimeLeft { left, deadline })) if left.is_zero() => {
            Decision::Refuse { by, deadline: Some(deadline) }
        }
        // A run that has waited for long can wait a little longer, and the looks of a crowd add up.
        (Seen::Busy { by }, Some(TimeLeft { left, .. })) => {
            Decision::WaitFor { by, length: (waited / 4).clamp(SHORTEST, LONGEST).min(left) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_look_has_one_answer() {
        let ms = Duration::from_millis;
        let own = Duration::from_mins(1);
        let left = |length| Some(TimeLeft { left: length, deadline: Deadline::Own(own) });
        let (none, by, age) = (None, Some(7), ms(5));
        let wait = |length| Decision::WaitFor { by, length };
        for (seen, waited, until, decision) in [
            (Seen::NotAsked, ms(0), none, Decision::Run),
            (Seen::NotAsked, ms(0), left(ms(0)), Decision::Run),
            (Seen::Free, ms(0), none, Decision::Run),
            (Seen::Free, ms(9), left(ms(9)), Decision::Run),
            (Seen::Answer { age }, ms(0), none, Decision::Answered { age }),
            // The answer counts however late it is.
            (Seen::Answer { age }, ms(9), left(ms(0)), Decision::Answered { age }),
            (Seen::Busy { by }, ms(0), none, Decision::Refuse { by, deadline: None }),
            (Seen::Busy { by: None }, ms(0), none, Decision::Refuse { by: None, deadline: None }),
            (
                Seen::Busy { by },
                ms(9),
                left(ms(0)),
                Decision::Refuse { by, deadline: Some(Deadline::Own(own)) },
            ),
            (Seen::Busy { by }, ms(0), left(own), wait(SHORTEST)),
            (Seen::Busy { by }, ms(400), left(own), wait(ms(100))),
            (Seen::Busy { by }, ms(4_000_000), left(own), wait(LONGEST)),
            (Seen::Busy { by }, ms(4_000_000), left(ms(3)), wait(ms(3))),
        ] {
            assert_eq!(decide(seen, waited, until), decision, "{seen:?} {waited:?} {until:?}");
        }
    }
}
