//! The man page: the definition's options between sections of its own.

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::super::args::Args;
use super::{Entry, definition, entries};
use crate::exit::TABLE;
use crate::policy::verdict::profile::{self, Class, Profile};

/// When the text below was last changed in more than its wording.
const DATE: &str = "2026-11-25";

/// The page of retry(1), in roff with the macros of man(7).
#[doc(hidden)]
pub fn man_page() -> String {
    let man = Man::new(Args::command())
        .title("RETRY")
        .date(DATE)
        .source(concat!("retry ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = man.render_title(&mut page);
    let _ = man.render_name_section(&mut page);
    let _ = man.render_synopsis_section(&mut page);
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page.push_str(&prose(BEFORE_OPTIONS));
    page.push_str(".SH OPTIONS\n");
    let mut group = String::new();
    for entry in entries(&definition()) {
        if entry.group != group {
            page.push_str(&format!(".SS {}\n", entry.group));
            group.clone_from(&entry.group);
        }
        page.push_str(&option(&entry));
    }
    page.push_str(&prose(AFTER_OPTIONS));
    for row in profile::TABLE {
        page.push_str(&item(&format!("`{}`", row.name), &row_text(row)));
    }
    page.push_str(&prose(AFTER_PROFILES));
    page.push_str(".SH EXIT STATUS\n");
    for (status, meaning) in TABLE {
        page.push_str(&item(&format!("`{status}`"), meaning));
    }
    page.push_str(&prose(AFTER_EXIT_STATUS));
    page
}

/// What a row of the profile table knows.
fn row_text(row: &Profile) -> String {
    let programs = match row.programs {
        [] => "for no program by itself".to_owned(),
        programs => programs.join(", "),
    };
    let mut text = format!("{programs}; from {}.", row.source);
    for (class, what) in [(Class::Retryable, "Retried"), (Class::Fatal, "Not retried")] {
        let statuses: Vec<String> = row
            .statuses
            .iter()
            .filter(|(_, listed, _)| *listed == class)
            .map(|(range, ..)| match (range.start(), range.end()) {
                (from, to) if from == to => from.to_string(),
                (from, to) => format!("{from}-{to}"),
            })
            .collect();
        if !statuses.is_empty() {
            text.push_str(&format!("\n{what}: {}.", statuses.join(", ")));
        }
    }
    let (lines, http) = (row.patterns.len(), row.reads_http());
    text.push_str(match (lines, http) {
        (0, false) => "",
        (0, true) => "\nHTTP statuses.",
        (_, false) => "\nLines of its output.",
        (_, true) => "\nHTTP statuses, and lines of its output.",
    });
    text
}

fn option(entry: &Entry) -> String {
    let names: Vec<String> = entry.names.iter().map(|name| format!("`{name}`")).collect();
    let value = match &entry.value {
        Some(value) => format!(" {value}"),
        None if entry.optional => "[=NAME]".to_owned(),
        None => String::new(),
    };
    let default = entry.default.as_ref().map(|default| format!("\nDefault: {default}.")).unwrap_or_default();
    let mut text = item(&format!("{}{value}", names.join(", ")), &format!("{}.{default}", entry.meaning));
    if entry.values.iter().any(|(_, meaning)| !meaning.is_empty()) {
        text.push_str(".RS\n");
        for (name, meaning) in &entry.values {
            text.push_str(&item(&format!("`{name}`"), meaning));
        }
        text.push_str(".RE\n");
    }
    text
}

fn item(head: &str, body: &str) -> String {
    format!(".TP\n{}\n{}\n", inline(head), body.lines().map(inline).collect::<Vec<_>>().join("\n"))
}

/// Text to roff: `# ` begins a section, `: ` the head of an item, `> ` a line to type, an empty line a
/// paragraph, backquotes are bold.
fn prose(text: &str) -> String {
    let mut roff = String::new();
    let mut typed = false;
    for line in text.lines() {
        if typed && !line.starts_with("> ") {
            roff.push_str(".EE\n.RE\n");
        }
        let starts = line.starts_with("> ");
        if starts && !typed {
            // A paragraph ends here; its own `.PP` would be one too many.
            let end = roff.trim_end_matches(".PP\n").len();
            roff.truncate(end);
            roff.push_str(".PP\n.RS\n.EX\n");
        }
        typed = starts;
        let line = match (line.strip_prefix("# "), line.strip_prefix(": "), line.strip_prefix("> ")) {
            (Some(heading), ..) => format!(".SH {}", inline(heading)),
            (_, Some(head), _) => format!(".TP\n{}", inline(head)),
            (_, _, Some(command)) => inline(command),
            _ if line.is_empty() => ".PP".to_owned(),
            _ => inline(line),
        };
        roff.push_str(&line);
        roff.push('\n');
    }
    if typed {
        roff.push_str(".EE\n.RE\n");
    }
    roff
}

/// One line, escaped, with what stands between backquotes in bold.
fn inline(line: &str) -> String {
    let mut roff = String::new();
    if line.starts_with(['.', '\'']) {
        roff.push_str("\\&");
    }
    let mut bold = false;
    for c in line.chars() {
        match c {
            '`' => {
                bold = !bold;
                roff.push_str(if bold { "\\fB" } else { "\\fR" });
            }
            '\\' => roff.push_str("\\e"),
            '-' => roff.push_str("\\-"),
            '~' => roff.push_str("\\(ti"),
            '^' => roff.push_str("\\(ha"),
            '\'' => roff.push_str("\\(aq"),
            c => roff.push(c),
        }
    }
    roff
}

const BEFORE_OPTIONS: &str = "\
# DESCRIPTION
`retry` runs COMMAND. When it fails, `retry` waits and runs it again, until it succeeds, until its failure
cannot be mended by another attempt, or until a limit is reached.
By default there are five attempts, with delays that double from one second, cut at a minute, and full jitter.
Options end at the first operand or at `--`; all that follows is the command's own.
No shell is involved unless COMMAND is one.

The command gets the working directory, descriptors, signal dispositions and signal mask of `retry`.
Its output passes at once and unchanged; what `retry` itself says goes to standard error.
A first attempt that succeeds is not mentioned.
";

const AFTER_OPTIONS: &str = "\
# DURATIONS AND SIGNALS
A duration is a number of seconds (`5`, `0.25`), or has units (`500ms`, `1m 30s`, `1.5h`); the longest unit is the week.
`--timeout` and `--deadline` take 0 for no limit.
If an option that takes one value is given more than once, the last value counts, so that you can override what an
alias gives; `--retry-on`, `--fatal-on` and `--success-on` add up.
A signal is a name or a number, in any case: `TERM`, `SIGTERM`, `15`.
# DELAYS
With n counted from 0 for the first retry, the delay grows as delay*factor^n (exponential), delay*(n+1)
(linear), or delay times 1, 1, 2, 3, 5 and so on (fibonacci), and is cut at `--max-delay`.
Jitter then spreads it, so that many clients that failed together do not come back together; the result stays
under the cap.
A list is the schedule itself, as in `--delay 1,5,30s`, and its last entry repeats; it is not spread unless
`--jitter` is given.
There is no wait after the last attempt.

A delay that would end after `--deadline` is shortened so that one more attempt fits: twice the time of the longest
attempt so far, and at least a tenth of the time left, stay free.
If that leaves less than half of the first delay, or less than `--min-delay`, `retry` gives up at once.
A wait that a server asked for is never shortened.
An attempt that still runs at the deadline is ended as at its timeout.
# CONDITIONS
A CONDITION is a comma-separated list; it holds when one of its terms does.
: `N`, `N-M`
this exit status, or one of these; above 128 also death by the signal 128 less
: `TERM`, `SIGTERM`
death by this signal
: `signal`
death by any signal
: `timeout`
the attempt reached its limit
: `success`
exit status 0
: `failure`
any other exit status, any signal, a timeout
: `any`
success and failure
: `transient`
what would be retried without any condition, so that `--retry-on transient,60` adds one status
: `http:503`, `http:5xx`, `http:500-504`
the status of the last HTTP response that the command showed, on either stream or in the file of `--headers`
: `stdout~REGEX`, `stderr~REGEX`, `output~REGEX`
a line of standard output, of standard error, or of either matches; alone in its option, commas are its own

A command that could not be started is neither `failure` nor `any`; its status, 127 or 126, names it.
There is one exception: in `--retry-on` and `--fatal-on`, `failure` and `any` include a start that may work later (see
rule 6).
A REGEX has the syntax of Rust's crate regex, over bytes.
It is matched line by line, without the end of the line (LF, CR LF or CR) and without colours and other escape
sequences.
A line longer than 64 KiB is matched in pieces that overlap by 16 KiB.

Rules are asked in this order, and the first that applies decides.
: 1. `--fatal-on`
not retried
: 2. `--success-on`, `--until`
success
: 3. `--retry-on`
retried
: 4. a failure that `--retry-on` does not name
not retried
: 5. the profile
what is known of the program: HTTP status, then lines of its output, then exit status
: 6. all else
exit status 0 is success, or retried with `--until`;
126, 127, a command that cannot start, death by INT, QUIT or PIPE, and a failure after standard output lost its
reader are not retried;
any other failure is.
A start that failed for a cause that may pass is retried too, and its status is 126: too many processes or open files
(EAGAIN, EMFILE, ENFILE), no memory (ENOMEM), a file that is being written (ETXTBSY), a file system that is away or failing
(EIO, ESTALE, ETIMEDOUT), or an interrupted call (EINTR).
Nothing was sent then, so `--not-idempotent` retries it as well
# PROFILES
`--profile auto` takes the profile by the base name of COMMAND, and looks through `sudo`, `doas`, `env`, `nice`,
`ionice`, `nohup`, `time`, `timeout`, `stdbuf`, `setsid`, `chrt` and
`xvfb-run` where it knows their options; a program that has no profile gets none.
A profile taken so judges failures; one that is named judges exit status 0 too.
A status that a profile does not list, or that may mean either, is left to the rule after it, unless a line of the
program's standard error settles it.

Of HTTP statuses 408, 425, 429 and 5xx but 501, 505 and 511 are retried, and 403 where the server says when to come
back; any other 4xx, 501, 505 and 511 are not.
They are read from status lines (`HTTP/1.1 503`, `HTTP 503`), from the program's own messages, and from the file of
`--headers`; that file is read when an attempt has ended, and what was in it before does not count.
";

const AFTER_PROFILES: &str = "# RETRY-AFTER
A server that answers `Retry-After` is asked again when it wants: never earlier, not before the delay of `retry` itself,
and later by up to a second, or a tenth of that time where that is more, so that its clients do not all come back
together.
The wait is not limited by `--max-delay`; where it is longer than `--max-retry-after`, or would end past the deadline,
`retry` gives up at once.
With `--jitter none` nothing is added.

Seconds and all three forms of an HTTP date are understood, the date by the response's own `Date` where it has one;
also `retry-after-ms`, `x-ms-retry-after-ms` and `x-amz-retry-after`; and with 403, 429 and 503 `RateLimit`,
`RateLimit-Reset`, `X-RateLimit-Reset-After` and `X-RateLimit-Reset`, where nothing remains or, but for 403, where it is
not said how much.
A negative or unreadable value, zero, and a date that has passed are ignored.
With several responses, as after a redirect, the last counts.

`curl -f` shows the status, and the header only with one of these:

> retry -- curl -fsSi URL
> retry -- curl -fsS -w '%{stderr}HTTP %{http_code}\\nRetry-After: %header{retry-after}\\n' URL
> retry -- curl -fsS -D /dev/stderr URL
> retry --headers h -- curl -fsS -D h URL
# WATCHING
Where a rule needs a stream, `retry` reads it and passes it on, unchanged, in order and at once.
The command then writes to a pipe, or where the stream is a terminal to a pseudo-terminal of the same size; no other
stream is touched, and with `--profile none` and no condition on output or HTTP none is.
Where standard output and standard error are the same file or pipe, both are watched as one and keep their order;
what passes counts for both.
On a terminal the order between a watched and an unwatched stream is not kept.

A stream that only a profile wants is left alone if the system has no room for it.
`auto` also leaves a terminal alone if the program may start a pager, an editor or something else that reads keys (`git log`,
`git commit`, `apt-get install`, `npm init`, `docker run -it`, `kubectl edit`, `terraform apply`, `psql`, `gh`, an `ssh`
session): then the exit status decides, unless `--profile` names the profile.
Watch no pager: one that asks its watched terminal for keys, or sets its modes, meets the pseudo-terminal, at which
nobody types. `stty tostop` does not stop a watched command.

A background process that the command leaves behind does not hold up the verdict.
What it writes is passed on while `retry` runs; after that it may die of SIGPIPE.
`retry` matches patterns beside the bytes that pass. Up to four megabytes may wait to be matched; then the command waits.
A pattern that begins with, or has, some plain text keeps up with `cat`; one without takes about twice as long; and one
that has to remember much, such as `[a-q][^u-z]{99}x`, matches some 30 MB in a second.
Matching never holds up a limit or a signal: when one comes, what is not matched yet counts as no match, and a line says so.
A command that has ended is not run again because its reader is late. At the end of the run a reader of watched output
has time as long as it takes something each second, up to ten seconds past a deadline.
Output that a command wrote is never lost silently: if watched standard output cannot be written (a full disk) or is not
read to its end, `retry` fails with 125. A standard error that cannot be written or is not read stops nothing, but a run
that would have succeeded ends with 125. A failed command keeps its status, and a line tells of the loss.
A reader that has gone is no loss: the command gets PIPE, as without `retry`.
";

const AFTER_EXIT_STATUS: &str = r#"
When `retry` was asked to end by a signal and the command died by it, `retry` dies by the same signal.
So it does where the signal comes while it waits, or during a `--check` that answers 1.
# SHARED STATE
All runs of a user that give the same NAME share what stands in its file.
Nothing is shared, and no file opened, without `--breaker` or `--budget`.
A NAME is any text of up to 100 bytes without `/`; one that begins with `/`, `./` or `../` is the file itself.

A breaker is closed, open or half-open.
`--breaker-failures` failures in a row, of whatever run, open it; then no run starts its command, and `retry` ends with 75.
If it opens between two attempts of a run, that run ends with the status of its command.
After `--breaker-cooldown`, or after what `Retry-After` asked for where that is longer (up to a day), the breaker is
half-open: one run makes one attempt, the probe, and all others are still refused.
If the probe succeeds, the breaker closes; if it fails, it opens again, for twice as long, up to 16 times.
A probe that shows nothing, or whose `retry` dies, leaves the next run to probe; one that lives and does not end has the
time of `--timeout` and `--kill-after`, twice with `--check`, and 5 s, or 5 minutes without a timeout.
The settings are those of the run that reports; how long it is open holds for all.

Failures are those that would be retried, and timeouts.
A success sets the count to nothing.
Exit status 0 is a success, also where `--until` waits for more, and so is an attempt that ran for `--healthy-after`.
Failures that are not retried, a `--check` that says done, an attempt that a signal to `retry` ended, one that the deadline cut before its timeout or,
without one, before half of the deadline, and a command that cannot be started count as neither.

With `--breaker-wait` a run waits for the probe, as long as `--deadline` allows; it notices within seconds that somebody
has closed the breaker.
Those who wait look again within half a cooldown after the probe is due, each at a random moment.
The cooldown that counts for this is that of the run that opened the breaker.

A budget is asked before the wait for a retry, and never before a first attempt.
`10/s` allows ten retries in a second, and ten at once after a rest; the time may be any duration, as in `5/30s`.
With `20%` each first attempt adds a fifth of a retry; ten are kept at most, and one comes back every 30 seconds.
A new budget is full.
Where it is spent the run ends with the status of its command.

`--breaker-trip` holds a breaker open whatever happens, for a maintenance window; then one run probes.
What stands behind the last `=` is the time, so a name with `=` in it needs one: `--breaker-trip=a=b=1h`.
`--breaker-reset` closes it.
Both take, like `--breaker-status`, the path of the file in place of a name, so that root can close another user's.
# STANDARD INPUT
With `--stdin replay`, the default, every attempt reads the same bytes.
What the command reads of a pipe, FIFO or stream socket is kept for the next attempt: up to 1 MiB in memory, beyond that in
a file without a name in `$TMPDIR` (else /tmp).
What no attempt has read stays where it was, for whoever reads after `retry`: a command that reads nothing takes nothing
from the input of a `while read` loop around it.
The command itself has a pipe, in place of a socket a socket on which it cannot answer; it ends with the attempt, or with
`retry`, so that a command whose `retry` is killed by KILL may take that for the end of a piped input.
It sees what comes later only after it has read what was there before.
Two that read one pipe at the same time get the same bytes; there, `--stdin inherit`.
Of a file, each attempt has a description of its own that begins where `retry` found it, but the shared one where a lock
is on that; when `retry` ends, it moves the shared offset to where the last attempt stopped,
but never back past what somebody else has read meanwhile.
All else is handed to every attempt as it is: a terminal, another device, a socket of messages, one that is standard
output too, a FIFO opened for writing as well, a pipe of packets (`O_DIRECT`).

An attempt that none can follow, as with `--max 1`, has the input itself.
Past `--stdin-limit`, or where the file cannot be written, the attempt goes on, and reads all there is; only, if it fails,
it is not retried; nor where the input broke off.
Where tee(2) is not to be had (some sandboxes), up to 64 KiB more than the command wants are read of a pipe, and are lost
to others.

> pg_dump db | retry -- ssh backup 'cat >dump'
> kubectl get pods -o name | while read p; do retry -- kubectl delete "$p"; done
# HELD OUTPUT
With `--hold` the command writes its standard output to a pipe, and none of it is passed on before the attempt has
succeeded; then all of it is, once.
It is kept like standard input, in memory up to 1 MiB and beyond that in a file without a name in `$TMPDIR`.
Of a failed attempt's the last 64 KiB go to standard error, behind a line that says how much it was; not what is binary,
and nothing with `--quiet`.
Standard error passes at once, so the order between the two is not kept.

What a background process writes until the command ends belongs to it; what it writes later is dropped.
Where the reader has gone, the command, or `retry` in its place, dies of PIPE, as without `--hold`, and nothing is shown.
Where the output cannot be kept, or cannot be passed on whole (a full disk, the deadline), `retry` fails with 125, although the
command succeeded.

> retry --hold -- curl -fsS URL | jq .
# SAFE REPEATS
An attempt that failed may have had its effect: a request was carried out, and only the answer was lost.
Where that matters, give the server a key by which it knows a repeat.
All attempts of a run have the same, a fresh UUID or the one of `--idempotency-key`; a `retry` within `retry` has its own.
With `--expand` the tokens `{key}`, `{attempt}` and `{max}` (nothing without a limit) in the command's arguments are
replaced; every other byte, braces included, stays, and there is no escape.

`--idempotency-key file:PATH` keeps the key from the first attempt on until a run succeeds, and then removes the file: what
failed yesterday is repeated with yesterday's key, and `retry` says so.
A file older than 24 hours is an error, as servers forget keys: look whether the request was carried out, then remove it.
Runs at the same time get the same key.
A PATH that somebody else may have prepared is an error, and nothing is run: a symbolic link, a file of another user (unless
the directory is that user's), or, in a directory that others can write, a file with a second name.
So is a file that you cannot remove, as the next request would repeat its key.

Where the server knows no keys, `--not-idempotent` retries only what proves that nothing was sent: a refused connection, a
name that cannot be resolved, HTTP status 429, and 503 with `Retry-After`, as far as the program's profile tells them; the
first two only where no response was seen.
A timeout, a broken connection, any other status or an unknown failure is not retried then, unless `--retry-on` names it.

Where the effect can be seen, `--check` asks before every attempt, the first included, whether it is there: `sh -c` runs
its argument, with the attempt's timeout and environment, standard input empty, standard output to standard error.
Exit status 0: it is done, and `retry` ends with 0.
1: it is not, and the attempt is made.
Any other, a signal or a timeout: that cannot be told; the attempt is not made, and counts as one that failed so and may be
retried, whatever the conditions.

> retry --expand --idempotency-key file:order-42.key -- curl -fsS -H 'Idempotency-Key: {key}' -d @order.json URL
> retry --check './is-uploaded x' -- ./upload x
# MESSAGES
`retry` writes one line to standard error for each event; each begins with `retry:` and a label.
The label is the base name of the program that COMMAND runs, behind `sudo`, `env` and the other wrappers that profiles
look through.
A word that may hold a secret is not printed: the label is `command` if the word has white space, `=`, `?`, or any other
character that names and paths do not need.
`--label` sets another label.
The arguments of the command are never printed.

A message begins on a new line if `retry` has seen that the command left its last line unfinished: on a stream that
is watched or held.

A duration of an option is shown as it was written.
An attempt has the same number in messages, in `RETRY_ATTEMPT` and in `{attempt}`.
If an attempt was healthy (`--healthy-after`), its message says under which number it counts from then on.
With `--splay`, `-v` says when the first attempt comes; without `-v`, `retry` says so only at a terminal, and only if the
wait is two seconds or longer.
# ENVIRONMENT
Every attempt finds these variables.
: `RETRY_ATTEMPT`
the number of the attempt, from 1
: `RETRY_MAX_ATTEMPTS`
how many attempts there are in all; empty where there is no limit
: `RETRY_LAST_STATUS`
the exit status of the attempt before: 128+N after a signal, 124 after a timeout; empty at the first
: `RETRY_IDEMPOTENCY_KEY`
the key of this run, the same for all its attempts
: `RETRY_ORIGIN`
marks what the attempt starts, for `retry` itself; only with a limit, and only if other processes lived below `retry` before

`TMPDIR` is where what does not fit into memory is kept, in files without a name; /tmp without it.

These say where shared state is, in this order, behind `--state`.
: `RETRY_STATE`
the directory itself
: `XDG_STATE_HOME`
the directory `retry` in it; ignored where it is not absolute
: `HOME`
`.local/state/retry` in it; without it the home directory is the password database's
# FILES
: `NAME.json`
what is kept under NAME, in the directory above; mode 0600 in a directory of mode 0700.
It is replaced as a whole, by rename(2), so that it may be read without a lock; it is not there before something happened.
: `NAME.json.lock`
locked (its first byte, `F_OFD_SETLK` of fcntl(2)) and signed by who changes the other, for about a millisecond, and
never while a command runs; its other bytes are locked by those who probe.
It is never removed, and must not be while runs use it.
: `NAME.json.retry-tmp`
is there while the file is written; one that is left is removed by the next run that changes it
: `NAME.json.corrupt`
a file that was damaged; further ones are `NAME.json.corrupt-2` and so on, up to nine

The file is JSON.
`version` is 1; a file with a higher one is left alone and not used.
`clock` is when it was written: `boot_id` from /proc/sys/kernel/random/boot_id, `boot_ms` since that boot, suspended time
included, `unix_ms` since 1970.
The time since boot is that of the initial time namespace, so that runs in different time namespaces can share a record.
All other times are milliseconds since that boot; in another boot they are shifted by the wall clock, and none lies ahead
of now.
`breaker` has `generation`, which rises with every change of state, and `state`.
`closed` has `since_ms` or null, `failures` in a row, `last`, how the last ended, or null, and `not_before_ms` where a
server asked to be left alone until then.
`open` has `first_ms`, when it opened, `since_ms`, when it opened last, `length_ms`, for how long, `cooldown_ms`, the
`--breaker-cooldown` of the run that opened it, unless it was opened by hand, `cause` (`failures` or `tripped`), `probes` that failed, `failures` and `last`.
`half-open` has the same and `probe`, with the `pid` of the `retry` that probes, `since_ms` and `length_ms`.
`budget`, if there is one, has `billionths` of a retry that were left at `at_ms`, the `size` that it may reach, and that
`returns` retries come back in `returns_in_ms`.

If a file cannot be used (no permission, a full disk, a lock that one process holds for a second, or ten seconds if that
process is only slow), `retry` says so once and continues without it.
If the directory or the lock file cannot be used at all, `retry` says so before the first attempt.
`--quiet` does not hide these warnings; given twice it does.
A run that has seen its breaker open does not continue without it: no answer counts as a refusal, and with `--breaker-wait`
the run looks again until its deadline.
To remove the file of a breaker closes it, like `--breaker-reset`.
`retry` never follows a symbolic link.
A file at a path that was never a record is left alone.
A file or directory that root makes below another user's directory belongs to that user.
# EXAMPLES
Wait for a server to come up, two minutes at most:

> retry --deadline 2m -- pg_isready -h 127.0.0.1

Download, each attempt for at most 30 seconds:

> retry --timeout 30s -- curl -fsSO http://127.0.0.1:8080/data

Retry exit status 75 and nothing else:

> retry --retry-on 75 -- ./deliver

Wait until a file is gone, for an hour at most:

> retry --until failure --deadline 1h --delay 1 --backoff constant -- test -e /run/lock/job

Leave a service alone that is down, in every run of a cron job, and add a fifth to its load at most:

> retry --breaker payments --budget 20% -- /usr/local/bin/sync-payments

Poll until the answer says that it is done; a 404 ends it:

> retry --deadline 10m --until 'stdout~"state": *"ready"' -- curl -fsS http://127.0.0.1:8080/job

A pipeline or several commands take a shell:

> retry -- sh -c 'curl -fsS http://127.0.0.1:8080/list | sort -u >list'
# NOTES
Where there is a controlling terminal the command stays in the process group of `retry`, so that ^C, ^Z and
reading from the terminal work as without `retry`.
Where there is none (CI, cron, a service) it runs in a group of its own; there `setsid`(1) forks, and only
`setsid -w` has the command's status.
INT, TERM, HUP, QUIT, USR1, USR2, WINCH and CONT sent to `retry` reach the command, each time once.
A ^C at the moment at which the command starts may reach it twice if /proc is not mounted.
If the command is stopped at a terminal, `retry` stops too, also if the signal is SIGSTOP: the shell has its prompt back,
and `fg` continues both.
`retry` does not follow a SIGSTOP if its parent is no shell with job control, as in a script or without a terminal;
timeout and deadline then hold for the stopped command.
After INT, TERM, HUP or QUIT there is no further attempt.

At a timeout or deadline everything that the attempt started is ended, daemons that left its group and session
included: first by `--signal`, and after `--kill-after` by KILL.
A command that a handler of `--signal` starts is not sent that signal; KILL ends it too.
No attempt begins before that is done.
The terminal's modes stay as the command has left them, such as the echo that a question for a password has turned off;
`stty sane` mends that.
Background processes of an attempt that ended by itself are left alone, and so is everything that they start later.
If such processes exist, `retry` marks the commands of later attempts by the variable `RETRY_ORIGIN`, to recognize
daemons whose parents have ended.
A daemon that has cleared its environment may then be taken for theirs and survive a timeout.
Time that `retry` itself spends stopped does not count against the timeout: to the millisecond after ^Z, to about a
second after a SIGSTOP.
If `retry` is killed by KILL, the command is sent `--signal`, but not what it started, and not a set-uid command.

Debian's package retry installs another program of the same name with other options.
Its `-t` is `--max` here, and its `-m` is `--label`; here `-t` and `-m` are errors.
# SEE ALSO
`timeout`(1), `nohup`(1), `flock`(1), `signal`(7)
"#;
