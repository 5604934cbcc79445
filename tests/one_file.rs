//! stdout and stderr are one file that was opened twice. Each stream keeps its own position in the
//! file.

use std::fs;

use crate::support::retry::{BINARY, Retry};
use crate::support::scratch::quoted;
use crate::support::{Scratch, each};

/// Options that watch stderr, stdout or both. No rule matches.
const WATCHED: [&str; 3] = ["-p curl", "-r stderr~never -r failure", "-r output~never -r failure"];

/// The content of the file `$L` after a shell has run this script.
fn log_of(script: &str) -> String {
    let scratch = Scratch::new();
    let log = scratch.join("log");
    let script = format!("L={}; {script}", quoted(&log));
    Retry::new("sh").args(["-c", &script]).run().code(0);
    fs::read_to_string(log).unwrap()
}

#[test]
fn appended_lines_are_not_overwritten_by_the_other_stream() {
    each(WATCHED, |rule| {
        let run =
            format!(r#"{BINARY} {rule} -j none -n 2 -d 0 -- sh -c 'echo "err $RETRY_ATTEMPT" >&2; exit 7'"#);
        let log = log_of(&format!("{run} >$L 2>>$L; [ $? = 7 ]"));
        let lines: Vec<&str> = log.lines().collect();
        let whole = lines.len() == 4
            && (lines[0], lines[2]) == ("err 1", "err 2")
            && [lines[1], lines[3]].iter().all(|line| line.starts_with("retry: sh: "));
        assert!(whole, "{log}");
    });
}

#[test]
fn earlier_lines_of_the_file_stay() {
    each(WATCHED, |rule| {
        let run = format!("{BINARY} -qq {rule} -n 1 -- sh -c");
        // The offset of one stream stays at the beginning of the file, and the other stream
        // appends.
        assert_eq!(
            log_of(&format!("exec >$L; echo earlier >>$L; {run} 'echo err >&2' 2>>$L")),
            "earlier\nerr\n"
        );
        assert_eq!(
            log_of(&format!("exec 7>$L; echo earlier >>$L; {run} 'echo out' >>$L 2>&7")),
            "earlier\nout\n"
        );
        // The streams have two offsets, without O_APPEND.
        assert_eq!(
            log_of(&format!("exec 7<>$L 8>$L; echo earlier >&8; {run} 'echo err >&2' >&7 2>&8")),
            "earlier\nerr\n"
        );
    });
}

#[test]
fn streams_that_share_an_offset_keep_their_order() {
    let script = "for i in 1 2 3 4 5; do echo $i; echo $i >&2; done";
    let expected = "1\n1\n2\n2\n3\n3\n4\n4\n5\n5\n";
    each(WATCHED, |rule| {
        for open in [">$L 2>&1", ">>$L 2>&1", ">>$L 2>>$L"] {
            assert_eq!(
                log_of(&format!("{BINARY} {rule} -n 1 -- sh -c {} {open}", quoted(script))),
                expected,
                "{open}"
            );
        }
    });
}

#[test]
fn without_kcmp_the_offsets_tell() {
    let scratch = Scratch::new();
    let log = quoted(scratch.join("log"));
    let script = "for i in 1 2 3 4 5; do echo $i; echo $i >&2; done";
    let run = |line: String| {
        let run = Retry::new("sh").denying(libc::SYS_kcmp, libc::EPERM).args(["-c", &line]).run();
        run.code(0);
        fs::read_to_string(scratch.join("log")).unwrap()
    };
    let retry = format!("{BINARY} -qq -p curl -n 1 -- sh -c");
    let one = run(format!("{retry} {} >{log} 2>&1", quoted(script)));
    assert_eq!(one, "1\n1\n2\n2\n3\n3\n4\n4\n5\n5\n");
    let two = run(format!("exec >{log}; echo earlier >>{log}; {retry} 'echo err >&2' 2>>{log}"));
    assert_eq!(two, "earlier\nerr\n");
}
