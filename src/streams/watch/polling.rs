//! Polling for a watch: which descriptors, for which events, and when to look again.

use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::poll::PollFlags;

use super::Watch;
use crate::clock::now;
use crate::policy::stream::{PerStream, Stream};
use crate::streams::passage::Passage;
use crate::streams::polled::{Interest, Polled, has_gone};

/// How often to look whether the matcher has room. It makes room in about this time if its patterns
/// are quick.
const MATCHER_PAUSE: Duration = Duration::from_millis(2);

/// A descriptor that is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The passage at this place in the list.
    Passage(usize),
    Sink(Stream),
}

/// The state of one passage, as far as it decides what is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Traffic {
    to: Stream,
    /// Bytes of it wait for room in the sink.
    pending: bool,
    reading: Reading,
}

/// When retry reads more from a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// At any time: the bytes are held.
    AtAnyTime,
    /// If no bytes wait for room in the sink.
    WithRoom,
    /// When the matcher has room again.
    AfterMatcher,
}

impl Traffic {
    fn of(passage: &Passage) -> Self {
        let reading = if passage.waits_for_matcher {
            Reading::AfterMatcher
        } else if passage.channel.is_held() {
            Reading::AtAnyTime
        } else {
            Reading::WithRoom
        };
        Self { to: passage.channel.to, pending: !passage.pending.is_empty(), reading }
    }
}

/// Decides what to poll, and for which events. Bytes that wait for room in a sink keep all passages
/// behind them from being read, because bytes keep their order. A sink is polled for room only if
/// bytes wait for it, but always for the loss of its reader. `held` is the stream that held bytes
/// are on their way to.
fn targets(passages: &[Traffic], held: Option<Stream>) -> Vec<(Target, PollFlags)> {
    let mut is_full = PerStream::each(|stream| held == Some(stream));
    let mut is_used = is_full;
    let mut targets = Vec::new();
    for (place, passage) in passages.iter().enumerate() {
        is_used[passage.to] = true;
        is_full[passage.to] |= passage.pending;
        let reads = match passage.reading {
            Reading::AtAnyTime => true,
            Reading::WithRoom => !is_full[passage.to],
            Reading::AfterMatcher => false,
        };
        if reads {
            targets.push((Target::Passage(place), PollFlags::POLLIN));
        }
    }
    for stream in [Stream::Stdout, Stream::Stderr].into_iter().filter(|stream| is_used[*stream]) {
        let flags = if is_full[stream] { PollFlags::POLLOUT } else { PollFlags::empty() };
        targets.push((Target::Sink(stream), flags));
    }
    targets
}

impl Polled for Watch {
    fn interests(&mut self) -> Vec<Interest<'_>> {
        let traffic: Vec<Traffic> = self.passages.iter().map(Traffic::of).collect();
        let targets = targets(&traffic, self.next_held());
        self.polled = targets.iter().map(|(target, _)| *target).collect();
        let Self { passages, sinks, .. } = self;
        let mut sinks = PerStream { stdout: Some(&mut sinks.stdout), stderr: Some(&mut sinks.stderr) };
        let interest = |(target, flags)| {
            let fd = match target {
                Target::Passage(place) => passages.get(place)?.fd.as_fd(),
                Target::Sink(stream) => sinks[stream].take()?.fd(),
            };
            Some(Interest { fd, flags })
        };
        targets.into_iter().filter_map(interest).collect()
    }

    fn ready(&mut self, events: &[PollFlags]) {
        let polled = std::mem::take(&mut self.polled);
        self.can_move = events.iter().any(|events| !events.is_empty());
        let mut is_readable = PerStream::<bool>::default();
        for (target, events) in polled.iter().zip(events) {
            if let Target::Passage(place) = target
                && let Some(passage) = self.passages.get(*place).filter(|_| !events.is_empty())
            {
                is_readable[passage.channel.to] = true;
            }
        }
        // If both became readable since the last poll, nobody knows which one was first.
        let stderr_alone = is_readable.stderr && !is_readable.stdout;
        self.first = self.first.map(|_| if stderr_alone { Stream::Stderr } else { Stream::Stdout });
        for (target, events) in polled.into_iter().zip(events) {
            match target {
                Target::Sink(stream) if has_gone(*events) => self.reader_gone(stream),
                Target::Sink(_) | Target::Passage(_) => {}
            }
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        // A matcher that has room again wakes nobody.
        let waits = self.passages.iter().any(|passage| passage.waits_for_matcher);
        waits.then(|| now().saturating_add(MATCHER_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Traffic = Traffic { to: Stream::Stdout, pending: false, reading: Reading::WithRoom };

    /// The indexes of the passages that are read, and for each sink, whether it is polled for room.
    fn polled(passages: &[Traffic], held: Option<Stream>) -> (Vec<usize>, Vec<(Stream, bool)>) {
        let (mut read, mut sinks) = (Vec::new(), Vec::new());
        for (target, flags) in targets(passages, held) {
            match target {
                Target::Passage(place) => {
                    assert_eq!(flags, PollFlags::POLLIN);
                    read.push(place);
                }
                Target::Sink(stream) => sinks.push((stream, flags == PollFlags::POLLOUT)),
            }
        }
        (read, sinks)
    }

    #[test]
    fn a_passage_is_read_unless_bytes_wait_before_it() {
        use Stream::{Stderr, Stdout};
        let full = Traffic { pending: true, ..IDLE };
        let stderr = Traffic { to: Stderr, ..IDLE };
        let held = Traffic { reading: Reading::AtAnyTime, ..IDLE };
        let slow = Traffic { reading: Reading::AfterMatcher, ..IDLE };
        let both = vec![(Stdout, true), (Stderr, false)];
        assert_eq!(polled(&[], None), (vec![], vec![]));
        assert_eq!(polled(&[IDLE], None), (vec![0], vec![(Stdout, false)]));
        assert_eq!(polled(&[full], None), (vec![], vec![(Stdout, true)]));
        // The passage of an earlier attempt comes first in the list.
        assert_eq!(polled(&[full, IDLE, stderr], None), (vec![2], both.clone()));
        assert_eq!(polled(&[IDLE, full, stderr], None), (vec![0, 2], both.clone()));
        assert_eq!(polled(&[slow, stderr], None), (vec![1], vec![(Stdout, false), (Stderr, false)]));
        // Held bytes can fill stdout while retry passes them on. retry still reads the output that
        // it holds.
        assert_eq!(polled(&[], Some(Stdout)), (vec![], vec![(Stdout, true)]));
        assert_eq!(polled(&[IDLE], Some(Stdout)), (vec![], vec![(Stdout, true)]));
        assert_eq!(polled(&[held, stderr], Some(Stdout)), (vec![0, 1], both));
        assert_eq!(polled(&[held], Some(Stderr)), (vec![0], vec![(Stdout, false), (Stderr, true)]));
    }
}
