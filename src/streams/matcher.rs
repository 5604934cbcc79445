//! Where the bytes that pass are matched: here, and once there are many, in a thread of its own, so that
//! matching does not hold up what passes.
//!
//! The thread lives within one attempt: it is joined before the next is started. A few parts are on their
//! way to it, no more; then the stream waits.

use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use crate::policy::verdict::evidence::{Carries, Scanner};

/// How much of an attempt's output is matched without a thread, in bytes.
const HERE: usize = 1024 * 1024;

/// Parts on their way, at most.
const PARTS: usize = 4;

/// The thread's stack, in bytes: a search does not recurse.
const STACK: usize = 256 * 1024;

/// Reads what one attempt writes.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// Where there is no thread.
    here: Option<Scanner>,
    beside: Option<Beside>,
    /// What has come, in bytes; counted up to [`HERE`].
    seen: usize,
}

/// The thread, and the parts that go to it and come back to be filled anew.
#[derive(Debug)]
struct Beside {
    to: SyncSender<Part>,
    back: Receiver<Vec<u8>>,
    thread: JoinHandle<Option<Scanner>>,
}

/// The first so many bytes of a buffer.
type Part = (Carries, Vec<u8>, usize);

impl Matcher {
    pub(crate) fn new(scanner: Scanner) -> Self {
        Self { here: Some(scanner), beside: None, seen: 0 }
    }

    /// Takes the next bytes of a stream: the first `length` of `part`, which may be another buffer afterwards.
    pub(crate) fn push(&mut self, carries: Carries, part: &mut Vec<u8>, length: usize) {
        if self.seen < HERE {
            self.seen = self.seen.saturating_add(length);
            if self.seen >= HERE {
                self.move_aside();
            }
        }
        if let Some(beside) = &self.beside {
            let free = beside.back.try_recv().unwrap_or_default();
            // The thread ends after this end of the channel, or with the whole process.
            let _ = beside.to.send((carries, mem::replace(part, free), length));
        } else if let Some(scanner) = &mut self.here {
            scanner.push(carries, part.get(..length).unwrap_or_default());
        }
    }

    /// Gives the scanner to a thread, where there is a core for it and the system has room.
    fn move_aside(&mut self) {
        if !thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
            return;
        }
        let (to, parts) = sync_channel::<Part>(PARTS);
        let (give_back, back) = channel();
        // Where there is no thread, its closure is lost, and the scanner must not be in it.
        let (hand_over, scanner) = channel::<Scanner>();
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            let mut scanner = scanner.recv().ok()?;
            for (carries, part, length) in parts {
                scanner.push(carries, part.get(..length).unwrap_or_default());
                // At the end nobody takes it.
                let _ = give_back.send(part);
            }
            Some(scanner)
        });
        let Ok(thread) = thread else { return };
        if let Some(scanner) = self.here.take() {
            let _ = hand_over.send(scanner);
        }
        self.beside = Some(Beside { to, back, thread });
    }

    /// The scanner, once it has read all. There is one: a thread that panics ends the process.
    pub(crate) fn finish(self) -> Option<Scanner> {
        match self.beside {
            None => self.here,
            Some(Beside { to, thread, .. }) => {
                drop(to);
                thread.join().ok().flatten()
            }
        }
    }
}
