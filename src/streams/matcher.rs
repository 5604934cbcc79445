//! Matching the bytes that pass, without holding up signals and limits.
//!
//! A search cannot be interrupted, and a pattern may make it slow: `a.{2000}c` takes a second for 100 KB. So retry
//! matches in its main thread only as much as is quick whatever the pattern is. Beyond that a second thread matches. It
//! has some parts of the output waiting; if they are too many, the stream waits.
//!
//! At the end of an attempt retry waits for the thread as it waits for output: until a limit or a signal comes. Then it
//! gives the thread up, and what was not matched counts as no match. The thread ends when its search does. It only
//! computes, with all signals blocked, so it does no harm if it still runs when the next command is started.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::SigSet;

use crate::policy::stream::Streams;
use crate::policy::verdict::evidence::Scanner;

/// How much of an attempt's output is matched without a thread at most, in bytes.
const HERE: usize = 64 * 1024;

/// How many steps of a search are made without a thread at most: some milliseconds of them.
const STEPS: usize = 4_000_000;

/// How much memory may wait for the thread, in bytes.
const MOST: usize = 3 * 1024 * 1024;

/// A shorter part is copied, so that it does not wait in a large buffer, in bytes.
const SHORT: usize = 32 * 1024;

/// The memory that a part takes beside its buffer, about, in bytes.
const BESIDE: usize = 256;

/// Empty buffers that are kept, at most.
const SPARE: usize = 8;

/// The thread's stack, in bytes: a search does not recurse.
const STACK: usize = 256 * 1024;

/// How long the thread has for what waits, when a limit or a signal has come; and for the search that it makes, once
/// it has been told to stop. A limit may be late by 100 ms in all.
const GRACE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(15));

/// Reads what one attempt writes.
#[derive(Debug)]
pub(crate) struct Matcher {
    way: Way,
    /// How many bytes may still be matched without a thread.
    left: usize,
    /// stderr carries stdout's bytes too.
    merged: bool,
}

#[derive(Debug)]
enum Way {
    /// The main thread matches.
    Here(Scanner),
    Beside(Beside),
    /// The streams have ended.
    Over(Matched),
}

/// What became of the matching.
#[derive(Debug)]
pub(crate) enum Matched {
    /// All was matched.
    Whole(Scanner),
    /// A limit or a signal came first. Of a search that would not end nothing is known.
    Partly(Option<Scanner>),
}

/// The thread, and the parts that go to it and come back to be filled anew.
#[derive(Debug)]
struct Beside {
    /// None once the streams have ended.
    to: Option<Sender<Part>>,
    back: Receiver<Vec<u8>>,
    /// The memory of the parts that have not come back, in bytes.
    waiting: usize,
    spare: Vec<Vec<u8>>,
    stop: Arc<AtomicBool>,
    result: Receiver<Matched>,
    thread: JoinHandle<()>,
}

/// The first so many bytes of a buffer.
type Part = (Streams, Vec<u8>, usize);

impl Matcher {
    /// `merged` tells that stderr carries stdout's bytes too.
    pub(crate) fn new(scanner: Scanner, merged: bool) -> Self {
        let left = HERE.min(STEPS / scanner.steps().max(1));
        Self { way: Way::Here(scanner), left, merged }
    }

    /// Whether it takes another part.
    pub(crate) fn has_room(&mut self) -> bool {
        match &mut self.way {
            Way::Here(_) | Way::Over(_) => true,
            Way::Beside(beside) => {
                beside.collect();
                beside.waiting < MOST
            }
        }
    }

    /// Takes the next bytes of a stream: the first `length` of `part`, which may be another buffer afterwards.
    pub(crate) fn push(&mut self, carries: Streams, part: &mut Vec<u8>, length: usize) {
        if length > self.left {
            self.move_aside();
        }
        self.left = self.left.saturating_sub(length);
        match &mut self.way {
            Way::Here(scanner) => scanner.push(carries, part.get(..length).unwrap_or_default()),
            Way::Beside(beside) => beside.push(carries, part, length),
            // What comes now is written by what the command left behind, and counts for no verdict.
            Way::Over(_) => {}
        }
    }

