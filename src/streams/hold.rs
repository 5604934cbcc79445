//! `--hold`: the stdout of an attempt is kept until the verdict is known. The output of the attempt
//! that succeeds is passed on, whole and once. Of a failed attempt only the end is wanted, for
//! stderr.

use std::io;

use nix::errno::Errno;

use super::sink::Sink;
use super::spool::{NotKept, Spool};
use crate::error::errno;

/// How many bytes of a failed attempt are shown.
const SHOWN: usize = 64 * 1024;

/// How many bytes are passed on at a time.
const PART: usize = 64 * 1024;

/// How many parts are passed on before the caller looks at signals and the clock again.
const ROUNDS: usize = 16;

/// The output of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    spool: Spool,
    /// How many bytes came, with those that could not be kept.
    length: u64,
    state: State,
    /// Nobody reads stdout any more.
    reader_gone: bool,
    part: Vec<u8>,
}

#[derive(Debug, Default)]
enum State {
    /// The spool has all bytes.
    #[default]
    Whole,
    /// The spool failed, for this reason. Only the last bytes are kept.
    End { bytes: Vec<u8>, why: NotKept },
    /// The spool has all bytes, and this many of them have been passed on.
    Released { passed: u64 },
}

/// The output of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// How many bytes the attempt wrote.
    pub(crate) length: u64,
    /// The last of them, at most 64 KiB.
    pub(crate) end: Vec<u8>,
}

impl Hold {
    /// An attempt begins.
    pub(crate) fn begin(&mut self) {
        *self = Self { reader_gone: self.reader_gone, ..Self::default() };
    }

    /// Keeps bytes that the attempt has written.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        match &mut self.state {
            State::Whole | State::Released { .. } => {
                if let Err(why) = self.spool.push(bytes) {
                    self.keep_only_the_end(why);
                    self.push_to_end(bytes);
                }
            }
            State::End { .. } => self.push_to_end(bytes),
        }
    }

    fn keep_only_the_end(&mut self, why: NotKept) {
        self.state = State::End { bytes: self.end_of_spool(), why };
        self.spool = Spool::default();
    }

    fn push_to_end(&mut self, bytes: &[u8]) {
        let State::End { bytes: end, .. } = &mut self.state else { return };
        end.extend_from_slice(bytes);
        let over = end.len().saturating_sub(SHOWN);
        // To move the bytes for each push would take too long.
        if over >= SHOWN {
            drop(end.drain(..over));
        }
    }

    fn end_of_spool(&self) -> Vec<u8> {
        let mut end = vec![0; SHOWN];
        let mut filled = 0;
        let mut position = self.spool.length().saturating_sub(u64::try_from(SHOWN).unwrap_or(0));
        while let Some(part) = end.get_mut(filled..).filter(|part| !part.is_empty()) {
            match self.spool.read_at(position, part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // After an error, the bytes so far are the best to show.
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    filled += length;
                    position += u64::try_from(length).unwrap_or(0);
                }
            }
        }
        end.truncate(filled);
        end
    }

    /// The attempt has failed. Returns its output, if there is any and somebody still reads stdout.
    /// Nothing is kept any more.
    pub(crate) fn reject(&mut self) -> Option<HeldBack> {
        let mut end = match std::mem::take(&mut self.state) {
            State::Whole | State::Released { .. } => self.end_of_spool(),
            State::End { bytes, .. } => bytes,
        };
        drop(end.drain(..end.len().saturating_sub(SHOWN)));
        let length = self.length;
        self.begin();
        (length > 0 && !self.reader_gone).then_some(HeldBack { length, end })
    }

    /// The attempt has succeeded. Its output may be passed on.
    ///
    /// # Errors
    /// If not all of it could be kept.
    pub(crate) fn release(&mut self) -> Result<(), NotKept> {
        match std::mem::take(&mut self.state) {
            State::End { why, .. } => Err(why),
            State::Whole | State::Released { .. } => {
                self.state = State::Released { passed: 0 };
                Ok(())
            }
        }
    }

    /// How many bytes are still to be passed on.
    pub(crate) fn left(&self) -> u64 {
        match self.state {
            State::Released { passed } => self.length.saturating_sub(passed),
            State::Whole | State::End { .. } => 0,
        }
    }

    /// Passes on as much as there is room for.
    ///
    /// # Errors
    /// If stdout takes nothing any more, or the bytes cannot be read back.
    pub(crate) fn pass(&mut self, sink: &mut Sink) -> Result<(), Errno> {
        for _ in 0..ROUNDS {
            let State::Released { passed } = &mut self.state else { return Ok(()) };
            if *passed >= self.length {
                return Ok(());
            }
            self.part.resize(PART, 0);
            let length = match self.spool.read_at(*passed, &mut self.part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(errno(&error)),
                // The file has become shorter.
                Ok(0) => return Err(Errno::EIO),
                Ok(length) => length,
            };
            match sink.write(self.part.get(..length).unwrap_or_default()) {
                Err(Errno::EAGAIN) => return Ok(()),
                written => *passed += u64::try_from(written?).unwrap_or(0),
            }
        }
        Ok(())
    }

    /// Nobody reads stdout any more.
    pub(crate) fn reader_gone(&mut self) {
        self.reader_gone = true;
    }

    /// Whether released bytes can reach nobody.
    pub(crate) fn is_lost(&self) -> bool {
        self.reader_gone && self.left() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_failed_attempt_the_end_is_left() {
        let mut hold = Hold::default();
        assert_eq!(hold.reject(), None);
        hold.push(b"a");
        hold.push(b"b\n");
        assert_eq!(hold.reject(), Some(HeldBack { length: 3, end: b"ab\n".to_vec() }));
        let bytes: Vec<u8> = (0..2_500_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for (size, fails) in [(1000, false), (1000, true), (100_000, true)] {
            hold.begin();
            for (n, part) in bytes.chunks(size).enumerate() {
                if fails && n == 3 {
                    hold.keep_only_the_end(NotKept { directory: "x".into(), errno: Errno::ENOSPC });
                }
                hold.push(part);
            }
            let HeldBack { length, end } = hold.reject().unwrap();
            assert_eq!(length, 2_500_000);
            assert!(end == bytes[2_500_000 - SHOWN..], "{size} {fails}");
            assert_eq!(hold.reject(), None);
        }
        // If nobody reads stdout, nobody wants the output.
        hold.push(b"a");
        hold.reader_gone();
        assert_eq!(hold.reject(), None);
    }

    #[test]
    fn only_whole_output_is_released() {
        let mut hold = Hold::default();
        hold.push(b"abc");
        assert_eq!(hold.left(), 0);
        assert_eq!(hold.release(), Ok(()));
        assert_eq!((hold.left(), hold.is_lost()), (3, false));
        hold.reader_gone();
        assert!(hold.is_lost());
        let why = NotKept { directory: "x".into(), errno: Errno::ENOSPC };
        hold.begin();
        hold.push(b"abc");
        hold.keep_only_the_end(why.clone());
        assert_eq!((hold.release(), hold.left()), (Err(why), 0));
    }
}
