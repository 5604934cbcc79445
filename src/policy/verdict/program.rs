//! Finds the program that a command line runs behind wrappers: `sudo -n timeout 30 curl` runs curl.
//!
//! The table has a row for each wrapper, with the options after which the wrapper still runs the
//! command that follows. Any other option ends the search: it may be mistyped, abbreviated or of
//! another version, or the wrapper may run a shell or nothing. retry does not guess. To support
//! more options, add them to a row.

/// The program that a command line runs, and the wrappers around it, as indexes into the words.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// The outermost wrapper comes first.
    pub(crate) wrappers: Vec<usize>,
    /// None if the words of a wrapper are unknown, or the wrapper runs no command.
    pub(crate) program: Option<usize>,
}

/// The largest number of nested wrappers.
const DEPTH: usize = 32;

/// The syntax of the words of a wrapper before its command. The rules are those of getopt(3) with a
/// leading `+`.
struct Wrapper {
    /// The base name.
    name: &'static str,
    /// Short options without a value: `-nE`.
    flags: &'static [u8],
    /// Short options with a value: `-u root`, `-uroot`.
    valued: &'static [u8],
    /// Long options without a value.
    long_flags: &'static [&'static str],
    /// Long options with a value: `--user root`, `--user=root`.
    long_valued: &'static [&'static str],
    /// Long options with an optional value: `--preserve-env`, `--preserve-env=PATH`.
    long_optional: &'static [&'static str],
    quirk: Quirk,
}

/// The words of a wrapper that are not options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
    None,
    /// One operand before the command, and no option after it: the duration of timeout.
    Operand,
    /// A number before the command, which is optional for some policies: the priority of chrt.
    Priority,
    /// `NAME=value` between the options, but not after `--`. The name is neither empty nor a path
    /// (sudo).
    Between,
    /// `-`, and any words with `=`, after the options (env).
    Behind,
    /// An adjustment in the old form: `-10`, `--5`, `-+5` (nice).
    Number,
}

const PLAIN: Wrapper = Wrapper {
    name: "",
    flags: b"",
    valued: b"",
    long_flags: &[],
    long_valued: &[],
    long_optional: &[],
    quirk: Quirk::None,
};

/// All supported wrappers.
const TABLE: &[Wrapper] = &[
    // sudo(8). Not: -e edits, -l lists, -v and -K run nothing, -i and -s run a shell, -h is help or
    // a host.
    Wrapper {
        name: "sudo",
        flags: b"ABbEHkNnPS",
        valued: b"aCcDgpRrTtu",
        long_flags: &[
            "askpass",
            "background",
            "bell",
            "no-update",
            "non-interactive",
            "preserve-groups",
            "reset-timestamp",
            "set-home",
            "stdin",
        ],
        long_valued: &[
            "auth-type",
            "chdir",
            "chroot",
            "close-from",
            "command-timeout",
            "group",
            "host",
            "login-class",
            "prompt",
            "role",
            "type",
            "user",
        ],
        long_optional: &["preserve-env"],
        quirk: Quirk::Between,
    },
    // doas(1). Not: -C and -L run nothing, -s runs a shell.
    Wrapper { name: "doas", flags: b"n", valued: b"au", ..PLAIN },
    // env(1). Not: -S holds the command itself, -0 goes with none.
    Wrapper {
        name: "env",
        flags: b"iv",
        valued: b"aCu",
        long_flags: &["debug", "ignore-environment", "list-signal-handling"],
        long_valued: &["argv0", "chdir", "unset"],
        long_optional: &["block-signal", "default-signal", "ignore-signal"],
        quirk: Quirk::Behind,
    },
    // nice(1)
    Wrapper { name: "nice", valued: b"n", long_valued: &["adjustment"], quirk: Quirk::Number, ..PLAIN },
    // ionice(1). Not: -p, -P and -u name processes that run already.
    Wrapper {
        name: "ionice",
        flags: b"t",
        valued: b"cn",
        long_flags: &["ignore"],
        long_valued: &["class", "classdata"],
        ..PLAIN
    },
    // nohup(1)
    Wrapper { name: "nohup", ..PLAIN },
    // time(1), the program
    Wrapper {
        name: "time",
        flags: b"apqv",
        valued: b"fo",
        long_flags: &["append", "portability", "quiet", "verbose"],
        long_valued: &["format", "output"],
        ..PLAIN
    },
    // timeout(1)
    Wrapper {
        name: "timeout",
        flags: b"fpv",
        valued: b"ks",
        long_flags: &["foreground", "preserve-status", "verbose"],
        long_valued: &["kill-after", "signal"],
        quirk: Quirk::Operand,
        ..PLAIN
    },
    // retry(1). Not: --breaker-status, --breaker-reset and --breaker-trip run nothing.
    Wrapper {
        name: "retry",
        flags: b"qv",
        valued: b"djnprux",
        long_flags: &["breaker-wait", "expand", "not-idempotent", "quiet", "verbose"],
        long_optional: &["hold"],
        long_valued: &[
            "backoff",
            "breaker",
            "breaker-cooldown",
            "breaker-failures",
            "budget",
            "check",
            "deadline",
            "delay",
            "factor",
            "fatal-on",
            "headers",
            "healthy-after",
            "idempotency-key",
            "jitter",
            "kill-after",
            "label",
            "max",
            "max-delay",
            "max-retry-after",
            "min-delay",
            "on-retry",
            "profile",
            "retry-on",
            "seed",
            "signal",
            "splay",
            "state",
            "stdin",
            "stdin-limit",
            "success-on",
            "successes",
            "timeout",
            "until",
        ],
        ..PLAIN
    },
    // stdbuf(1)
    Wrapper { name: "stdbuf", valued: b"eio", long_valued: &["error", "input", "output"], ..PLAIN },
    // setsid(1)
    Wrapper { name: "setsid", flags: b"cfw", long_flags: &["ctty", "fork", "wait"], ..PLAIN },
    // chrt(1). Not: -m lists, -p is about a process that runs already.
    Wrapper {
        name: "chrt",
        flags: b"abdfiorRv",
        valued: b"DPT",
        long_flags: &[
            "all-tasks",
            "batch",
            "deadline",
            "fifo",
            "idle",
            "other",
            "reset-on-fork",
            "rr",
            "verbose",
        ],
        long_valued: &["sched-deadline", "sched-period", "sched-runtime"],
        quirk: Quirk::Priority,
        ..PLAIN
    },
    // xvfb-run(1)
    Wrapper {
        name: "xvfb-run",
        flags: b"al",
        valued: b"efnpsw",
        long_flags: &["auto-servernum", "listen-tcp"],
        long_valued: &["auth-file", "error-file", "server-args", "server-num", "wait", "xauth-protocol"],
        ..PLAIN
    },
];

