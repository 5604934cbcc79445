//! The run that a seed draws.

use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::Random;

/// A command, and its known behaviour.
#[derive(Debug)]
pub(crate) struct Job {
    /// The script for `sh -c`, which follows [`PRELUDE`].
    pub(crate) script: &'static str,
    /// The output of the command on stdout.
    pub(crate) writes: Writes,
    pub(crate) ways: &'static [Way],
    /// A program in the place of `sh -c` on the command line, and the program's status.
    pub(crate) instead: Option<(&'static str, i32)>,
}

impl Job {
    pub(crate) fn is(&self, way: Way) -> bool {
        self.ways.contains(&way)
    }
}

/// A property of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The command does not end by itself, or only after a long time.
    Hangs,
    /// The command leaves a process behind on purpose, so retry does not have to end this process.
    Leaves,
    /// The command ends at the end of its input.
    Reads,
    /// The command handles or ignores TERM, or does not get TERM in time.
    Defies,
    /// The command writes a million zeros to stderr.
    Wails,
    /// The command logs each signal that it gets.
    Listens,
    /// The command takes the foreground of the terminal, if there is a terminal.
    Leads,
    /// The command sets the terminal's modes.
    Modes,
}

/// The output on stdout of an attempt that is not cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    Nothing,
    /// The numbers from 1 to this number, one per line.
    Numbers(u32),
    Zeros(usize),
    Text(&'static str),
    /// A copy of the input.
    Input,
    /// Output that the judge does not compare.
    Something,
}

/// Shell functions that write a command's log. `begin` comes with the number of the attempt, the
/// pid and the time since boot. `end` comes with the number, the status and the time.
pub(crate) const PRELUDE: &str = "log() { echo \"$*\" >>\"$TORTURE_LOG\"; }; \
    now() { read -r now idle </proc/uptime; }; \
    bye() { now; log end $RETRY_ATTEMPT $1 $now; exit $1; }; \
    now; log begin $RETRY_ATTEMPT $$ $now; ";

/// The command of `--on-retry`. Its line has the number of the coming attempt, and the status of the
/// last one.
const HOOK: &str = "echo \"hook $RETRY_ATTEMPT $RETRY_LAST_STATUS\" >>\"$TORTURE_LOG\"";

const fn job(script: &'static str, ways: &'static [Way]) -> Job {
    Job { script, writes: Writes::Nothing, ways, instead: None }
}

const fn writes(script: &'static str, writes: Writes) -> Job {
    Job { writes, ..job(script, &[]) }
}

static JOBS: [Job; 27] = [
    job("bye 0", &[]),
    job("bye 7", &[]),
    job("[ $RETRY_ATTEMPT = 2 ] && bye 0; bye 1", &[]),
    job("[ $RETRY_ATTEMPT = 3 ] && bye 0; bye 7", &[]),
    job("kill -STOP $$; bye 4", &[Way::Hangs, Way::Defies]),
    job("head -c 1000000 /dev/zero >&2; bye 5", &[Way::Wails]),
    job("exec >&- 2>&-; sleep 0.05; bye 6", &[]),
    job("set -m; sh -c 'exit 3'; bye 11", &[Way::Leads]),
    writes("head -c 3000000 /dev/zero; bye 5", Writes::Zeros(3_000_000)),
    writes("seq 20000; [ $RETRY_ATTEMPT = 2 ] && bye 0; bye 1", Writes::Numbers(20000)),
    writes(
        "printf 'HTTP/1.1 503\\nRetry-After: 1\\n\\n'; bye 22",
        Writes::Text("HTTP/1.1 503\nRetry-After: 1\n\n"),
    ),
    Job { ways: &[Way::Reads], ..writes("cat; bye 8", Writes::Input) },
    Job { ways: &[Way::Reads], ..writes("cat; [ $RETRY_ATTEMPT = 2 ] && bye 0; bye 8", Writes::Input) },
    Job {
        ways: &[Way::Reads],
        ..writes(
            "head -c 10; read x; seq 3 >&2; now; log end $RETRY_ATTEMPT 137 $now; kill -KILL $$",
            Writes::Something,
        )
    },
    job("sleep 0.3 & bye 3", &[Way::Leaves]),
    job("(setsid sh -c 'sleep 0.3' &); bye 3", &[Way::Leaves]),
    job("stty -echo 2>/dev/null; sleep 0.05; bye 3", &[Way::Modes]),
    job("sleep 60", &[Way::Hangs]),
    job("trap '' TERM INT HUP; sleep 60; sleep 60", &[Way::Hangs, Way::Defies]),
    job("trap 'bye 9' TERM INT; while :; do sleep 0.02; done", &[Way::Hangs, Way::Defies]),
    job(
        "for s in TERM INT HUP QUIT USR1 USR2; do trap \"log got $RETRY_ATTEMPT $s\" $s; done; \
         now; log ready $RETRY_ATTEMPT $now; while :; do sleep 0.02; done",
        &[Way::Hangs, Way::Defies, Way::Listens],
    ),
    job("sleep 60 & sleep 60 & wait", &[Way::Hangs]),
    job("setsid sleep 60 & sleep 60", &[Way::Hangs]),
    job("(trap '' TERM; setsid sh -c 'sleep 60; sleep 60') & sleep 60", &[Way::Hangs]),
    // The parent of the child ends, so the child becomes an orphan.
    job("sh -c '(setsid sleep 60 &); exit 0'; sleep 60", &[Way::Hangs]),
    job("set -m; sleep 60", &[Way::Hangs, Way::Defies, Way::Leads]),
    Job { instead: Some(("/nonexistent/command", 127)), ..job("", &[]) },
];

