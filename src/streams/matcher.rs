//! Matching the bytes that pass, without a delay for signals and limits.
//!
//! A search cannot be interrupted, and a pattern may make it slow: `a.{2000}c` takes a second for
//! 100 KB. So the main thread matches only as many bytes as are quick with any pattern. A second
//! thread matches the rest. Parts of the output wait for this thread. If they are too many, retry
//! reads no more of the stream.
//!
//! At the end of an attempt, retry waits for the thread as it waits for output: until a limit or a
//! signal comes. Then it gives the thread up, and bytes that were not matched count as no match.
//! The thread ends when its search ends. It only computes, with all signals blocked, so it does no
//! harm if it still runs when the next command starts.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::SigSet;

use crate::policy::stream::Streams;
use crate::policy::verdict::evidence::Scanner;

/// The most bytes of an attempt that the main thread matches.
const HERE: usize = 64 * 1024;

/// The most steps of a search that the main thread makes. They take some milliseconds.
const STEPS: usize = 4_000_000;

/// The most bytes of memory that may wait for the thread.
const MOST: usize = 3 * 1024 * 1024;

/// A part with fewer bytes is copied, so that it does not wait in a large buffer.
const SHORT: usize = 32 * 1024;

/// About how many bytes of memory a part takes in addition to its buffer.
const BESIDE: usize = 256;

/// The most empty buffers that are kept.
const SPARE: usize = 8;

/// The size of the thread's stack in bytes. A search does not recurse.
const STACK: usize = 256 * 1024;

/// How long the thread may search the parts that wait when a limit or a signal has come. The two
/// times together make a limit late, by 100 ms at most.
const GRACE: Duration = Duration::from_millis(25);

/// How long the thread may take to stop after that.
const STOP_GRACE: Duration = Duration::from_millis(15);

/// Searches the output of one attempt.
#[derive(Debug)]
pub(crate) struct Matcher {
    way: Way,
    /// How many bytes the main thread may still match.
    left: usize,
    /// One channel carries the bytes of both streams.
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

/// The result.
#[derive(Debug)]
pub(crate) enum Matched {
    /// All bytes were matched.
    Whole(Scanner),
    /// A limit or a signal came first. If a search did not end, nothing is known.
    Partly(Option<Scanner>),
}

/// The thread. Parts go to it, and their buffers come back.
#[derive(Debug)]
struct Beside {
    /// None after the streams have ended.
    to: Option<Sender<Part>>,
    back: Receiver<Vec<u8>>,
    /// The bytes of memory of the parts whose buffers have not come back.
    waiting: usize,
    spare: Vec<Vec<u8>>,
    stop: Arc<AtomicBool>,
    result: Receiver<Matched>,
    thread: JoinHandle<()>,
}

/// A buffer, and how many of its bytes count.
type Part = (Streams, Vec<u8>, usize);

impl Matcher {
    /// `merged` tells that one channel carries the bytes of both streams.
    pub(crate) fn new(scanner: Scanner, merged: bool) -> Self {
        let left = HERE.min(STEPS / scanner.steps().max(1));
        Self { way: Way::Here(scanner), left, merged }
    }

    /// Whether the matcher takes another part.
    pub(crate) fn has_room(&mut self) -> bool {
        match &mut self.way {
            Way::Here(_) | Way::Over(_) => true,
            Way::Beside(beside) => {
                beside.collect();
                beside.waiting < MOST
            }
        }
    }

    /// Takes the next bytes of a stream, the first `length` bytes of `part`. It may replace the
    /// buffer.
    pub(crate) fn push(&mut self, carries: Streams, part: &mut Vec<u8>, length: usize) {
        if length > self.left {
            self.move_aside();
        }
        self.left = self.left.saturating_sub(length);
        match &mut self.way {
            Way::Here(scanner) => scanner.push(carries, part.get(..length).unwrap_or_default()),
            Way::Beside(beside) => beside.push(carries, part, length),
            // Processes that the command left behind write these bytes. They count for no verdict.
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

    /// The streams have ended. Waits at most this long, and returns whether all bytes are matched.
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

    /// Returns what is known now. It tells a thread that still searches to stop, and gives it up if
    /// it does not stop soon.
    pub(crate) fn finish(mut self) -> Matched {
        if !self.is_over_within(GRACE)
            && let Way::Beside(beside) = &self.way
        {
            beside.stop.store(true, Ordering::Relaxed);
            self.is_over_within(STOP_GRACE);
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
    /// The scanner, if the system has no room for a thread.
    fn start(scanner: Scanner, merged: bool) -> Result<Self, Box<Scanner>> {
        let (to, parts) = channel::<Part>();
        let (give_back, back) = channel();
        let (tell, result) = channel();
        // If no thread can start, its closure is lost, so the scanner must not be in it.
        let (hand_over, handed) = channel::<Scanner>();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            // The main thread handles signals.
            let _ = SigSet::all().thread_block();
            let Ok(mut scanner) = handed.recv() else { return };
            for (carries, part, length) in parts {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                scanner.push(carries, part.get(..length).unwrap_or_default());
                let _ = give_back.send(part);
            }
            // The main thread may have given up.
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

    /// The streams have ended. Waits at most this long for the result.
    fn over_within(mut self, time: Duration) -> Way {
        self.to = None;
        match self.result.recv_timeout(time) {
            Ok(matched) => {
                // The thread has nothing left to do.
                let _ = self.thread.join();
                Way::Over(matched)
            }
            Err(_) => Way::Beside(self),
        }
    }
}
