//! Files and directories. Their names may be any bytes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::ValueError;
use crate::report::ReportFile;
use crate::streams::append::inherited;

/// Reads the name of the file that the command writes headers to.
pub(crate) fn file(name: OsString) -> Result<PathBuf, ValueError> {
    match name.is_empty() {
        true => Err(ValueError::new(
            "the file name is empty",
            "give the name of the file that the command writes",
        )),
        false => Ok(name.into()),
    }
}

/// Reads the name of the file for an answer.
pub(crate) fn answer_file(name: OsString) -> Result<PathBuf, ValueError> {
    let hint = "give the name of the file that is to keep the output";
    let last = name.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match last {
        b"" if name.is_empty() => Err(ValueError::new("the file name is empty", hint)),
        b"" | b"." | b".." => Err(ValueError::new("the name is that of a directory", hint)),
        _ => Ok(name.into()),
    }
}

/// Reads the name of the file for a report: `-` is stderr, and metrics go to a name that ends in
/// `.prom`.
pub(crate) fn report_file(name: OsString) -> Result<ReportFile, ValueError> {
    if name.is_empty() {
        return Err(ValueError::new("the file name is empty", "give the name of a file, or - for stderr"));
    }
    let path = PathBuf::from(name);
    Ok(match path.as_os_str().as_bytes() {
        b"-" => ReportFile::Stderr,
        _ if inherited(&path) == Some(2) => ReportFile::Stderr,
        name if name.ends_with(b".prom") => ReportFile::Metrics(path),
        _ => ReportFile::Lines(path),
    })
}

/// Reads the name of a report.
pub(crate) fn summary_file(name: OsString) -> Result<PathBuf, ValueError> {
    match name.is_empty() {
        true => Err(ValueError::new("the file name is empty", "give the name of a report, or - for stdin")),
        false => Ok(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_name_may_be_any_bytes() {
        let bytes = OsString::from_vec(vec![0xff]);
        assert_eq!(file(bytes.clone()), Ok(bytes.into()));
        assert!(file(OsString::new()).is_err());
    }

    #[test]
    fn an_answer_is_in_a_file() {
        for name in ["a", "./a", "/a/b", "..a", "a/.b", "..."] {
            assert_eq!(answer_file(name.into()), Ok(name.into()), "{name}");
        }
        for name in ["", "/", "a/", ".", "..", "a/.", "a/..", "./"] {
            assert!(answer_file(name.into()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_report_goes_to_stderr_by_any_of_its_names() {
        for name in ["-", "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"] {
            assert_eq!(report_file(name.into()), Ok(ReportFile::Stderr), "{name}");
        }
        for name in ["./-", "/dev/fd/3", "a.jsonl", " "] {
            assert_eq!(report_file(name.into()), Ok(ReportFile::Lines(name.into())), "{name}");
        }
        assert_eq!(report_file("/x/a.prom".into()), Ok(ReportFile::Metrics("/x/a.prom".into())));
        assert!(report_file("".into()).is_err());
    }
}
