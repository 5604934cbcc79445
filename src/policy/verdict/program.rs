//! Which program a command line runs, looking through the wrappers that start it: `sudo -n timeout 30 curl`
//! runs curl.
//!
//! One row a wrapper: the options with which it still runs the command that follows. Any other option - a
//! mistyped or abbreviated one, one of another version, one with which it runs a shell or nothing - ends the
//! look: a program is known or not, never guessed. To know more, add to a row.

/// The program that a command line really runs, and the wrappers around it, as indexes into the words.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// The outermost first.
    pub(crate) wrappers: Vec<usize>,
    /// None where a wrapper's words are not understood, or it runs no command.
    pub(crate) program: Option<usize>,
}

/// Wrappers in wrappers, at most: no command line needs more.
const DEPTH: usize = 32;

/// One row: how a wrapper's words are read up to its command, as getopt(3) does with a leading `+`.
struct Wrapper {
    /// Its base name.
    name: &'static str,
    /// Short options without a value: `-nE`.
    flags: &'static [u8],
    /// Short options with one: `-u root`, `-uroot`.
    valued: &'static [u8],
    /// Long options without a value.
    long_flags: &'static [&'static str],
    /// Long options with one: `--user root`, `--user=root`.
    long_valued: &'static [&'static str],
    /// Long options with perhaps one: `--preserve-env`, `--preserve-env=PATH`.
    long_optional: &'static [&'static str],
    /// What else it reads.
    quirk: Quirk,
}

/// What a wrapper reads besides options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
    None,
    /// An operand before the command, after which no option follows: the duration of timeout.
    Operand,
    /// A number before the command, which newer versions leave out for some policies: the priority of chrt.
    Priority,
    /// `NAME=value` between the options, but not after `--`; not where the name is empty or a path (sudo).
    Between,
    /// `-`, then any words with `=` in them, after the options (env).
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

/// Every wrapper that is looked through.
const TABLE: &[Wrapper] = &[
    // sudo(8). Not: -e edits, -l lists, -v and -K run nothing, -i and -s run a shell, -h is help or a host.
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

/// Finds the program that these words run: the first, or behind it what a wrapper runs. Linear.
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

/// What is behind the last slash of a command's word.
pub(crate) fn base_name(word: &[u8]) -> &[u8] {
    word.rsplit(|b| *b == b'/').next().unwrap_or(word)
}

impl Wrapper {
    /// Where its command would stand, read from `at`, behind its own name.
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

    /// How many words a bundle of short options takes, if all of them are known.
    fn short(&self, bundle: &[u8]) -> Option<usize> {
        let end = bundle.iter().position(|b| !self.flags.contains(b));
        let Some(end) = end else { return Some(1) };
        let valued = self.valued.contains(&bundle[end]);
        valued.then_some(if end + 1 == bundle.len() { 2 } else { 1 })
    }

    /// How many words a long option takes, if it is known and written out.
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

/// What nice takes for an adjustment: a dash, perhaps a sign, digits.
fn is_number(word: &[u8]) -> bool {
    let Some(signed) = word.strip_prefix(b"-") else { return false };
    let digits = signed.strip_prefix(b"-").or_else(|| signed.strip_prefix(b"+")).unwrap_or(signed);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// What sudo takes for a variable.
fn is_assignment(word: &[u8]) -> bool {
    word.contains(&b'=') && !word.starts_with(b"=") && !word.starts_with(b"/")
}

#[cfg(test)]
mod tests;