/// An event that happens to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// A signal. After a signal that stops retry, CONT follows.
    Send(Signal),
    /// A key on the terminal, as its control character.
    Key(u8),
}

/// The source of stdin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Terminal,
    Pipe(Vec<u8>),
}

/// A run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) options: Vec<String>,
    pub(crate) job: &'static Job,
    /// Largest number of attempts, or None if the number is unlimited.
    pub(crate) attempts: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    /// Longest time that the run may take.
    pub(crate) longest: Duration,
    pub(crate) acts: Vec<(Duration, Act)>,
    pub(crate) input: Input,
    pub(crate) terminal: bool,
    /// The reader of the output closes the pipe after this number of bytes.
    pub(crate) reader_leaves: Option<usize>,
    /// A signal that retry ignores from the start.
    pub(crate) ignored: Option<Signal>,
    /// The breaker is held open before the run.
    pub(crate) tripped: bool,
    /// Other runs use the breaker and the budget at the same time.
    pub(crate) company: bool,
}

/// Placeholder in the options for the directory of the run.
pub(crate) const DIRECTORY: &str = "{directory}";

/// The signals that a run may send to retry.
pub(crate) const SIGNALS: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
    Signal::SIGSTOP,
];

/// ^C, ^\ and ^Z.
const KEYS: [u8; 3] = [3, 28, 26];

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let job = random.pick(&JOBS);
        let terminal = random.chance(match job.writes {
            _ if job.is(Way::Leads) => 75,
            _ if job.is(Way::Defies) => 60,
            Writes::Nothing => 30,
            _ => 45,
        });
        let input = if terminal && random.chance(50) {
            Input::Terminal
        } else {
            let length = *random.pick(&[0, 0, 5, 100, 900, 200_000]);
            let letter =
                |random: &mut Random| b"abcdefghijklmnopqrstuvwxyz 0123\n\n"[random.below(33) as usize];
            Input::Pipe((0..length).map(|_| letter(random)).collect())
        };
        let mut options: Vec<String> = vec!["--seed".to_owned(), seed.to_string()];
        let mut add = |words: &[&str]| options.extend(words.iter().map(|word| (*word).to_owned()));
        // A command that does not end by itself needs a limit.
        let ends = !(job.is(Way::Hangs) || job.is(Way::Reads) && input == Input::Terminal);
        let limits = random.below(10);
        let timeout = (limits < 7).then(|| Duration::from_millis(100 + random.below(400)));
        let bounded = random.chance(35) || (timeout.is_none() && (!ends || random.chance(50)));
        let deadline = bounded.then(|| Duration::from_millis(250 + random.below(1500)));
        let unlimited = bounded && random.chance(20);
        let attempts = (!unlimited).then(|| 1 + random.below(4));
        add(&["-n", &attempts.map_or("unlimited".to_owned(), |attempts| attempts.to_string())]);
        if let Some(timeout) = timeout {
            add(&["--timeout", &format!("{}ms", timeout.as_millis())]);
        }
        if let Some(deadline) = deadline {
            add(&["--deadline", &format!("{}ms", deadline.as_millis())]);
        }
        let kill_after = Duration::from_millis(*random.pick(&[0, 50, 300, 300]));
        add(&["--kill-after", &format!("{}ms", kill_after.as_millis())]);
        delays(random, &mut add, bounded);
        // An attempt without a timeout ends within 700 ms, unless its command hangs. An attempt
        // that hangs ends at the deadline.
        let within = |ends: bool| match timeout {
            Some(timeout) => timeout + kill_after,
            None if ends => Duration::from_millis(700),
            None => Duration::MAX,
        };
        let mut each = within(ends).saturating_add(Duration::from_millis(300));
        let mut once = Duration::ZERO;
        extras(random, &mut options, |first| match first {
            "--check" => each = each.saturating_add(within(true)),
            "--on-retry" => each = each.saturating_add(Duration::from_millis(100)),
            "--splay" => once += Duration::from_millis(200),
            // The command may ask for a wait of one second. retry then waits up to two seconds,
            // with jitter.
            "-p" => each = each.saturating_add(Duration::from_secs(2)),
            _ => {}
        });
        let checked = options.iter().any(|word| word == "--check");
        if random.chance(8) && !checked && (timeout.is_some() || bounded) {
            let check = *random.pick(&["exit 0", "exit 2", "sleep 60", "[ -s \"$TORTURE_LOG\" ]"]);
            options.extend(["--check", check].map(str::to_owned));
            each = each.saturating_add(within(check != "sleep 60"));
        }
        let enough = attempts.is_none_or(|attempts| attempts > 1);
        if enough && !options.iter().any(|word| word == "--until") && random.chance(12) {
            options.extend(["--successes", "2"].map(str::to_owned));
        }
        let breaker = random.chance(20);
        let budget = random.chance(10);
        if budget {
            options.extend(["--budget", "c=50%"].map(str::to_owned));
        }
        if breaker {
            options.extend(["--breaker", "b", "--breaker-failures", "2"].map(str::to_owned));
            if random.chance(50) {
                options.extend(["--breaker-cooldown", "100ms"].map(str::to_owned));
            }
            if bounded && random.chance(50) {
                options.push("--breaker-wait".to_owned());
            }
        }
        let mut longest = attempts.map_or(Duration::MAX, |attempts| each.saturating_mul(attempts as u32));
        longest = longest.saturating_add(once);
        if let Some(deadline) = deadline {
            longest = longest.min(deadline + kill_after);
        }
        let (tripped, company) = (breaker && random.chance(20), (breaker || budget) && random.chance(40));
        let acts = acts(random, terminal);
        Self {
            seed,
            options,
            job,
            attempts,
            timeout,
            deadline,
            longest,
            acts,
            reader_leaves: (!terminal && random.chance(8)).then(|| random.below(30_000) as usize),
            ignored: random.chance(8).then(|| *random.pick(&SIGNALS[..4])),
            tripped,
            company,
            input,
            terminal,
        }
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|word| word == option)
    }

    /// The value of an option.
    pub(crate) fn value(&self, option: &str) -> Option<&str> {
        let at = self.options.iter().position(|word| word == option)?;
        self.options.get(at + 1).map(String::as_str)
    }

    /// The words of the command.
    pub(crate) fn command(&self) -> Vec<String> {
        match self.job.instead {
            Some((program, _)) => vec![program.to_owned()],
            None => vec!["sh".to_owned(), "-c".to_owned(), format!("{PRELUDE}{}", self.job.script)],
        }
    }
}

