//! `http:` conditions that can never match, because the command does not show an HTTP status.

use crate::policy::verdict::profile::{CURL_VALUED, WatchStdout};

/// A program that shows the HTTP status of a failure only with certain options.
struct Silent {
    programs: &'static [&'static str],
    /// The options that silence the program. Empty if it is silent by default.
    silenced: &'static [&'static str],
    /// The options with which the program shows the status.
    shows: &'static [&'static str],
    /// The letters of the program's options that take a value.
    valued: &'static str,
    hint: &'static str,
}

const SILENT: [Silent; 3] = [
    // curl(1): without -f, curl takes a response of any status for a success and does not print the
    // status. The file of -K may hold any option.
    Silent {
        programs: &["curl"],
        silenced: &[],
        shows: &[
            "-f",
            "--fail",
            "--fail-with-body",
            "-i",
            "--include",
            "--show-headers",
            "-I",
            "--head",
            "-D",
            "--dump-header",
            "-w",
            "--write-out",
            "-v",
            "--verbose",
            "--trace",
            "--trace-ascii",
            "-K",
            "--config",
        ],
        valued: CURL_VALUED,
        hint: "curl shows no HTTP status without -f",
    },
    // wget(1): -q turns off the line with the status. -e and --config may set any option.
    Silent {
        programs: &["wget"],
        silenced: &["-q", "--quiet"],
        shows: &["-S", "--server-response", "-d", "--debug", "-e", "--execute", "--config"],
        valued: "aoetOTwQPUilBDAR",
        hint: "wget -q shows no HTTP status without -S",
    },
    // https://httpie.io/docs/cli/scripting
    Silent {
        programs: &["http", "https"],
        silenced: &[],
        shows: &[
            "--check-status",
            "-h",
            "--headers",
            "-v",
            "--verbose",
            "-p",
            "--print",
            "--all",
            "-m",
            "--meta",
            "-vv",
        ],
        valued: "soPpaA",
        hint: "httpie shows no HTTP status without --check-status, except at a terminal",
    },
];

/// Why `http:` conditions cannot match for this program and these arguments, if that is certain.
pub(crate) fn why(program: &str, arguments: &[&[u8]]) -> Option<&'static str> {
    let row = SILENT.iter().find(|row| row.programs.contains(&program))?;
    let has = |options| WatchStdout::With { options, valued: row.valued, to_file: &[] }.applies_to(arguments);
    ((row.silenced.is_empty() || has(row.silenced)) && !has(row.shows)).then_some(row.hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_stays_silent_is_named() {
        for (line, silent) in [
            ("curl -sS URL", true),
            ("curl -sSo f URL", true),
            ("curl URL", true),
            ("curl -sSf URL", false),
            ("curl --fail URL", false),
            ("curl --fail-with-body URL", false),
            ("curl -i URL", false),
            ("curl -w %{http_code} URL", false),
            ("curl -sSv URL", false),
            ("curl -K file", false),
            // The next word is a value, not an option.
            ("curl -o -f URL", true),
            ("wget -q URL", true),
            ("wget -qO- URL", true),
            ("wget URL", false),
            ("wget -O -q URL", false),
            ("wget -qS URL", false),
            ("http GET URL", true),
            ("http --check-status GET URL", false),
            ("sh -c x", false),
        ] {
            let mut words = line.split(' ');
            let program = words.next().unwrap();
            let arguments: Vec<&[u8]> = words.map(str::as_bytes).collect();
            assert_eq!(why(program, &arguments).is_some(), silent, "{line}");
        }
    }
}