/// Finds the program that these words run. The time is linear.
pub(crate) fn look_through<W: AsRef<[u8]>>(words: &[W]) -> Programs {
    let mut programs = Programs::default();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let name = base_name(word.as_ref());
        let Some(wrapper) = TABLE.iter().find(|row| row.name.as_bytes() == name) else {
            programs.program = Some(at);
            break;
        };
        programs.wrappers.push(at);
        match wrapper.command(words, at + 1) {
            Some(command) if programs.wrappers.len() < DEPTH => at = command,
            _ => break,
        }
    }
    programs
}

/// Whether a program of this name runs another one.
pub(crate) fn is_wrapper(name: &str) -> bool {
    TABLE.iter().any(|row| row.name == name)
}

/// The part after the last slash.
pub(crate) fn base_name(word: &[u8]) -> &[u8] {
    word.rsplit(|b| *b == b'/').next().unwrap_or(word)
}

impl Wrapper {
    /// The index of the command of the wrapper. `at` is the index after the name of the wrapper.
    fn command<W: AsRef<[u8]>>(&self, words: &[W], mut at: usize) -> Option<usize> {
        loop {
            let word = words.get(at)?.as_ref();
            if word == b"--" {
                at += 1;
                break;
            }
            if self.quirk == Quirk::Number && is_number(word) {
                at += 1;
            } else if let Some(long) = word.strip_prefix(b"--") {
                at += self.long(long)?;
            } else if let [b'-', short @ ..] = word
                && !short.is_empty()
            {
                at += self.short(short)?;
            } else if self.quirk == Quirk::Between && is_assignment(word) {
                at += 1;
            } else {
                break;
            }
        }
        match self.quirk {
            Quirk::Operand => Some(at + 1),
            Quirk::Priority => {
                let word = words.get(at)?.as_ref();
                let is_priority = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
                Some(at + usize::from(is_priority))
            }
            Quirk::Behind => {
                let dash = words.get(at)?.as_ref() == b"-";
                let rest = words.get(at + usize::from(dash)..)?;
                let pairs = rest.iter().take_while(|word| word.as_ref().contains(&b'='));
                Some(at + usize::from(dash) + pairs.count())
            }
            Quirk::None | Quirk::Between | Quirk::Number => Some(at),
        }
    }

    /// The number of words that a bundle of short options takes, if all of them are known.
    fn short(&self, bundle: &[u8]) -> Option<usize> {
        let end = bundle.iter().position(|b| !self.flags.contains(b));
        let Some(end) = end else { return Some(1) };
        let valued = self.valued.contains(&bundle[end]);
        valued.then_some(if end + 1 == bundle.len() { 2 } else { 1 })
    }

    /// The number of words that a long option takes, if it is known and not abbreviated.
    fn long(&self, option: &[u8]) -> Option<usize> {
        let equals = option.iter().position(|b| *b == b'=');
        let name = &option[..equals.unwrap_or(option.len())];
        let among = |names: &[&str]| names.iter().any(|known| known.as_bytes() == name);
        if among(self.long_valued) {
            return Some(if equals.is_some() { 1 } else { 2 });
        }
        (among(self.long_optional) || equals.is_none() && among(self.long_flags)).then_some(1)
    }
}

/// Whether nice reads a word as an adjustment: a dash, perhaps a sign, and digits.
fn is_number(word: &[u8]) -> bool {
    let Some(signed) = word.strip_prefix(b"-") else { return false };
    let digits = signed.strip_prefix(b"-").or_else(|| signed.strip_prefix(b"+")).unwrap_or(signed);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Whether sudo reads a word as a variable.
fn is_assignment(word: &[u8]) -> bool {
    word.contains(&b'=') && !word.starts_with(b"=") && !word.starts_with(b"/")
}

#[cfg(test)]
mod tests;
