//! Messages of the supervisor to the user.

use nix::errno::Errno;

use crate::policy::signal::Signal;
use crate::streams::messages::Messages;

/// Something that the user may want to know about a running attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// retry has sent a signal to these processes, because a limit was reached.
    SignalSent { signal: Signal, pids: Vec<i32> },
    /// retry could not pass a signal on to the command.
    NotPassedOn { signal: Signal, pid: i32, errno: Errno },
    /// A limit or a signal came before the output was matched to its end.
    OutputNotMatched,
}

/// The user interface, seen from the supervisor.
pub(crate) trait Observer {
    /// Reports the notice, if the user wants to read it.
    fn notice(&mut self, notice: &Notice);
    /// The lines that wait to be written to stderr.
    fn messages(&mut self) -> &mut Messages;
}