    /// Gives the scanner to a thread, if the system has room for one.
    fn move_aside(&mut self) {
        let way = mem::replace(&mut self.way, Way::Over(Matched::Partly(None)));
        self.way = match way {
            Way::Here(scanner) => match Beside::start(scanner, self.merged) {
                Ok(beside) => Way::Beside(beside),
                Err(scanner) => Way::Here(*scanner),
            },
            way => way,
        };
    }

    /// The streams have ended: whether all is matched, at the latest after this time.
    pub(crate) fn is_over_within(&mut self, time: Duration) -> bool {
        let way = mem::replace(&mut self.way, Way::Over(Matched::Partly(None)));
        self.way = match way {
            Way::Here(mut scanner) => {
                scanner.end(self.merged);
                Way::Over(Matched::Whole(scanner))
            }
            Way::Beside(beside) => beside.over_within(time),
            Way::Over(matched) => Way::Over(matched),
        };
        matches!(self.way, Way::Over(_))
    }

    /// What is known now. A thread that still searches is told to stop, and given up if it does not do so soon.
    pub(crate) fn finish(mut self) -> Matched {
        if !self.is_over_within(GRACE.0)
            && let Way::Beside(beside) = &self.way
        {
            beside.stop.store(true, Ordering::Relaxed);
            self.is_over_within(GRACE.1);
        }
        match self.way {
            Way::Over(matched) => matched,
            Way::Here(_) | Way::Beside(_) => Matched::Partly(None),
        }
    }
}

impl Beside {
    /// Starts the thread.
    ///
    /// # Errors
    /// The scanner, where there is no room for a thread.
    fn start(scanner: Scanner, merged: bool) -> Result<Self, Box<Scanner>> {
        let (to, parts) = channel::<Part>();
        let (give_back, back) = channel();
        let (tell, result) = channel();
        // Where there is no thread, its closure is lost, and the scanner must not be in it.
        let (hand_over, handed) = channel::<Scanner>();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            // Signals are the main thread's.
            let _ = SigSet::all().thread_block();
            let Ok(mut scanner) = handed.recv() else { return };
            for (carries, part, length) in parts {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                scanner.push(carries, part.get(..length).unwrap_or_default());
                let _ = give_back.send(part);
            }
            // Nobody may listen any more.
            let _ = tell.send(if stopped.load(Ordering::Relaxed) {
                Matched::Partly(Some(scanner))
            } else {
                scanner.end(merged);
                Matched::Whole(scanner)
            });
        });
        match thread {
            Ok(thread) => {
                let _ = hand_over.send(scanner);
                Ok(Self { to: Some(to), back, waiting: 0, spare: Vec::new(), stop, result, thread })
            }
            Err(_) => Err(Box::new(scanner)),
        }
    }

    /// Takes back the buffers of parts that have been matched.
    fn collect(&mut self) {
        while let Ok(part) = self.back.try_recv() {
            self.waiting -= part.capacity() + BESIDE;
            if part.capacity() >= SHORT && self.spare.len() < SPARE {
                self.spare.push(part);
            }
        }
    }

    fn push(&mut self, carries: Streams, part: &mut Vec<u8>, length: usize) {
        self.collect();
        if let Some(to) = &self.to {
            let bytes = match part.get(..length) {
                Some(bytes) if length < SHORT => bytes.to_vec(),
                Some(_) | None => mem::replace(part, self.spare.pop().unwrap_or_default()),
            };
            self.waiting += bytes.capacity() + BESIDE;
            // The thread ends after this end of the channel, or with the whole process.
            let _ = to.send((carries, bytes, length));
        }
    }

    /// The streams have ended: waits so long for the result.
    fn over_within(mut self, time: Duration) -> Way {
        self.to = None;
        match self.result.recv_timeout(time) {
            Ok(matched) => {
                // It has nothing left to do.
                let _ = self.thread.join();
                Way::Over(matched)
            }
            Err(_) => Way::Beside(self),
        }
    }
}
