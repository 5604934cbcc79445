//! The answer of `--once`, in a file that lasts for ever: the stdout of the run that succeeded.
//!
//! If the file exists, it is the answer, whatever its size. It appears whole and on the disk, or
//! not at all, and retry never changes it.
//!
//! The run that makes the answer has a lock beside it, `FILE.lock`, from before its first attempt
//! until it ends. The kernel frees the lock when the run dies, and then another run takes over. A
//! run that has the lock looks for the answer once more: the last holder may have made it. When an
//! answer exists nobody needs the lock any more, and its file is removed by the rule of
//! [`Lock::remove`].

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::file::fitness::{self, Unfit, Unusable, directory_of};
use super::file::lock::{Acquired, Lock, LockError};
use super::file::whole;
use super::surroundings::Surroundings;
use crate::error::errno;

/// Endings of the files beside an answer.
const LOCK: &str = ".lock";
const NEW: &str = ".retry-tmp";

/// How often a run looks again at once because another run has removed the lock file meanwhile.
const ROUNDS: u32 = 9;

/// Why an answer cannot be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("cannot {doing} {}", path.display())]
    System {
        doing: &'static str,
        path: PathBuf,
        #[source]
        errno: Errno,
    },
    #[error("the answer file {} {why}", path.display())]
    Unfit { path: PathBuf, why: Unfit },
    /// The shell has made the file for a redirection, so it is no answer.
    #[error("{stream} goes to the answer file {} itself", path.display())]
    Redirected { path: PathBuf, stream: &'static str },
    /// The file in place of the lock belongs to another program, or is no regular file.
    #[error("{} is not a lock file of retry", path.display())]
    NotALock { path: PathBuf },
    /// An ancestor of this process has the lock, and waits for this process to end.
    #[error("process {pid} is making the answer file {} and waits for this run to end", path.display())]
    Within { path: PathBuf, pid: u32 },
    #[error("the command succeeded, but retry could not keep its output in {}", path.display())]
    NotKept {
        path: PathBuf,
        #[source]
        errno: Errno,
    },
}

impl AnswerError {
    fn unusable(path: &Path, why: Unusable) -> Self {
        let path = path.to_owned();
        match why {
            Unusable::Unfit(why) => Self::Unfit { path, why },
            Unusable::System(errno) => Self::System { doing: "read the answer file", path, errno },
        }
    }

    /// Advice for the user.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::System { .. } => "--once needs a directory in which retry can make files",
            Self::Unfit { why: Unfit::NotAFile, .. } => "give --once the path of a file that retry may make",
            Self::Unfit { why: Unfit::Link, .. } => "give the path of the file itself, or remove the link",
            Self::Unfit { why: Unfit::Foreign { .. } | Unfit::SecondName, .. } => {
                "find out who created the file, and keep answers in a directory that only you can write to"
            }
            Self::Redirected { .. } => {
                "leave the redirection out, because retry writes the file itself; remove the file first, because \
                 the shell has emptied it"
            }
            Self::NotALock { .. } => "give --once another file, or move that one away",
            Self::Within { .. } => {
                "give the inner retry another file, or no --once; if a policy names the file: --policy none"
            }
            Self::NotKept { .. } => "the work is done, and the next run repeats it",
        }
    }
}

/// The answer of an earlier run.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) file: File,
    /// In bytes.
    pub(crate) length: u64,
    /// The time since it was made.
    pub(crate) age: Duration,
}

/// What a look for an answer finds.
#[derive(Debug)]
pub(crate) enum Found {
    Answer(Answer),
    /// There is no answer, and this run has the lock from now on.
    Free,
    /// There is no answer, and another run has the lock. Its process id may be unknown.
    Busy {
        by: Option<u32>,
    },
}

/// A file that one of retry's own streams goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Redirection {
    pub(crate) stream: &'static str,
    /// Device and inode.
    pub(crate) identity: (u64, u64),
}

/// The file of an answer, and the lock beside it.
#[derive(Debug)]
pub(crate) struct AnswerFile {
    path: PathBuf,
    redirections: Vec<Redirection>,
    surroundings: Surroundings,
    /// The lock, if this run has it.
    lock: Option<Lock>,
    /// Whether the lock's holder has been looked for among the ancestors of this process.
    knows_ancestors: bool,
}

