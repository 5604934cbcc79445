//! A line on a terminal that counts down while retry waits.
//!
//! It is written again each second, and erased before anything else goes to the terminal. It is for
//! a person who looks at the terminal, so it appears only while retry is in the foreground there.
//!
//! The line has no line break, and is never longer than the terminal is wide. If the terminal
//! becomes narrower, some terminals break the line into several rows, and some cut it off. retry
//! cannot know which. So the cursor stands at the beginning of the line, where it stays in both
//! kinds of terminal, and retry erases all that is behind it. It never moves up to a row that may
//! have output of the command.

use std::time::Duration;

use nix::unistd::{getpgrp, isatty, tcgetpgrp};

use super::pseudoterminal::size;
use super::sink::Sink;
use super::standard::Standard as _;
use crate::policy::stream::Stream;

/// Goes to the beginning of the line. Until [`END`], text that is too long is cut off (DECAWM): the
/// terminal may have become narrower a moment ago.
const BEGIN: &str = "\r\x1b[?7l";

/// Erases everything from the cursor on (ECMA-48, ED), and goes to the beginning of the line.
const END: &str = "\x1b[J\x1b[?7h\r";

/// Erases the line. The cursor is behind a blank when it does so: at the top of the screen, tmux
/// would keep the old text in its history.
const ERASE: &str = "\r \x1b[J\r";

/// The width of a terminal that does not tell its own.
const WIDTH: u16 = 80;

/// How often to look whether retry is in the foreground again.
const GLANCE: Duration = Duration::from_secs(1);

/// How long the line stays away after output of a process in the background.
const PAUSE: Duration = Duration::from_millis(100);

/// What is counted down.
#[derive(Debug)]
pub(crate) struct Countdown {
    /// The words before the time that is left.
    pub(crate) text: String,
    /// The end of the wait, as a time since boot.
    pub(crate) until: Duration,
    /// Formats the time that is left.
    pub(crate) format: fn(Duration) -> String,
}

impl Countdown {
    /// The seconds that are left, rounded, but at least one.
    fn seconds(&self, now: Duration) -> u64 {
        let left = self.until.saturating_sub(now);
        (left + Duration::from_millis(500)).as_secs().max(1)
    }

    /// The line for a terminal of this width. Its last column stays free, because some terminals go
    /// on to the next line there.
    fn line(&self, now: Duration, width: u16) -> String {
        let left = (self.format)(Duration::from_secs(self.seconds(now)));
        let mut room = usize::from(width.saturating_sub(1));
        let fits = |c: &char| {
            // A character outside ASCII may take two columns.
            let columns = if c.is_ascii() { 1 } else { 2 };
            let fits = columns <= room;
            room = room.saturating_sub(columns);
            fits
        };
        self.text.chars().chain(left.chars()).take_while(fits).collect()
    }

    /// When the line changes. None if it stays as it is until the end.
    fn changes_at(&self, now: Duration) -> Option<Duration> {
        let seconds = Duration::from_secs(self.seconds(now));
        (seconds > GLANCE).then(|| self.until.saturating_sub(seconds) + Duration::from_millis(500))
    }
}

/// The place of the line at the end of what is on the terminal.
#[derive(Debug, Default)]
pub(super) struct Place {
    countdown: Option<Countdown>,
    /// The line is on the terminal.
    pub(super) is_drawn: bool,
    /// When to draw it next, as a time since boot.
    draw_at: Option<Duration>,
}

impl Place {
    pub(super) fn begin(&mut self, countdown: Countdown) {
        self.countdown = Some(countdown);
        self.draw_soon();
    }

    /// The wait is over. The line may still be on the terminal.
    pub(super) fn end(&mut self) {
        (self.countdown, self.draw_at) = (None, None);
    }

    /// Draws the line at the next opportunity.
    pub(super) fn draw_soon(&mut self) {
        self.draw_at = self.countdown.as_ref().map(|_| Duration::ZERO);
    }

    /// Draws the line a little later than now.
    pub(super) fn draw_later(&mut self, now: Duration) {
        self.draw_at = self.countdown.as_ref().map(|_| now.saturating_add(PAUSE));
    }