/// Adds the options for the delays.
fn delays(random: &mut Random, add: &mut impl FnMut(&[&str]), bounded: bool) {
    // A deadline also shortens a long delay.
    if bounded && random.chance(25) {
        return add(&["-d", "1m", "-j", "none"]);
    }
    let delay = *random.pick(&["0", "0.01", "0.2", "0.01,0.05"]);
    add(&["-d", delay, "--max-delay", "0.3"]);
    let list = delay.contains(',');
    if random.chance(30) {
        // `--jitter decorrelated` is an error with a list of delays. The other jitters that are
        // left out have no growth to spread over.
        let jitters =
            if list { &["full", "none"][..] } else { &["full", "equal", "decorrelated", "additive", "none"] };
        add(&["-j", *random.pick(jitters)]);
    } else if !list && random.chance(30) {
        add(&["--backoff", *random.pick(&["exponential", "linear", "fibonacci", "constant"])]);
    } else if !list && random.chance(20) {
        add(&["--factor", "1.5"]);
    }
    if random.chance(10) {
        add(&["--min-delay", "20ms"]);
    }
}

/// Adds options of all kinds, and calls `drawn` with the first word of each option.
fn extras(random: &mut Random, options: &mut Vec<String>, mut drawn: impl FnMut(&str)) {
    // Options of one set make each other an error, or make the effect of the others unclear.
    const APART: [&[&str]; 7] = [
        &["--hold", "--hold=both"],
        &["-q", "-v", "-qq"],
        &["--stdin", "--stdin-limit"],
        &["--signal"],
        &["--expand", "--idempotency-key"],
        &["--until", "--success-on", "-r"],
        &["-p"],
    ];
    let key = format!("file:{DIRECTORY}/key");
    let headers = format!("{DIRECTORY}/headers");
    let report = format!("{DIRECTORY}/report");
    for (percent, words) in [
        (30, &["--hold"][..]),
        (20, &["--hold=both"]),
        (40, &["--report", &report]),
        (25, &["--on-retry", HOOK]),
        (20, &["--ci", "auto"]),
        (30, &["-r", "stdout~never", "-r", "failure"]),
        (20, &["-x", "stderr~^3$"]),
        (20, &["--stdin", "null"]),
        (10, &["--stdin", "inherit"]),
        (10, &["--stdin-limit", "1000"]),
        (20, &["-v"]),
        (20, &["-q"]),
        (10, &["-qq"]),
        (10, &["--signal", "KILL"]),
        (10, &["--signal", "INT"]),
        (10, &["--check", "exit 1"]),
        (10, &["--not-idempotent"]),
        (10, &["--healthy-after", "1h"]),
        (10, &["--expand", "--idempotency-key", "k"]),
        (15, &["--idempotency-key", &key]),
        (10, &["--until", "failure"]),
        (10, &["--success-on", "7"]),
        (10, &["-p", "http"]),
        (5, &["-p", "curl,sysexits"]),
        (5, &["-p", "none"]),
        (10, &["--max-retry-after", "500ms"]),
        (10, &["--headers", &headers]),
        (10, &["--splay", "200ms"]),
        (10, &["--label", "a b"]),
    ] {
        let first = words[0];
        let has = |word: &str| options.iter().any(|option| option == word);
        let apart = APART.iter().any(|set| set.contains(&first) && set.iter().any(|word| has(word)));
        if random.chance(percent) && !apart && !has(first) {
            options.extend(words.iter().map(|word| (*word).to_owned()));
            drawn(first);
        }
    }
}

