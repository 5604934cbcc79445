//! `--once` around the loop: the look for an answer before it, and the new answer after it.

use std::time::Duration;

use super::{End, Host, Run};
use crate::error::Error;
use crate::policy::finish::{Finish, Wait};
use crate::policy::once::{Decision, decide};
use crate::policy::verdict::rule::Rule;
use crate::report::event::Event;

impl<H: Host> Run<'_, H> {
    /// Looks for an answer, and waits for a run that is making it. Nothing else of the run has begun
    /// by then.
    pub(super) fn claim(&mut self) -> Result<(), End> {
        let mut told = None;
        loop {
            let seen = self.host.look()?;
            let until = self.time_left().filter(|_| self.deadline.is_some());
            match decide(seen, self.elapsed(), until) {
                Decision::Run => return Ok(()),
                Decision::Answered { age } => return Err(Finish::Answered { age }.into()),
                Decision::Refuse { by, deadline } => return Err(Finish::Busy { by, deadline }.into()),
                Decision::WaitFor { by, length } => {
                    // The run that has just got the lock has not yet signed it.
                    if told.is_none() || (by.is_some() && told != Some(by)) {
                        self.host.tell(&Event::Making { by, again: told.is_some() });
                        told = Some(by);
                    }
                    self.wait_for_answer(length)?;
                }
            }
        }
    }

    fn wait_for_answer(&mut self, length: Duration) -> Result<(), End> {
        let from = self.host.now();
        let interrupted = self.host.wait_until(from.saturating_add(length))?;
        self.waited = self.waited.saturating_add(self.host.now().saturating_sub(from));
        match interrupted {
            Some(signal) => Err(Finish::InterruptedWait { signal, wait: Wait::Answer }.into()),
            None => Ok(()),
        }
    }

    /// Keeps the output of a success as the answer, and only then passes it on. A run whose answer is
    /// not kept has not succeeded: the next run would repeat it.
    pub(super) fn keep_and_pass(&mut self, finish: Finish) -> Result<Finish, Error> {
        let kept = match &finish {
            // Nothing ran, so there is no output.
            Finish::Succeeded { rule: Rule::Done, .. } => Ok(()),
            Finish::Succeeded { .. } => self.host.keep(),
            Finish::GaveUp { .. }
            | Finish::NotRetried { .. }
            | Finish::InterruptedAttempt { .. }
            | Finish::InterruptedOutput { .. }
            | Finish::InterruptedWait { .. }
            | Finish::NotRun { .. }
            | Finish::Answered { .. }
            | Finish::Busy { .. }
            | Finish::NeverStarted { .. } => Ok(()),
        };
        match (kept, self.pass_output(finish)) {
            (Ok(()), passed) => passed,
            (Err(error), Ok(Finish::Succeeded { .. })) => Err(error),
            (Err(error), passed) => {
                self.host.tell(&Event::NotPassed { error: &error });
                passed
            }
        }
    }
}
