//! Hold: what an attempt writes to stdout is kept until its verdict is known. That of the attempt which succeeds
//! is passed on, whole and once; of a failed one's only the end is wanted, for stderr.

use std::io;

use nix::errno::Errno;

use super::sink::Sink;
use super::spool::{NotKept, Spool};
use crate::error::errno;

/// How much of a failed attempt's is shown, in bytes.
const SHOWN: usize = 64 * 1024;

/// How much is passed on at a time, in bytes.
const PART: usize = 64 * 1024;

/// Parts that are passed on before signals and the clock are looked at again.
const ROUNDS: usize = 16;

/// What one attempt has written.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    spool: Spool,
    /// All that came, also what could not be kept, in bytes.
    length: u64,
    /// Why not all of it is kept; from then on its end is.
    failed: Option<NotKept>,
    end: Vec<u8>,
    /// How much has been passed on, in bytes, once it may be.
    passed: Option<u64>,
    /// Nobody reads stdout any more.
    gone: bool,
    part: Vec<u8>,
}

/// The output of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// How much it was, in bytes.
    pub(crate) length: u64,
    /// The last of it, at most 64 KiB.
    pub(crate) end: Vec<u8>,
}

impl Hold {
    /// An attempt begins.
    pub(crate) fn begin(&mut self) {
        *self = Self { gone: self.gone, ..Self::default() };
    }

    /// Keeps what it has written.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.failed.is_none() {
            let Err(why) = self.spool.push(bytes) else { return };
            self.failed = Some(why);
            self.end = self.kept_end();
            self.spool = Spool::default();
        }
        self.end.extend_from_slice(bytes);
        let over = self.end.len().saturating_sub(SHOWN);
        // Not at every byte.
        if over >= SHOWN {
            drop(self.end.drain(..over));
        }
    }

    /// The end of what is kept.
    fn kept_end(&self) -> Vec<u8> {
        let kept = self.spool.length();
        let mut end = vec![0; SHOWN];
        let mut filled = 0;
        let mut position = kept.saturating_sub(u64::try_from(SHOWN).unwrap_or(0));
        while let Some(part) = end.get_mut(filled..).filter(|part| !part.is_empty()) {
            match self.spool.read_at(position, part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // There is nothing better to do than to show what can be read.
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

    /// The attempt has failed: what it wrote, if anything, and if it is for somebody. Nothing is kept any more.
    pub(crate) fn reject(&mut self) -> Option<HeldBack> {
        let (length, mut end) = match &self.failed {
            None => (self.length, self.kept_end()),
            Some(_) => (self.length, std::mem::take(&mut self.end)),
        };
        drop(end.drain(..end.len().saturating_sub(SHOWN)));
        self.begin();
        (length > 0 && !self.gone).then_some(HeldBack { length, end })
    }

    /// The attempt has succeeded: what it wrote may be passed on.
    ///
    /// # Errors
    /// Where not all of it is there.
    pub(crate) fn release(&mut self) -> Result<(), NotKept> {
        self.failed.take().map_or(Ok(()), Err)?;
        self.passed = Some(0);
        Ok(())
    }

    /// How much is to be passed on now, in bytes.
    pub(crate) fn left(&self) -> u64 {
        self.passed.map_or(0, |passed| self.length.saturating_sub(passed))
    }

    /// Passes on what there is room for.
    ///
    /// # Errors
    /// Where stdout takes nothing any more, or it cannot be read back.
    pub(crate) fn pass(&mut self, sink: &mut Sink) -> Result<(), Errno> {
        for _ in 0..ROUNDS {
            let Some(passed) = self.passed.filter(|_| self.left() > 0) else { return Ok(()) };
            self.part.resize(PART, 0);
            let length = match self.spool.read_at(passed, &mut self.part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(errno(&error)),
                // It is not as long as it was.
                Ok(0) => return Err(Errno::EIO),
                Ok(length) => length,
            };
            match sink.write(self.part.get(..length).unwrap_or_default()) {
                Err(Errno::EAGAIN) => return Ok(()),
                written => self.passed = Some(passed + u64::try_from(written?).unwrap_or(0)),
            }
        }
        Ok(())
    }

    /// Nobody reads stdout any more.
    pub(crate) fn reader_gone(&mut self) {
        self.gone = true;
    }

    /// Whether something can reach nobody.
    pub(crate) fn is_lost(&self) -> bool {
        self.gone && self.left() > 0
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
                    hold.failed = Some(NotKept { directory: "x".into(), errno: Errno::ENOSPC });
                    hold.end = hold.kept_end();
                }
                hold.push(part);
            }
            let HeldBack { length, end } = hold.reject().unwrap();
            assert_eq!(length, 2_500_000);
            assert!(end == bytes[2_500_000 - SHOWN..], "{size} {fails}");
            assert_eq!(hold.reject(), None);
        }
        // Who has stopped reading has seen enough.
        hold.push(b"a");
        hold.reader_gone();
        assert_eq!(hold.reject(), None);
    }
}
