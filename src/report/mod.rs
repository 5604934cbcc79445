//! Words out: what a run tells, and where it goes.
//!
//! The run tells [events](event::Event). Each [`Sink`] makes of them what it likes; [`text`] writes
//! lines to stderr, and [`countdown`] a line that counts down. The ARGs of the command are never
//! part of an event, because they carry secrets.

pub(crate) mod ci;
mod countdown;
pub(crate) mod event;
pub(crate) mod format;
pub(crate) mod json;
pub(crate) mod plan;
pub(crate) mod profiles;
mod prometheus;
pub(crate) mod status;
pub(crate) mod subject;
pub(crate) mod summary;
mod tally;
pub(crate) mod text;
pub(crate) mod wording;
mod wrap;

use std::fmt::Debug;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ci::{Annotations, Ci};
use countdown::Countdown;
use event::{Event, Lost};
use json::{Json, Target};
use prometheus::Metrics;
use subject::{Subject, Volume};
use tally::{Ended, Tally};
use text::Text;
use wording::Wording;

use crate::policy::outcome::Attempt;
use crate::policy::verdict::rule::Judged;
use crate::process::notice::{Notice, Observer};
use crate::streams::append::Appender;
use crate::streams::messages::Messages;

/// A form of report, such as lines on stderr.
trait Sink: Debug {
    /// Takes an event, and the numbers of the run if the event ends it. `stderr` is the way to the
    /// terminal, which all sinks share.
    ///
    /// # Errors
    /// If a part of the report is lost, and the sink has not said so before.
    fn take(&mut self, event: &Event<'_>, ended: Option<&Ended>, stderr: &mut Messages) -> Result<(), Lost>;
}

/// The forms of a report besides the lines on stderr.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forms {
    pub(crate) files: Vec<ReportFile>,
    /// The CI that shows annotations.
    pub(crate) ci: Option<Ci>,
    /// The id of the trace that the run belongs to.
    pub(crate) trace: Option<String>,
}

/// A file that gets a report, by its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReportFile {
    /// JSON lines among the messages on stderr.
    Stderr,
    /// JSON lines.
    Lines(PathBuf),
    /// Metrics, for Prometheus.
    Metrics(PathBuf),
}

/// The report of one run, in all its forms.
#[derive(Debug)]
pub(crate) struct Report {
    wording: Rc<Wording>,
    stderr: Messages,
    sinks: Vec<Box<dyn Sink>>,
    /// None if no sink needs the numbers of the run.
    tally: Option<Tally>,
}

impl Report {
    pub(crate) fn new(mut subject: Subject, volume: Volume, forms: Forms) -> Self {
        let doubt = subject.doubt.take();
        let wording = Rc::new(Wording::new(subject, volume == Volume::Verbose));
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        // Files come first. Whoever reads a message then finds its line in the file.
        let mut files = Vec::new();
        for file in forms.files {
            // Two reports in one file would count the run twice.
            if files.contains(&file) {
                continue;
            }
            files.push(file.clone());
            let wording = Rc::clone(&wording);
            sinks.push(match file {
                ReportFile::Stderr => Box::new(Json::new(Target::Stderr, wording, forms.trace.clone())),
                ReportFile::Lines(path) => {
                    let target = Target::File(Appender::new(path));
                    Box::new(Json::new(target, wording, forms.trace.clone()))
                }
                ReportFile::Metrics(path) => Box::new(Metrics::new(path, wording)),
            });
        }
        // Only the outermost run knows whether a failure is the last word, and it reads the lines of
        // the runs inside.
        let is_outermost = wording.outer().is_none();
        let ci = forms.ci.filter(|_| volume >= Volume::Normal && is_outermost);
        let needs_tally = ci.is_some() || !sinks.is_empty();
        sinks.push(Box::new(Text::new(Rc::clone(&wording), volume, doubt, ci.is_some())));
        if let Some(ci) = ci {
            sinks.push(Box::new(Annotations::new(ci, Rc::clone(&wording))));
        }
        if volume >= Volume::Normal {
            sinks.push(Box::new(Countdown::new(Rc::clone(&wording))));
        }
        Self { wording, stderr: Messages::default(), sinks, tally: needs_tally.then(Tally::new) }
    }

    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        for lost in self.hand_out(event) {
            // A sink that fails now has failed before.
            let _ = self.hand_out(&Event::ReportLost(&lost));
        }
    }

    fn hand_out(&mut self, event: &Event<'_>) -> Vec<Lost> {
        let ended = self.tally.as_mut().and_then(|tally| tally.count(event, &self.wording));
        let stderr = &mut self.stderr;
        self.sinks.iter_mut().filter_map(|sink| sink.take(event, ended.as_ref(), stderr).err()).collect()
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