    pub(super) fn draw_at(&self) -> Option<Duration> {
        self.draw_at
    }

    /// Draws the line if it is time, and plans the next time. `is_free` tells that the cursor is at
    /// the beginning of a line, and that nothing else is about to be written.
    pub(super) fn draw(&mut self, now: Duration, is_free: bool, sink: &mut Sink) {
        let Some(countdown) = self.countdown.as_ref().filter(|_| self.draw_at.is_some_and(|at| at <= now))
        else {
            return;
        };
        if !is_foreground() {
            // The shell has written since, so the line is out of reach.
            self.is_drawn = false;
        } else if is_free || self.is_drawn {
            let line = countdown.line(now, width());
            if sink.write(format!("{BEGIN}{line}{END}").as_bytes()).is_ok_and(|written| written > 0) {
                self.is_drawn = true;
                self.draw_at = countdown.changes_at(now);
                return;
            }
        }
        self.draw_at = Some(now.saturating_add(GLANCE));
    }

    /// Erases the line. Returns whether the cursor is at the beginning of an empty line now: the
    /// terminal may take nothing at the moment.
    pub(super) fn erase(&mut self, sink: &mut Sink) -> bool {
        if !std::mem::take(&mut self.is_drawn) || !is_foreground() {
            return true;
        }
        sink.write(ERASE.as_bytes()) == Ok(ERASE.len())
    }
}

/// Whether stderr is a terminal that can erase a line.
pub(crate) fn can_count_down() -> bool {
    let erases = |term: std::ffi::OsString| !term.is_empty() && term != "dumb";
    isatty(Stream::Stderr.fd()).unwrap_or(false) && std::env::var_os("TERM").is_some_and(erases)
}

/// Whether the terminal belongs to the process group of retry now.
fn is_foreground() -> bool {
    tcgetpgrp(Stream::Stderr.fd()) == Ok(getpgrp())
}

fn width() -> u16 {
    size(Stream::Stderr.fd()).map(|size| size.ws_col).filter(|width| *width > 0).unwrap_or(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn countdown(text: &str) -> Countdown {
        let format = |left: Duration| format!("{}s", left.as_secs());
        Countdown { text: text.to_owned(), until: MS * 100_000, format }
    }

    #[test]
    fn the_line_tells_the_nearest_second_and_changes_when_that_does() {
        let countdown = countdown("retry: curl: attempt 2 of 5 in ");
        let before = |left: u32| countdown.until.saturating_sub(MS * left);
        for (left, seconds, change) in [
            (7300, "7s", Some(6500)),
            (7000, "7s", Some(6500)),
            (6500, "7s", Some(6500)),
            (6499, "6s", Some(5500)),
            (1501, "2s", Some(1500)),
            (1499, "1s", None),
            (200, "1s", None),
            (0, "1s", None),
        ] {
            let now = before(left);
            assert_eq!(countdown.line(now, 80), format!("retry: curl: attempt 2 of 5 in {seconds}"));
            assert_eq!(countdown.changes_at(now), change.map(before), "{left}");
        }
    }

    #[test]
    fn the_line_is_never_as_long_as_the_terminal_is_wide() {
        let at = |text: &str, width| countdown(text).line(MS * 93_000, width);
        assert_eq!(at("retry: job: attempt 2 of 5 in ", 20), "retry: job: attempt");
        assert_eq!(at("retry: in ", 13), "retry: in 7s");
        assert_eq!(at("retry: in ", 12), "retry: in 7");
        // Each of these characters may take two columns.
        assert_eq!(at("éé in ", 6), "éé ");
        assert_eq!(at("ééé in ", 6), "éé");
        assert_eq!((at("a", 1), at("a", 0)), (String::new(), String::new()));
    }

    #[test]
    fn without_a_wait_nothing_is_planned() {
        let mut place = Place::default();
        place.draw_soon();
        place.draw_later(MS);
        assert_eq!(place.draw_at(), None);
        place.begin(countdown("a"));
        assert_eq!(place.draw_at(), Some(Duration::ZERO));
        place.draw_later(MS);
        assert_eq!(place.draw_at(), Some(PAUSE + MS));
        place.end();
        assert_eq!(place.draw_at(), None);
    }
}