/// The events that happen to retry, in the order of their times.
fn acts(random: &mut Random, terminal: bool) -> Vec<(Duration, Act)> {
    if random.chance(8) {
        return vec![(Duration::from_micros(random.below(300_000)), Act::Send(Signal::SIGKILL))];
    }
    let mut acts = Vec::new();
    if random.chance(50) {
        for _ in 0..=random.below(3) {
            let at = Duration::from_micros(random.below(700_000));
            let act = if terminal && random.chance(60) {
                Act::Key(*random.pick(&KEYS))
            } else {
                Act::Send(*random.pick(&SIGNALS))
            };
            acts.push((at, act));
        }
        acts.sort();
    }
    acts
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry")?;
        for word in &self.options {
            if word.contains([' ', '$', '~']) { write!(f, " '{word}'")? } else { write!(f, " {word}")? }
        }
        match self.job.instead {
            Some((program, _)) => write!(f, " -- {program}")?,
            None => write!(f, " -- sh -c {:?}", self.job.script)?,
        }
        match &self.input {
            Input::Terminal => write!(f, "; stdin a terminal")?,
            Input::Pipe(bytes) => write!(f, "; {} bytes on stdin", bytes.len())?,
        }
        if self.terminal {
            write!(f, ", output a terminal")?;
        }
        if let Some(bytes) = self.reader_leaves {
            write!(f, ", its reader leaves after {bytes} bytes")?;
        }
        if let Some(signal) = self.ignored {
            write!(f, ", {signal} is ignored")?;
        }
        if self.tripped {
            write!(f, ", the breaker is held open")?;
        }
        if self.company {
            write!(f, ", in company")?;
        }
        for (at, act) in &self.acts {
            match act {
                Act::Send(signal) => write!(f, ", {signal} at {at:?}")?,
                Act::Key(key) => write!(f, ", ^{} at {at:?}", char::from(key + 64))?,
            }
        }
        Ok(())
    }
}
