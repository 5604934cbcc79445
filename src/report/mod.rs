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

use std::time::Duration;

use event::Event;
use subject::{Subject, Volume};
use text::Text;

use crate::policy::outcome::Attempt;
use crate::process::notice::{Notice, Observer};
use crate::streams::messages::Messages;

/// A form of report, such as lines on stderr.
trait Sink {
    fn take(&mut self, event: &Event<'_>);
}

/// The report of one run, in all its forms.
#[derive(Debug)]
pub(crate) struct Report {
    text: Text,
}

impl Report {
    pub(crate) fn new(subject: Subject, volume: Volume) -> Self {
        Self { text: Text::new(subject, volume) }
    }

    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        let sinks: [&mut dyn Sink; 1] = [&mut self.text];
        for sink in sinks {
            sink.take(event);
        }
    }

    /// Describes how an attempt ended, for the record of the breaker.
    pub(crate) fn describe(&self, attempt: &Attempt) -> String {
        self.text.describe(attempt)
    }

    /// Waits for a moment until stderr takes what is left to write.
    pub(crate) fn finish(&mut self, now: impl Fn() -> Duration) {
        self.text.messages().finish(now);
    }
}

impl Observer for Report {
    fn notice(&mut self, notice: &Notice) {
        self.tell(&Event::Process(notice));
    }

    fn messages(&mut self) -> &mut Messages {
        self.text.messages()
    }
}
