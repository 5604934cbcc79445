//! The renewal of a lease or a permit while its attempt runs.
//!
//! A lease in a server is short, so that the death of a host frees it soon. The run that holds it
//! extends it every few seconds. It does so without waiting: the commands go out, and the replies
//! are read when they are there. A renewal that fails is no error of the run. Then the lease ends,
//! and another run may probe. The records of a run share one connection, and an error that a server
//! answers with does not end it.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use redis::{Pipeline, Value};

use super::exchange::{LEASE, Written, record_in, to_read, to_write, was_written};
use super::link::Link;
use super::session::{Expected, Session};
use super::trouble::Trouble;
use super::wire::{Fault, Limit};
use crate::clock::now;
use crate::policy::admission::breaker::Pass;
use crate::state::record::Snapshot;

/// The time between two renewals.
const EVERY: Duration = Duration::from_secs(5);

/// The time before another try, if another run was faster.
const AGAIN: Duration = Duration::from_millis(100);

/// The longest time for the replies to come.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest time for the rest of a reply, once it begins to come.
const REST: Duration = Duration::from_millis(50);

/// A lease that its run holds. If it is dropped while replies are on their way, their connection is
/// closed.
#[derive(Debug)]
pub(crate) struct Renewal {
    link: Rc<RefCell<Link>>,
    key: String,
    pass: Pass,
    /// The lease is not extended past this time since boot.
    until: Duration,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The next renewal begins at this time since boot.
    Resting(Duration),
    /// The replies are on their way, until this time at most.
    Asking(Box<Session>, Asked, Duration),
    /// The lease is not renewed any more.
    Over,
}

/// The replies that are on their way.
#[derive(Debug)]
enum Asked {
    Record(Expected),
    Write(Expected),
}

impl Renewal {
    /// The claim of this pass, which lasts for `length` in all if its attempt does.
    pub(super) fn new(link: Rc<RefCell<Link>>, key: String, pass: Pass, length: Duration) -> Self {
        let now = now();
        let (until, stage) = (now.saturating_add(length), Stage::Resting(now.saturating_add(EVERY)));
        Self { link, key, pass, until, stage }
    }

    /// The descriptor that becomes readable when replies come.
    pub(crate) fn fd(&mut self) -> Option<BorrowedFd<'_>> {
        match &mut self.stage {
            Stage::Asking(session, _, _) => Some(session.as_fd()),
            Stage::Resting(_) | Stage::Over => None,
        }
    }

    /// The time since boot at which there is something to do.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Resting(at) | Stage::Asking(_, _, at) => Some(*at),
            Stage::Over => None,
        }
    }

    /// Does what there is to do now. `is_readable` says whether replies come.
    pub(crate) fn go_on(&mut self, is_readable: bool) {
        let now = now();
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Resting(at) if at <= now => self.begin().unwrap_or(Stage::Over),
            Stage::Asking(session, asked, _) if is_readable => {
                self.receive(*session, &asked).unwrap_or(Stage::Over)
            }
            // The server does not answer. Its late answer would be taken for the next one.
            Stage::Asking(_, _, at) if at <= now => Stage::Over,
            stage => stage,
        };
    }

    /// Asks for the record.
    fn begin(&self) -> Option<Stage> {
        if now() >= self.until {
            return None;
        }
        let (session, limit) = {
            let mut link = self.link.borrow_mut();
            (link.take_session()?, link.limit(REST))
        };
        Self::send(session, &to_read(&self.key), limit, Asked::Record)
    }

    fn send(
        mut session: Session,
        commands: &Pipeline,
        limit: Limit,
        asked: fn(Expected) -> Asked,
    ) -> Option<Stage> {
        let expected = session.send(commands, limit).ok()?;
        Some(Stage::Asking(Box::new(session), asked(expected), now().saturating_add(PATIENCE)))
    }

    /// Receives replies, and goes on with the next step.
    fn receive(&self, mut session: Session, asked: &Asked) -> Option<Stage> {
        let limit = self.link.borrow().limit(REST);
        match asked {
            Asked::Record(expected) => {
                let replies = session.receive(*expected, limit).ok()?;
                match self.renewed(replies) {
                    Ok(Some(commands)) => Self::send(session, &commands, limit, Asked::Write),
                    Ok(None) => self.rest(session, None),
                    Err(fault) => self.rest(session, after(&fault)),
                }
            }
            Asked::Write(expected) => {
                let replies = session.receive(*expected, limit).ok()?;
                let pause = match was_written(replies) {
                    Ok(Written::Yes) => Some(EVERY),
                    Ok(Written::No) => Some(AGAIN),
                    Err(fault) => after(&fault),
                };
                self.rest(session, pause)
            }
        }
    }

    /// Gives the connection back, and rests until the next renewal, if there is one.
    fn rest(&self, session: Session, pause: Option<Duration>) -> Option<Stage> {
        self.link.borrow_mut().give_back(session);
        pause.map(|pause| Stage::Resting(now().saturating_add(pause)))
    }

    /// The commands that extend the lease in this record. None if the lease is over: another run
    /// probes, or somebody has closed the breaker.
    fn renewed(&self, replies: Vec<Value>) -> Result<Option<Pipeline>, Fault> {
        let (stamp, seen) = record_in(&self.key, replies)?;
        let Some(Snapshot { mut record, now, .. }) = seen else { return Ok(None) };
        let left = self.until.saturating_sub(crate::clock::now()).min(LEASE);
        let is_held = record.breaker.renew(self.pass, now, left);
        Ok(is_held.then(|| to_write(&self.key, &record, stamp)))
    }
}

/// The time before another try. None if another try makes no sense. The server may refuse something
/// for a moment, for example because it has no memory left, and a lease lasts for some tries.
fn after(fault: &Fault) -> Option<Duration> {
    matches!(fault, Fault::Trouble(Trouble::Refused { .. })).then_some(EVERY)
}
