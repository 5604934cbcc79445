//! What happens during an attempt, and what the supervisor has to do then.

use std::time::Duration;

use crate::policy::outcome::{Outcome, Survivor};
use crate::policy::signal::Signal;
use crate::process::signal::stream::Received;

/// Something that happens during an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::process) enum Event {
    /// INT, TERM, HUP or QUIT arrived, and the command can get it or has it.
    EndRequested(Received),
    /// INT, TERM, HUP or QUIT arrived for a command that had just ended.
    EndRequestedTooLate(Signal),
    /// USR1, USR2 or WINCH arrived.
    Notified(Received),
    /// TSTP, TTIN or TTOU arrived.
    StopRequested {
        received: Received,
        command_is_stopped: bool,
    },
    /// CONT arrived.
    ContinueRequested(Received),
    /// The command has stopped. `stops_job`: a shell that controls retry as a job waits for retry
    /// to stop too.
    CommandStopped {
        signal: Signal,
        stops_job: bool,
    },
    /// The command has ended, and is reaped.
    CommandEnded(Outcome),
    /// All output of the command that has ended is passed on and matched.
    OutputPassed,
    /// retry runs again after a stop of this length.
    Resumed {
        stopped_for: Duration,
    },
    /// Time has passed. This event comes at least once in each turn of the loop.
    Tick,
    /// The round of [`Action::Kill`] is done. `complete`: it found no new process at its end.
    KillSent {
        complete: bool,
    },
    /// The answers to [`Action::LookForProcesses`].
    NothingLeft,
    SomethingLeft,
    /// The answer to [`Action::KillSurvivors`].
    Survived(Vec<Survivor>),
}

/// Something that the supervisor has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) enum Action {
    /// Send the signal to the command, unless the command has it already.
    PassOn(Received),
    /// Stop retry by this signal, as the command is stopped. Answer: [`Event::Resumed`].
    StopWithCommand(Signal),
    /// Send this signal to all processes of the attempt, and CONT after it: a stopped process acts
    /// on no other signal.
    Terminate(Signal),
    /// Send KILL to all processes of the attempt. Answer: [`Event::KillSent`].
    Kill,
    /// Look whether a process of the attempt is left.
    LookForProcesses,
    /// Send KILL once more to each process that is left, and tell why it lives.
    KillSurvivors,
}
