//! The streams and signals that retry looks after while it waits, with a command or without.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal as Name;

use super::notice::Observer;
use super::poll::Poller;
use super::reap::reap_all;
use super::signal::send::stop_self;
use super::signal::stream::{Request, SignalStream};
use crate::clock::now;
use crate::error::Error;
use crate::policy::signal::Signal;
use crate::streams::matcher::Matcher;
use crate::streams::plan::Necessity;
use crate::streams::polled::Polled;
use crate::streams::redirection::{Becomes, Redirection};
use crate::streams::stdin::Input;
use crate::streams::watch::Watch;

/// Moves bytes between the command and retry's own streams.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) signals: SignalStream,
    pub(super) watch: Watch,
    pub(super) input: Input,
    pub(super) poller: Poller,
}

impl Pump {
    /// Waits until a signal has arrived, bytes can move, or the time `until` since boot has come.
    ///
    /// # Errors
    /// If poll(2) fails.
    pub(super) fn wait(
        &mut self,
        until: Option<Duration>,
        observer: &mut impl Observer,
    ) -> Result<(), Error> {
        self.wait_beside(until, observer, &mut None)
    }

    /// As [`wait`](Self::wait), and waits for one more source.
    ///
    /// # Errors
    /// If poll(2) fails.
    pub(super) fn wait_beside(
        &mut self,
        until: Option<Duration>,
        observer: &mut impl Observer,
        beside: &mut Option<&mut dyn Polled>,
    ) -> Result<(), Error> {
        // A reader that is gone is noticed before messages go out.
        let sources: &mut [&mut dyn Polled] =
            &mut [&mut self.signals, &mut self.input, &mut self.watch, observer.messages(), beside];
        self.poller.wait(sources, until)
    }

    /// Moves the bytes that can move now. Messages of retry wait while bytes of the command are on
    /// their way to stderr.
    pub(super) fn pass(&mut self, matcher: Option<&mut Matcher>, observer: &mut impl Observer) {
        let is_counting = observer.messages().is_counting();
        if is_counting && self.watch.can_move() {
            observer.messages().make_way();
        }
        // Bytes that arrive after the last poll must not go behind the countdown.
        if !is_counting || self.watch.can_move() {
            self.watch.turn(matcher, observer.messages().is_waiting());
        }
        self.input.turn(now);
        if let Some(unfinished) = self.watch.take_unfinished() {
            observer.messages().continues(unfinished);
        }
        observer.messages().hold(self.watch.holds_stderr());
    }

    /// Opens the streams of the next command. An attempt needs no more descriptors than the one
    /// before, so if none is left, retry closes one that it can do without.
    ///
    /// # Errors
    /// If the system has no descriptor or no pseudo-terminal left.
    pub(super) fn open(
        &mut self,
        is_last: bool,
        observer: &mut impl Observer,
    ) -> Result<Vec<Redirection>, Error> {
        loop {
            match self.try_open(is_last) {
                Err(Error::System { errno: Errno::EMFILE | Errno::ENFILE, .. })
                    if self.spare_descriptor(observer) =>
                {
                    self.watch.close();
                }
                opened => return opened,
            }
        }
    }

    /// Opens the input before the streams that only a profile wants: without a pipe for the input,
    /// no other attempt can follow.
    fn try_open(&mut self, is_last: bool) -> Result<Vec<Redirection>, Error> {
        let mut redirections = self.watch.open(Necessity::Required)?;
        redirections.extend(self.input.open(is_last)?.map(|end| Redirection::new(end, Becomes::Stdin)));
        redirections.extend(self.watch.open(Necessity::Optional)?);
        Ok(redirections)
    }

    /// Closes a descriptor that retry can do without for a while. Returns whether there was one.
    pub(super) fn spare_descriptor(&mut self, observer: &mut impl Observer) -> bool {
        self.poller.spare_descriptor()
            || self.watch.spare_descriptor()
            || observer.messages().spare_descriptor()
    }

    /// Answers the signals that have arrived while no command runs. Returns the first INT, TERM,
    /// HUP or QUIT. Sets `children` if children have to be reaped.
    pub(super) fn answer_signals(&self, children: &mut bool, observer: &mut impl Observer) -> Option<Signal> {
        for received in self.signals.received() {
            match received.request {
                Request::End => return Some(received.signal),
                Request::Stop => {
                    // The shell writes to the terminal while retry is stopped.
                    observer.messages().make_way();
                    stop_self(received.signal, || true);
                    observer.messages().redraw_countdown();
                }
                Request::Children => *children = true,
                Request::Notify if received.name == Name::SIGWINCH => observer.messages().redraw_countdown(),
                Request::Notify | Request::Continue => {}
            }
        }
        *children = *children && reap_all();
        None
    }
}
