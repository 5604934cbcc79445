//! Everything that a run tells.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::policy::admission::breaker::Refusal;
use crate::policy::delay::schedule::Progress;
use crate::policy::finish::Finish;
use crate::policy::outcome::Outcome;
use crate::policy::outer::Outer;
use crate::policy::verdict::request::Method;
use crate::policy::verdict::rule::Judged;
use crate::process::notice::Notice;
use crate::state::key::KeyFileError;
use crate::state::participant::Warning;
use crate::streams::hold::HeldBack;

#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The run begins.
    Started,
    /// The run has `http:` conditions that cannot match.
    HttpUnseen { why: &'a str },
    /// The run waits from now on. None: the wait is over.
    Pause(Option<Pause>),
    /// `--splay` postpones the first attempt.
    Splay { wait: Duration },
    /// The run uses the idempotency key of an earlier run that failed.
    KeyReused { path: &'a Path, age: Duration },
    /// The idempotency key of a run that succeeded could not be removed.
    KeyLeft { why: &'a KeyFileError },
    /// Another run is making the answer of `--once`, and this run waits for it. `again`: the last
    /// run that it waited for has failed.
    Making { by: Option<u32>, again: bool },
    /// The output of the run is the answer of `--once` from now on.
    Kept,
    /// The next attempt is the probe of the breaker.
    Probe,
    /// The breaker is open, and the run asks it again after `look`. `again`: so did the last event.
    Waiting { refusal: &'a Refusal, look: Duration, again: bool },
    /// An attempt opened the breaker.
    Opened { refusal: &'a Refusal },
    /// A record of shared state is damaged or cannot be used.
    SharedState(&'a Warning),
    /// Something that concerns the processes of an attempt.
    Process(&'a Notice),
    /// `--hold` did not pass on the output of attempt `number`, which failed.
    HeldBack { number: u32, output: &'a HeldBack },
    /// An attempt has ended. Another one follows after `next`.
    Attempt { progress: &'a Progress, judged: &'a Judged, next: Option<Duration> },
    /// The command of `--on-retry` failed. The retry follows all the same.
    HookFailed { outcome: &'a Outcome },
    /// The command of `--on-retry` could not be started for want of a resource.
    HookNotRun { error: &'a Error },
    /// The first retry follows, and the run is a part of another retry's attempt. All of them
    /// together make at most `in_all` attempts. None: there is no limit.
    Nested { outer: Outer, in_all: Option<u64> },
    /// The first retry follows, and it may repeat the effect of a request with this method.
    MayRepeat { method: Method },
    /// Output of a command that failed was lost.
    NotPassed { error: &'a Error },
    /// The run is over.
    Finish(RunEnd<'a>),
    /// A hint about the command that could not start.
    Hint(&'a str),
    /// retry itself failed.
    Failure(&'a Error),
    /// A part of the report could not be written.
    ReportLost(&'a Lost),
}

/// A wait between two attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) awaited: Awaited,
    pub(crate) length: Duration,
    /// The end of the wait, as a time since boot.
    pub(crate) until: Duration,
}

/// What comes after a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The attempt of this number.
    Attempt(u32),
    /// A look at the breaker, which was open.
    Look,
}

/// How a run ended, and where it stood then.
#[derive(Debug)]
pub(crate) struct RunEnd<'a> {
    pub(crate) finish: &'a Finish,
    pub(crate) progress: &'a Progress,
    pub(crate) last: Option<&'a Judged>,
    pub(crate) before_last: Option<&'a Judged>,
    pub(crate) elapsed: Duration,
    /// The time of all waits.
    pub(crate) waited: Duration,
}

/// A part of a report that was lost. A sink tells this once.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) path: PathBuf,
    pub(crate) loss: Loss,
}

/// What was lost. The reasons are noun phrases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Lines, for this reason.
    Lines(&'static str),
    /// The metrics of the run, for this reason.
    Metrics(&'static str),
    /// The old content of a file, which was not metrics. It has this name now.
    OldContent(PathBuf),
    /// The timestamps of samples of other programs.
    Timestamps,
}
