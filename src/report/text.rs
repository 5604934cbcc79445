//! Lines on stderr, as many as the user asked for.

use std::io::IsTerminal as _;
use std::rc::Rc;
use std::time::Duration;

use super::Sink;
use super::ci;
use super::event::{Event, Lost, RunEnd};
use super::format::{printable, readable};
use super::subject::Volume;
use super::tally::Ended;
use super::wording::Wording;
use crate::error::{Error, Quote, one_line};
use crate::policy::finish::Finish;
use crate::policy::stream::Streams;
use crate::streams::hold::HeldBack;
use crate::streams::messages::Messages;

/// The shortest random wait that is worth a line at a terminal.
const WORTH_TELLING: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Text {
    wording: Rc<Wording>,
    volume: Volume,
    /// A note about doubtful options, until it is told.
    doubt: Option<String>,
    /// A CI shows an annotation in place of some last lines.
    has_annotations: bool,
    /// The number of attempts, up to the last one whose verdict has been explained.
    explained: u64,
}

impl Text {
    pub(super) fn new(
        wording: Rc<Wording>,
        volume: Volume,
        doubt: Option<String>,
        has_annotations: bool,
    ) -> Self {
        Self { wording, volume, doubt, has_annotations, explained: 0 }
    }

    fn say(&self, stderr: &mut Messages, least: Volume, line: &str) {
        if self.volume >= least {
            stderr.say(&format!("retry: {}: {line}", self.wording.label()));
        }
    }

    /// Says where the verdict on an attempt comes from, if a profile gave it. The last line of a run
    /// may be about an attempt that was explained before.
    fn explain(&mut self, event: &Event<'_>, stderr: &mut Messages) {
        let (progress, last) = match event {
            Event::Attempt { progress, judged, next: Some(_) } => (*progress, Some(*judged)),
            Event::Finish(RunEnd { progress, last, .. }) => (*progress, *last),
            _ => return,
        };
        if self.explained < progress.in_all()
            && let Some(line) = last.and_then(|last| Wording::explanation(last.rule()))
        {
            self.say(stderr, Volume::Verbose, &line);
        }
        self.explained = progress.in_all();
    }

    /// Prints the held output of a failed attempt, after a line about it.
    fn held_back(&self, number: u32, output: &HeldBack, stderr: &mut Messages) {
        let shown = readable(&output.end);
        let is_whole = shown.is_some() && u64::try_from(output.end.len()) == Ok(output.length);
        let least = least(output.streams, is_whole);
        let line = self.wording.held_back(number, output, shown.is_none());
        self.say(stderr, least.line, &line);
        if let Some(shown) = shown.filter(|_| self.volume >= least.output) {
            stderr.show(shown.as_bytes());
        }
    }
}

/// The least volume for the two parts of what is held back.
struct Least {
    line: Volume,
    output: Volume,
}

/// Decides at which volume held output is shown. stderr is the command's own, and nothing else
/// tells about the failure. So volume, which is for the lines of retry, does not hide it. A line
/// tells even a quiet run that something is missing.
fn least(streams: Streams, is_whole: bool) -> Least {
    match (streams, is_whole) {
        (Streams::Stdout, _) => Least { line: Volume::Normal, output: Volume::Normal },
        (Streams::Stderr | Streams::Both, true) => Least { line: Volume::Normal, output: Volume::Silent },
        (Streams::Stderr | Streams::Both, false) => Least { line: Volume::Quiet, output: Volume::Silent },
    }
}

impl Sink for Text {
    fn take(&mut self, event: &Event<'_>, ended: Option<&Ended>, stderr: &mut Messages) -> Result<(), Lost> {
        let is_annotated = self.has_annotations && ended.and_then(ci::level).is_some();
        match event {
            Event::Finish(_) if is_annotated => {}
            Event::Started => {
                for line in self.wording.places() {
                    self.say(stderr, Volume::Verbose, &line);
                }
            }
            // A run that succeeds at once prints nothing, so that cron sends no mail. But somebody
            // who waits at a terminal has to see why nothing happens.
            Event::Splay { wait } if *wait >= WORTH_TELLING && std::io::stderr().is_terminal() => {
                self.say(stderr, Volume::Normal, &self.wording.splay(*wait));
            }
            Event::Failure(error) => {
                if self.volume > Volume::Silent {
                    write_error(stderr, error);
                }
            }
            Event::Hint(hint) => {
                if self.volume > Volume::Silent {
                    write_hint(stderr, hint);
                }
            }
            Event::HeldBack { number, output } => self.held_back(*number, output, stderr),
            event => {
                if let Some((least, line)) = self.wording.event(event) {
                    self.say(stderr, least, &line);
                }
            }
        }
        self.explain(event, stderr);
        if is_failure(event)
            && let Some(doubt) = self.doubt.take()
        {
            self.say(stderr, Volume::Normal, &printable(&doubt));
        }
        Ok(())
    }
}

/// Whether an event tells about a failed attempt. A run that succeeds at once prints nothing.
fn is_failure(event: &Event<'_>) -> bool {
    match event {
        Event::Attempt { judged, next, .. } => next.is_some() && !judged.is_success(),
        Event::Finish(end) => matches!(end.finish, Finish::GaveUp { .. } | Finish::NotRetried { .. }),
        _ => false,
    }
}

/// Writes an error: a line for its cause and, if there is a hint, a line for the hint.
pub(crate) fn write_error(messages: &mut Messages, error: &Error) {
    messages.say(&format!("retry: {}", printable(&one_line(error))));
    if let Some(Quote { text, at }) = error.quote() {
        let before = printable(text.get(..*at).unwrap_or_default()).chars().count();
        messages.say(&format!("retry:   {}", printable(text)));
        messages.say(&format!("retry:   {}^", " ".repeat(before)));
    }
    if let Some(hint) = error.hint() {
        write_hint(messages, hint);
    }
}

fn write_hint(messages: &mut Messages, hint: &str) {
    messages.say(&format!("retry: hint: {}", printable(hint)));
}
