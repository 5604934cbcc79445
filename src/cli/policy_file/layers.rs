//! The options of the command line over those of a policy.
//!
//! An option of the command line replaces that of the policy, also if it could be repeated on one
//! command line. A flag is on if it is on in either. An option of the policy also yields to one of
//! the command line that contradicts it.

use crate::cli::args::{
    Args, AttemptArgs, DelayArgs, OutputArgs, RepeatArgs, ReportArgs, SharedArgs, StreamArgs, VerdictArgs,
};
use crate::cli::resolve::contradictions;
use crate::cli::values::StdinName;

/// The options of a run: those that the user typed, and those of the policy that they leave.
pub(super) fn merged(typed: Args, policy: Args) -> Args {
    let delays = yielding_delays(policy.delays, &typed.delays);
    let streams = yielding_streams(&policy.streams, &typed.streams);
    let Args {
        attempts,
        delays: typed_delays,
        verdict,
        shared,
        streams: typed_streams,
        repeats,
        report,
        plan,
        policy: named,
        output,
        command,
        split_duration,
        policy_file,
    } = typed;
    Args {
        attempts: attempts.over(policy.attempts),
        delays: typed_delays.over(delays),
        verdict: verdict.over(policy.verdict),
        shared: shared.over(policy.shared),
        streams: typed_streams.over(streams),
        repeats: repeats.over(policy.repeats),
        report: report.over(policy.report),
        plan,
        policy: named,
        output: output.over(policy.output),
        command,
        split_duration,
        policy_file,
    }
}

/// The options of the delay without those that contradict the command line, such as `--factor` if
/// the user gives a list.
fn yielding_delays(policy: DelayArgs, typed: &DelayArgs) -> DelayArgs {
    let fits = |one: DelayArgs| contradictions(&typed.clone().over(one)).is_ok();
    let DelayArgs { delay, backoff, factor, jitter, .. } = policy.clone();
    let none = DelayArgs::default;
    DelayArgs {
        delay: delay.filter(|delay| fits(DelayArgs { delay: Some(delay.clone()), ..none() })),
        backoff: backoff.filter(|backoff| fits(DelayArgs { backoff: Some(*backoff), ..none() })),
        factor: factor.filter(|factor| fits(DelayArgs { factor: Some(*factor), ..none() })),
        jitter: jitter.filter(|jitter| fits(DelayArgs { jitter: Some(*jitter), ..none() })),
        ..policy
    }
}

/// Removes the place of shared state from a policy if nothing would be kept in it. So the policy of a
/// whole machine can name the place for all runs.
pub(super) fn drop_useless_state(policy: &mut SharedArgs, typed: &SharedArgs) {
    let uses = |args: &SharedArgs| args.breaker.is_some() || args.budget.is_some();
    let acts =
        typed.breaker_status.is_some() || typed.breaker_reset.is_some() || typed.breaker_trip.is_some();
    if !acts && !uses(typed) && !uses(policy) {
        policy.state = None;
    }
}

/// The options of the streams without those that contradict the command line: `--stdin-limit` is for
/// `--stdin replay` only.
fn yielding_streams(policy: &StreamArgs, typed: &StreamArgs) -> StreamArgs {
    let replays = |stdin: &StdinName| *stdin == StdinName::Replay;
    let StreamArgs { stdin, stdin_limit, hold } = *policy;
    StreamArgs {
        stdin: stdin.filter(|stdin| replays(stdin) || typed.stdin_limit.is_none()),
        stdin_limit: stdin_limit.filter(|_| typed.stdin.as_ref().is_none_or(replays)),
        hold,
    }
}

trait Over {
    /// `self`, and `below` where `self` says nothing.
    fn over(self, below: Self) -> Self;
}

impl<T> Over for Option<T> {
    fn over(self, below: Self) -> Self {
        self.or(below)
    }
}

impl<T> Over for Vec<T> {
    fn over(self, below: Self) -> Self {
        if self.is_empty() { below } else { self }
    }
}

impl Over for bool {
    fn over(self, below: Self) -> Self {
        self || below
    }
}

/// Names all fields of a heading, so that a new option without its name here does not compile.
macro_rules! over {
    ($type:ident { $($field:ident),* }) => {
        impl Over for $type {
            fn over(self, below: Self) -> Self {
                let Self { $($field),* } = self;
                Self { $($field: $field.over(below.$field)),* }
            }
        }
    };
}

over!(AttemptArgs { max, deadline, timeout, signal, kill_after, successes });
over!(DelayArgs { delay, jitter, backoff, factor, max_delay, min_delay, splay, healthy_after, seed });
over!(VerdictArgs { retry_on, fatal_on, until, success_on, profile, headers, max_retry_after, profiles });
over!(SharedArgs {
    breaker,
    breaker_failures,
    breaker_cooldown,
    breaker_wait,
    budget,
    state,
    breaker_status,
    json,
    breaker_reset,
    breaker_trip
});
over!(StreamArgs { stdin, stdin_limit, hold });
over!(RepeatArgs { idempotency_key, expand, check, on_retry, not_idempotent, once });
over!(ReportArgs { report, ci, summary, markdown });

impl Over for OutputArgs {
    fn over(self, below: Self) -> Self {
        let Self { quiet, verbose, label, help, version } = self;
        // The two are one setting, of which the last one counts.
        let (quiet, verbose) =
            if quiet > 0 || verbose { (quiet, verbose) } else { (below.quiet, below.verbose) };
        Self {
            quiet,
            verbose,
            label: label.over(below.label),
            help: help.over(below.help),
            version: version.over(below.version),
        }
    }
}