impl AnswerFile {
    /// A relative path counts from the present directory.
    pub(crate) fn new(path: &Path, redirections: Vec<Redirection>, surroundings: Surroundings) -> Self {
        let path = absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, redirections, surroundings, lock: None, knows_ancestors: false }
    }

    /// Looks for the answer. If there is none, takes the lock unless another run has it.
    ///
    /// # Errors
    /// If the file cannot be used, or if no file can be made in its directory.
    pub(crate) fn look(&mut self) -> Result<Found, AnswerError> {
        for _ in 0..ROUNDS {
            if let Some(answer) = self.answer()? {
                self.sweep();
                return Ok(Found::Answer(answer));
            }
            self.check_directory()?;
            let Some(lock) = self.open_lock()? else { continue };
            match lock.acquire(&self.beside(LOCK), Duration::ZERO) {
                Ok(Acquired::Yes) => return self.acquired(lock),
                // The last holder has removed the file.
                Ok(Acquired::Replaced) => {}
                Err(LockError::Held(by)) => return self.held(&lock, by),
                // The caller answers the signal before it looks again.
                Err(LockError::Interrupted) => break,
                Err(why) => return Err(self.unlockable(why)),
            }
        }
        Ok(Found::Busy { by: None })
    }

    /// This run has the lock. The last holder may have made the answer since this run looked.
    fn acquired(&mut self, lock: Lock) -> Result<Found, AnswerError> {
        // The run that wrote such a file is dead.
        let _ = fs::remove_file(self.beside(NEW));
        self.lock = Some(lock);
        let answer = self.answer();
        if !matches!(answer, Ok(None)) {
            self.release();
        }
        Ok(answer?.map_or(Found::Free, Found::Answer))
    }

    /// Another run has the lock.
    fn held(&mut self, lock: &Lock, by: Option<u32>) -> Result<Found, AnswerError> {
        if !std::mem::replace(&mut self.knows_ancestors, true)
            && let Some(pid) = lock.ancestor_with_it()
        {
            return Err(AnswerError::Within { path: self.path.clone(), pid });
        }
        Ok(Found::Busy { by })
    }

    /// The answer, if there is one.
    fn answer(&self) -> Result<Option<Answer>, AnswerError> {
        let unusable = |why| AnswerError::unusable(&self.path, why);
        let opened = fitness::open(&self.path, |options| options.open(&self.path)).map_err(unusable)?;
        let Some(file) = opened else { return Ok(None) };
        let file = File::from((self.surroundings.lift)(file.into()).map_err(|errno| unusable(errno.into()))?);
        let stat = file.metadata().map_err(|error| unusable(error.into()))?;
        let identity = identity(&stat);
        if let Some(Redirection { stream, .. }) =
            self.redirections.iter().find(|redirection| redirection.identity == identity)
        {
            return Err(AnswerError::Redirected { path: self.path.clone(), stream });
        }
        Ok(Some(Answer { file, length: stat.len(), age: fitness::age(&stat) }))
    }

    /// Checks that files can be made in the directory.
    fn check_directory(&self) -> Result<(), AnswerError> {
        let directory = directory_of(&self.path);
        // With the last part it is an error if a file is in the directory's place.
        access(&directory.join("."), AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| {
            AnswerError::System { doing: "write to the directory", path: directory.to_owned(), errno }
        })
    }

    /// Opens the lock file, or makes it. None if another run has removed it meanwhile.
    fn open_lock(&self) -> Result<Option<Lock>, AnswerError> {
        let path = self.beside(LOCK);
        let opened = match Lock::open(&path, self.surroundings) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) => Lock::create(&path, self.surroundings),
            Err(why) => Err(why),
        };
        match opened {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::System(_, Errno::ENOENT)) if !self.is_directory_removed() => Ok(None),
            Err(why) => Err(self.unlockable(why)),
        }
    }

    /// Whether the directory has no name any more. No file can be made in it.
    fn is_directory_removed(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;

        fs::metadata(directory_of(&self.path)).map_or(true, |directory| directory.nlink() == 0)
    }

    fn unlockable(&self, why: LockError) -> AnswerError {
        let path = self.beside(LOCK);
        match why {
            LockError::NotAFile | LockError::NotALock => AnswerError::NotALock { path },
            LockError::System(doing, errno) => AnswerError::System { doing, path, errno },
            LockError::Interrupted | LockError::Held(_) => {
                AnswerError::System { doing: "lock", path, errno: Errno::EAGAIN }
            }
        }
    }

    /// Removes what a run has left beside the answer if it was killed just after it had made it.
    fn sweep(&self) {
        let path = self.beside(LOCK);
        if let Ok(Some(lock)) = Lock::open(&path, self.surroundings)
            && lock.acquire(&path, Duration::ZERO) == Ok(Acquired::Yes)
        {
            let _ = fs::remove_file(self.beside(NEW));
            lock.remove(&path);
        }
    }

    /// Makes the answer, and gives up the lock. `fill` writes the content; it may be called again,
    /// for another file.
    ///
    /// # Errors
    /// If the file cannot be made. Then there is no answer.
    pub(crate) fn keep(&mut self, fill: impl Fn(&mut File) -> io::Result<()>) -> Result<(), AnswerError> {
        let new = || Ok(self.beside(NEW));
        let made = whole::make(&self.path, new, fill);
        self.release();
        made.map_err(|error| AnswerError::NotKept { path: self.path.clone(), errno: errno(&error) })
    }

    /// Gives up the lock, if this run has it.
    pub(crate) fn release(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.remove(&self.beside(LOCK));
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        beside(&self.path, ending)
    }
}

/// All files that belong to the answer of this path: the answer itself first.
pub(crate) fn files(path: &Path) -> [PathBuf; 3] {
    [path.to_owned(), beside(path, LOCK), beside(path, NEW)]
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn identity(stat: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;

    (stat.dev(), stat.ino())
}

#[cfg(test)]
mod tests;
