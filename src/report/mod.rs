//! Words out: what a run tells, and where it goes.
//!
//! The run tells [events](event::Event). Each [`Sink`] makes of them what it likes; [`text`] writes
//! lines to stderr. The ARGs of the command are never part of an event, because they carry secrets.

pub(crate) mod event;
pub(crate) mod format;
pub(crate) mod profiles;
pub(crate) mod status;
pub(crate) mod subject;
pub(crate) mod text;
mod wording;

use std::fmt::Debug;
use std::rc::Rc;
use std::time::Duration;

use event::Event;
use subject::{Subject, Volume};
use text::Text;
use wording::Wording;

use crate::policy::outcome::Attempt;
use crate::policy::verdict::rule::Judged;
use crate::process::notice::{Notice, Observer};
use crate::streams::messages::Messages;

/// A form of report, such as lines on stderr.
trait Sink: Debug {
    /// Takes an event. `stderr` is the way to the terminal, which all sinks share.
    fn take(&mut self, event: &Event<'_>, stderr: &mut Messages);
}

/// The report of one run, in all its forms.
#[derive(Debug)]
pub(crate) struct Report {
    wording: Rc<Wording>,
    stderr: Messages,
    sinks: Vec<Box<dyn Sink>>,
}

impl Report {
    pub(crate) fn new(mut subject: Subject, volume: Volume) -> Self {
        let doubt = subject.doubt.take();
        let wording = Rc::new(Wording::new(subject, volume == Volume::Verbose));
        let text = Text::new(Rc::clone(&wording), volume, doubt);
        Self { wording, stderr: Messages::default(), sinks: vec![Box::new(text)] }
    }

    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        for sink in &mut self.sinks {
            sink.take(event, &mut self.stderr);
        }
    }

    /// Describes how an attempt ended, for the record of the breaker.
    pub(crate) fn describe(&self, attempt: &Attempt) -> String {
        self.wording.recorded(attempt)
    }

    /// The words of a message for how an attempt ended.
    pub(crate) fn reason(&self, judged: &Judged) -> String {
        self.wording.ended(judged)
    }

    /// Waits for a moment until stderr takes what is left to write.
    pub(crate) fn finish(&mut self, now: impl Fn() -> Duration) {
        self.stderr.finish(now);
    }
}

impl Observer for Report {
    fn notice(&mut self, notice: &Notice) {
        self.tell(&Event::Process(notice));
    }

    fn messages(&mut self) -> &mut Messages {
        &mut self.stderr
    }
}
