use std::io::{Read as _, Write as _};

use tempfile::TempDir;

use super::*;
use crate::error::one_line;

/// The place of an answer. The directory is removed at the end of the test.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("answer");
    (directory, path)
}

/// The file as a run sees it. The kernel tells open file descriptions apart, not processes.
fn file(path: &Path) -> AnswerFile {
    AnswerFile::new(path, Vec::new(), Surroundings::none())
}

fn names(directory: &TempDir) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn content(found: Result<Found, AnswerError>) -> String {
    let Ok(Found::Answer(mut answer)) = found else { panic!("{found:?}") };
    let mut text = String::new();
    answer.file.read_to_string(&mut text).unwrap();
    assert_eq!(u64::try_from(text.len()), Ok(answer.length));
    text
}

#[test]
fn the_first_run_makes_the_answer_and_the_others_find_it() {
    let (directory, path) = place();
    let (mut first, mut second) = (file(&path), file(&path));
    assert!(matches!(first.look(), Ok(Found::Free)));
    let by = Some(std::process::id());
    assert!(matches!(second.look(), Ok(Found::Busy { by: seen }) if seen == by));
    first.keep(|file| file.write_all(b"done")).unwrap();
    assert_eq!(content(second.look()), "done");
    assert_eq!(content(file(&path).look()), "done");
    assert_eq!(names(&directory), ["answer"]);
}

#[test]
fn a_run_that_fails_or_dies_leaves_the_work_to_the_next() {
    let (directory, path) = place();
    let (mut first, mut second) = (file(&path), file(&path));
    assert!(matches!(first.look(), Ok(Found::Free)));
    first.release();
    assert_eq!(names(&directory), [""; 0]);
    assert!(matches!(second.look(), Ok(Found::Free)));
    // A run that dies removes nothing. The next one does.
    fs::write(directory.path().join("answer.retry-tmp"), "half").unwrap();
    drop(second);
    assert_eq!(names(&directory), ["answer.lock", "answer.retry-tmp"]);
    assert!(matches!(first.look(), Ok(Found::Free)));
    assert_eq!(names(&directory), ["answer.lock"]);
    let failed = first.keep(|_| Err(io::Error::from_raw_os_error(libc::EDQUOT)));
    assert_eq!(failed, Err(AnswerError::NotKept { path: path.clone(), errno: Errno::EDQUOT }));
    assert_eq!(names(&directory), [""; 0]);
    assert!(matches!(file(&path).look(), Ok(Found::Free)));
}

#[test]
fn what_a_dead_run_left_beside_an_answer_goes() {
    let (directory, path) = place();
    let mut first = file(&path);
    assert!(matches!(first.look(), Ok(Found::Free)));
    fs::write(&path, "").unwrap();
    // The lock of a run that lives stays.
    assert_eq!(content(file(&path).look()), "");
    assert_eq!(names(&directory), ["answer", "answer.lock"]);
    drop(first);
    assert_eq!(content(file(&path).look()), "");
    assert_eq!(names(&directory), ["answer"]);
}

#[test]
fn a_run_never_replaces_an_answer() {
    let (_directory, path) = place();
    let mut first = file(&path);
    assert!(matches!(first.look(), Ok(Found::Free)));
    fs::write(&path, "by hand").unwrap();
    let kept = first.keep(|file| file.write_all(b"late"));
    assert_eq!(kept, Err(AnswerError::NotKept { path: path.clone(), errno: Errno::EEXIST }));
    assert_eq!(content(first.look()), "by hand");
}

#[test]
fn an_ancestor_that_makes_the_answer_is_not_waited_for() {
    let (_directory, path) = place();
    let mut outer = file(&path);
    assert!(matches!(outer.look(), Ok(Found::Free)));
    // This process has the file open and plays the ancestor.
    let below = Surroundings { ancestors: || vec![std::process::id()], ..Surroundings::none() };
    let inner = AnswerFile::new(&path, Vec::new(), below).look();
    assert!(matches!(inner, Err(AnswerError::Within { pid, .. }) if pid == std::process::id()), "{inner:?}");
}

#[test]
fn an_answer_that_the_shell_has_made_for_stdout_is_none() {
    let (_directory, path) = place();
    fs::write(&path, "").unwrap();
    let identity = identity(&fs::metadata(&path).unwrap());
    let redirection = Redirection { stream: "stdout", identity };
    let error = AnswerFile::new(&path, vec![redirection], Surroundings::none()).look().unwrap_err();
    assert_eq!(error, AnswerError::Redirected { path, stream: "stdout" });
}

#[test]
fn every_error_names_its_file_and_its_cause() {
    let path = || PathBuf::from("/a");
    for (error, line) in [
        (
            AnswerError::System { doing: "write to the directory", path: path(), errno: Errno::EROFS },
            "cannot write to the directory /a: Read-only file system",
        ),
        (AnswerError::NotALock { path: path() }, "/a is not a lock file of retry"),
        (
            AnswerError::Redirected { path: path(), stream: "stdout" },
            "stdout goes to the answer file /a itself",
        ),
        (
            AnswerError::Within { path: path(), pid: 7 },
            "process 7 is making the answer file /a and waits for this run to end",
        ),
        (
            AnswerError::NotKept { path: path(), errno: Errno::ENOSPC },
            "the command succeeded, but retry could not keep its output in /a: No space left on device",
        ),
    ] {
        assert_eq!(one_line(&error), line);
    }
}
