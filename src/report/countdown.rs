//! The countdown of a longer wait, on the line of a terminal where the cursor is.

use std::rc::Rc;
use std::time::Duration;

use super::Sink;
use super::event::{Event, Lost};
use super::format::duration;
use super::tally::Ended;
use super::wording::Wording;
use crate::streams::countdown::{self, can_count_down};
use crate::streams::messages::Messages;

/// The shortest wait that is counted down: two seconds, as messages round them. Some of the delay may
/// have passed already.
const WORTH_SHOWING: Duration = Duration::from_millis(1950);

#[derive(Debug)]
pub(super) struct Countdown {
    wording: Rc<Wording>,
    /// Whether the terminal can show it. None before the first wait that is long enough.
    can_show: Option<bool>,
}

impl Countdown {
    pub(super) fn new(wording: Rc<Wording>) -> Self {
        Self { wording, can_show: None }
    }
}

impl Sink for Countdown {
    fn take(&mut self, event: &Event<'_>, _: Option<&Ended>, stderr: &mut Messages) -> Result<(), Lost> {
        let Event::Pause(pause) = event else { return Ok(()) };
        let wait = pause.as_ref().filter(|pause| pause.length >= WORTH_SHOWING);
        match wait.filter(|_| *self.can_show.get_or_insert_with(can_count_down)) {
            Some(pause) => stderr.count_down(countdown::Countdown {
                text: format!("retry: {}: {} in ", self.wording.label(), self.wording.awaited(pause.awaited)),
                until: pause.until,
                format: duration,
            }),
            None => stderr.end_countdown(),
        }
        Ok(())
    }
}
