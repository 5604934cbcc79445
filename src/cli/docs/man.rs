//! The man page: the definition's options between sections of its own.

use clap_mangen::Man;

use super::super::args;
use super::{Entry, definition, entries};
use crate::exit::TABLE;
use crate::policy::verdict::profile::{self, Class, Profile};

/// When the text below was last changed in more than its wording.
const DATE: &str = "2026-11-25";

/// The page of retry(1), in roff with the macros of man(7).
#[doc(hidden)]
pub fn man_page() -> String {
    let man = Man::new(args::definition())
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
`retry` runs COMMAND.
If the command fails, `retry` waits and runs it again, until it succeeds, until it fails in a way that retrying cannot fix,
or until a limit is reached.
By default, `retry` makes up to five attempts.
The delays between them double from one second to at most a minute, with full jitter.
Options end at the first operand or at `--`; everything after that belongs to the command.
`retry` does not start a shell; COMMAND can be one.

The command gets the working directory, descriptors, signal dispositions and signal mask of `retry`.
The command's output passes at once and unchanged.
`retry` writes its own messages to standard error.
If the first attempt succeeds, `retry` says nothing.
";

const AFTER_OPTIONS: &str = "\
# DURATIONS AND SIGNALS
A duration is a number of seconds (`5`, `0.25`), or has units (`500ms`, `1m 30s`, `1.5h`); the longest unit is the week.
For `--timeout` and `--deadline`, 0 means no limit.
If you give an option that takes one value more than once, the last value counts, so you can override what an alias sets.
`--retry-on`, `--fatal-on` and `--success-on` add up.
A signal is a name or a number, in any case: `TERM`, `SIGTERM`, `15`.
# DELAYS
With n counted from 0 for the first retry, the delay grows as delay*factor^n (exponential), delay*(n+1)
(linear), or delay times 1, 1, 2, 3, 5 and so on (fibonacci), up to `--max-delay`.
Jitter then randomizes the delay, so that many clients that failed together do not come back together.
The delay with jitter does not exceed `--max-delay` either.
A list, as in `--delay 1,5,30s`, is the whole schedule; its last entry repeats.
`retry` randomizes a list only if you give `--jitter`.
`retry` does not wait after the last attempt.

If a delay would end after `--deadline`, `retry` shortens the delay so that one more attempt fits.
It keeps free twice the time of the longest attempt so far, and at least a tenth of the time left.
If that leaves less than half of the first delay, or less than `--min-delay`, `retry` gives up at once.
`retry` never shortens a wait that a server asked for.
If an attempt still runs at the deadline, `retry` ends it as it does at the timeout.
# CONDITIONS
A CONDITION is a comma-separated list of terms; it holds if one of its terms holds.
: `N`, `N-M`
this exit status, or one in this range; 128+N also matches a command killed by signal N
: `TERM`, `SIGTERM`
killed by this signal
: `signal`
killed by any signal
: `timeout`
the attempt reached its limit
: `success`
exit status 0
: `failure`
any other exit status, any signal, a timeout
: `any`
success and failure
: `transient`
every failure that `retry` would retry without a condition; `--retry-on transient,60` adds exit status 60
: `http:503`, `http:5xx`, `http:500-504`
the status of the last HTTP response that the command printed, on either stream or in the `--headers` file
: `stdout~REGEX`, `stderr~REGEX`, `output~REGEX`
a line of standard output, of standard error, or of either matches REGEX.
Such a term must be alone in its option, and its commas belong to REGEX

`failure` and `any` do not match a command that could not be started; its status, 127 or 126, does.
There is one exception: in `--retry-on` and `--fatal-on`, `failure` and `any` also match a start that may work later (see
rule 6).
A REGEX has the syntax of Rust's crate regex, over bytes.
`retry` matches it line by line, without the end of the line (LF, CR LF or CR) and without colours and other escape
sequences.
`retry` matches a line longer than 64 KiB in pieces that overlap by 16 KiB.

`retry` applies these rules in this order; the first that applies decides.
: 1. `--fatal-on`
not retried
: 2. `--success-on`, `--until`
success
: 3. `--retry-on`
retried
: 4. a failure that `--retry-on` does not name
not retried
: 5. the profile
what `retry` knows about the program: HTTP status, then lines of its output, then exit status
: 6. everything else
Exit status 0 is success; with `--until`, it is retried.
`retry` does not retry 126, 127, a command that cannot start, a command killed by INT, QUIT or PIPE, or a failure after the
reader of standard output has gone.
`retry` retries any other failure.
It also retries a start that failed for a reason that may pass; such a start has status 126.
These reasons are too many processes or open files (EAGAIN, EMFILE, ENFILE), no memory (ENOMEM), a file that is being
written (ETXTBSY), a file system that is away or failing (EIO, ESTALE, ETIMEDOUT), and an interrupted call (EINTR).
Nothing was sent then, so `--not-idempotent` retries such a start too
# PROFILES
`--profile auto` picks the profile by the base name of COMMAND.
It looks through `sudo`, `doas`, `env`, `nice`, `ionice`, `nohup`, `time`, `timeout`, `stdbuf`, `setsid`, `chrt` and
`xvfb-run` if it knows their options.
If the program has no profile, `auto` uses none.
A profile that `auto` picks judges failures only; a profile that you name also judges exit status 0.
If a profile does not list a status, or the status alone does not decide, and no line of the program's standard error
decides either, the next rule decides.

`retry` retries the HTTP statuses 408, 425, 429 and 5xx except 501, 505 and 511, and 403 if the server says when to come
back.
It does not retry any other 4xx, 501, 505 or 511.
`retry` reads HTTP statuses from status lines (`HTTP/1.1 503`, `HTTP 503`), from the program's own messages, and from the
`--headers` file.
It reads that file when an attempt has ended, and ignores what was in the file before the attempt.
";

const AFTER_PROFILES: &str = "# RETRY-AFTER
If a server answers with `Retry-After`, `retry` waits at least that long, and at least as long as its own delay.
It adds a random time of up to a second, or of up to a tenth of the wait if that is more, so that not all clients come back
together.
With `--jitter none`, `retry` adds nothing.
`--max-delay` does not limit this wait.
If the wait is longer than `--max-retry-after`, or would end after the deadline, `retry` gives up at once.

`retry` understands seconds and all three forms of an HTTP date.
It compares a date with the `Date` of the response, if there is one.
It also understands `retry-after-ms`, `x-ms-retry-after-ms` and `x-amz-retry-after`.
With 403, 429 and 503, it understands `RateLimit`, `RateLimit-Reset`, `X-RateLimit-Reset-After` and `X-RateLimit-Reset`, if
the server says that no requests remain or, except with 403, does not say how many remain.
`retry` ignores a negative or unreadable value, zero, and a date that has passed.
If there are several responses, as after a redirect, the last one counts.

`curl -f` shows the status, but it shows the header only with one of these:

> retry -- curl -fsSi URL
> retry -- curl -fsS -w '%{stderr}HTTP %{http_code}\\nRetry-After: %header{retry-after}\\n' URL
> retry -- curl -fsS -D /dev/stderr URL
> retry --headers h -- curl -fsS -D h URL
# WATCHING
If a rule needs a stream, `retry` reads the stream and passes it on unchanged, in order and at once.
The command then writes to a pipe or, if the stream is a terminal, to a pseudo-terminal of the same size.
`retry` does not touch any other stream; with `--profile none` and no condition on output or HTTP, it touches none.
If standard output and standard error are the same file or pipe, `retry` watches both as one stream and keeps their order;
each line then counts for both.
On a terminal, the order between a watched and an unwatched stream is not kept.

If the system refuses a pipe or a pseudo-terminal for a stream that only a profile needs, `retry` does not watch that stream.
`auto` also leaves a terminal alone if the program may start a pager, an editor or something else that reads keys (`git log`,
`git commit`, `apt-get install`, `npm init`, `docker run -it`, `kubectl edit`, `terraform apply`, `psql`, `gh`, an `ssh`
session): then the exit status decides, unless `--profile` names the profile.
Do not watch a pager: a pager that reads keys from its watched terminal, or sets the modes of that terminal, uses the
pseudo-terminal, where nobody types.
`stty tostop` does not stop a watched command.

A background process that the command leaves behind does not delay the verdict.
`retry` passes on what the process writes while `retry` runs; after that, SIGPIPE may kill the process.
`retry` matches patterns while the bytes pass.
Up to three megabytes may wait for the match; if more come, the command waits.
A pattern that contains some plain text keeps up with `cat`, a pattern without plain text takes about twice as long, and a
pattern that has to remember much, such as `[a-q][^u-z]{99}x`, matches some 30 MB per second.
Matching never delays a limit or a signal: text that is not matched by then counts as no match, and a message says so.
If a command has ended but the reader of its standard output is slow, `retry` does not run the command again.
At the end of the run, `retry` waits for a reader of watched output as long as the reader takes something every second, up to
ten seconds past a deadline.
`retry` never loses output of a command silently.
If it cannot write watched standard output (a full disk), or the reader does not read all of it, `retry` fails with 125.
If it cannot write standard error, or nobody reads standard error, the run goes on, but a run that would have succeeded exits
with 125.
A failed command keeps its status, and a message says that output was lost.
If the reader has gone, nothing is lost: the command gets PIPE, as without `retry`.
";

const AFTER_EXIT_STATUS: &str = r#"
If a signal asks `retry` to end and kills the command, `retry` dies by the same signal.
`retry` also dies by the signal if the signal arrives during a wait, or during a `--check` that exits with 1.
# SHARED STATE
All runs of a user that give the same NAME share the state in the file for NAME.
Without `--breaker` or `--budget`, `retry` shares nothing and opens no such file.
A NAME is any text of up to 100 bytes without `/`.
A NAME that begins with `/`, `./` or `../` is the path of the file itself.

A breaker is closed, open or half-open.
`--breaker-failures` failures in a row, in any of the runs, open the breaker.
While the breaker is open, no run starts its command, and `retry` exits with 75.
If the breaker opens between two attempts of a run, that run exits with the status of its command.
After `--breaker-cooldown`, or after the time that `Retry-After` asked for if that is longer (up to a day), the breaker is
half-open: one run makes one attempt, the probe, and `retry` still refuses all others.
If the probe succeeds, the breaker closes.
If the probe fails, the breaker opens again, each time for twice as long, up to 16 times the cooldown.
If the probe shows nothing about the service, or its `retry` dies, the next run probes.
A probe that does not end has a time limit, after which another run may probe: the sum of `--timeout`, `--kill-after` (both
twice with `--check`) and 5 s, or 5 minutes without a timeout.
The settings of the run that reports an outcome apply to that outcome; the time for which the breaker is open applies to all
runs.

A breaker counts failures that would be retried, and timeouts.
A success resets the count to zero.
Exit status 0 is a success, even if `--until` does not hold, and so is an attempt that ran for `--healthy-after`.
These count neither as a failure nor as a success: a failure that is not retried, a `--check` that exits with 0, a command
that cannot be started, an attempt that ended because of a signal to `retry`, and an attempt that the deadline cut before its
timeout or, without a timeout, before half of the deadline.

With `--breaker-wait`, a run waits for the probe as long as `--deadline` allows.
If somebody closes the breaker, the run notices within seconds.
Runs that wait look again within half a cooldown after the probe is due, each at a random moment.
This cooldown is the one of the run that opened the breaker.

`retry` asks the budget before the wait for a retry, and never before a first attempt.
`10/s` allows ten retries per second, and ten at once after a rest; the time may be any duration, as in `5/30s`.
With `20%`, each first attempt adds a fifth of a retry to the budget.
The budget holds at most ten retries, and gets one back every 30 seconds.
A new budget is full.
If the budget is spent, the run exits with the status of its command.

`--breaker-trip` holds a breaker open, whatever happens, for a maintenance window; then one run probes.
The text after the last `=` is the time, so a name that contains `=` needs a time: `--breaker-trip=a=b=1h`.
`--breaker-reset` closes a breaker.
Both options, like `--breaker-status`, also accept the path of the file instead of a name, so that root can close the breaker
of another user.
# STANDARD INPUT
With `--stdin replay`, the default, every attempt reads the same bytes.
If standard input is a pipe, a FIFO or a stream socket, `retry` keeps what the command reads for the next attempt: up to
1 MiB in memory, and beyond that in a file without a name in `$TMPDIR` (or /tmp).
Input that no attempt reads stays available to the next reader.
A command that reads nothing takes nothing from the input of a `while read` loop around it.
The command reads from a pipe or, in place of a socket, from a socket on which it cannot answer.
That pipe or socket ends with the attempt, or with `retry`: if KILL kills `retry`, the command may take this for the end of
its input.
The command sees later input only after it has read the earlier input.
If two processes read one pipe at the same time, both get the same bytes; use `--stdin inherit` there.
If standard input is a file, each attempt has its own file description, which begins where `retry` found the file.
If the shared description holds a lock, the attempts use the shared one.
When `retry` ends, it moves the shared offset to where the last attempt stopped, but never back past what another process has
read in the meantime.
`retry` passes any other input to every attempt as it is: a terminal or another device, a socket that keeps messages apart,
a socket that is also standard output, a FIFO that is also open for writing, and a pipe of packets (`O_DIRECT`).

An attempt that no other can follow, as with `--max 1`, gets the input itself.
If an attempt reads more than `--stdin-limit`, or `retry` cannot write the file, the attempt goes on and can read all input,
but `retry` does not retry its failure.
`retry` does not retry a failure either if reading the input failed.
If tee(2) is not available (in some sandboxes), `retry` reads up to 64 KiB more from a pipe than the command wants, and other
readers lose these bytes.

> pg_dump db | retry -- ssh backup 'cat >dump'
> kubectl get pods -o name | while read p; do retry -- kubectl delete "$p"; done
# HELD OUTPUT
With `--hold`, the command writes its standard output to a pipe, and `retry` passes nothing on until the attempt has
succeeded; then it passes on all of it, once.
`retry` keeps up to 1 MiB of the output in memory, and more than that in a file without a name in `$TMPDIR`.
For a failed attempt, the last 64 KiB are shown on standard error after a summary line, unless they are binary.
With `--quiet`, they are not shown.
Standard error passes at once, so the order between the two streams is not kept.

What a background process writes before the command ends belongs to the command's output; `retry` drops what it writes later.
If the reader has gone, the command, or `retry` in its place, dies of PIPE, as without `--hold`, and `retry` shows nothing.
If `retry` cannot keep the output, or cannot pass it on as a whole (a full disk, the deadline), it fails with 125, although
the command succeeded.

> retry --hold -- curl -fsS URL | jq .
# SAFE REPEATS
A failed attempt may already have taken effect: the server carried out the request, and only its answer was lost.
If that matters, send the server a key by which it recognizes a repeated request.
All attempts of a run have the same key: a fresh UUID, or the one of `--idempotency-key`.
A `retry` within `retry` has its own key.
With `--expand`, `retry` replaces `{key}`, `{attempt}` and `{max}` (empty without a limit) in the command's arguments.
All other text stays as it is, including other braces; the three tokens cannot be escaped.

`--idempotency-key file:PATH` keeps the key from the first attempt until a run succeeds; then `retry` removes the file.
A run thus repeats a request that failed yesterday with yesterday's key, and says so.
A file older than 24 hours is an error, because servers forget keys: check whether the request was carried out, then remove
the file.
Runs at the same time get the same key.
A PATH that somebody else may have prepared is an error, and `retry` runs nothing.
Such a PATH is a symbolic link, a file of another user (unless the directory belongs to that user), or a file with a second
name in a directory that others can write to.
A file that you cannot remove is an error too, because the next request would repeat its key.

If the server knows no keys, `--not-idempotent` retries a failure only if it proves that nothing was sent: a refused
connection or a host name that cannot be resolved, if there was no response, HTTP status 429, and 503 with `Retry-After`.
The program must have a profile that recognizes the failure.
`retry` then does not retry a timeout, a broken connection, any other status or an unknown failure, unless `--retry-on` names
it.

If you can see whether the work is done, let `--check` test for it before every attempt, including the first.
`sh -c` runs the argument of `--check`, with the timeout and the environment of the attempt, an empty standard input, and
standard output connected to standard error.
Exit status 0 means that the work is already done, and `retry` exits with 0.
Exit status 1 means that the work is not done, and `retry` makes the attempt.
Any other status, a signal or a timeout means that the check cannot tell.
`retry` then does not run the command, counts the attempt as failed, and may retry it, whatever the conditions.

> retry --expand --idempotency-key file:order-42.key -- curl -fsS -H 'Idempotency-Key: {key}' -d @order.json URL
> retry --check './is-uploaded x' -- ./upload x
# MESSAGES
`retry` writes one line to standard error for each event; each begins with `retry:` and a label.
The label is the base name of the program that COMMAND runs, behind `sudo`, `env` and the other wrappers that profiles
look through.
`retry` does not print a word that may hold a secret: the label is `command` if the word has white space, `=`, `?`, or any
other character that names and paths do not need.
`--label` sets another label.
`retry` never prints the arguments of the command.

If the command left its last line unfinished on a stream that `retry` watches or holds, the next message begins on a new line.

`retry` shows a duration as you wrote it in the option.
An attempt has the same number in messages, in `RETRY_ATTEMPT` and in `{attempt}`.
If `--healthy-after` resets the count, the message about the attempt gives its new number.
With `--splay` and `-v`, `retry` says when the first attempt starts; without `-v`, it says so only at a terminal, and only if
the wait is two seconds or longer.
# ENVIRONMENT
Every attempt finds these variables in its environment.
: `RETRY_ATTEMPT`
the number of the attempt, from 1
: `RETRY_MAX_ATTEMPTS`
the maximum number of attempts; empty without a limit
: `RETRY_LAST_STATUS`
the exit status of the previous attempt: 128+N after a signal, 124 after a timeout; empty in the first attempt
: `RETRY_IDEMPOTENCY_KEY`
the key of this run, the same for all its attempts
: `RETRY_ORIGIN`
a mark by which `retry` recognizes what the attempt starts; set only with a limit, and only if `retry` already has other
descendants

`TMPDIR` is the directory for input and output that `retry` does not keep in memory, in files without a name.
The default is /tmp.

Without `--state`, the first of these variables that is set says where shared state is.
: `RETRY_STATE`
the directory itself
: `XDG_STATE_HOME`
shared state is in its subdirectory `retry`; ignored if the path is not absolute
: `HOME`
shared state is in its subdirectory `.local/state/retry`; if `HOME` is not set, `retry` takes the home directory from the
password database
# FILES
: `NAME.json`
the record for NAME, in the directory for shared state; the file has mode 0600, the directory 0700.
`retry` replaces the file as a whole, with rename(2), so that other programs can read it without a lock.
The file does not exist before the first event that it records.
: `NAME.json.lock`
the lock for the record.
A process that changes the record locks the first byte (`F_OFD_SETLK` of fcntl(2)) and writes its pid, for about a
millisecond, and never while a command runs.
A run that probes locks another byte.
`retry` never removes this file; do not remove it while runs use it.
: `NAME.json.retry-tmp`
the new record while `retry` writes it; if the file is left behind, the next run that changes the record removes it
: `NAME.json.corrupt`
a damaged record; further ones are `NAME.json.corrupt-2` and so on, up to nine

The record is JSON.
`version` is 1; `retry` does not use or change a record with a higher version.
`clock` says when the record was written: `boot_id` from /proc/sys/kernel/random/boot_id, `boot_ms` since that boot,
including suspended time, and `unix_ms` since 1970.
The time since boot is that of the initial time namespace, so that runs in different time namespaces can share a record.
All other times are milliseconds since that boot.
After another boot, `retry` converts them by the wall clock; none of them is then later than now.
`breaker` has `state` and `generation`, which rises with every change of state.
A `closed` breaker has `failures` in a row, `last` (how the last failure ended, or null), `since_ms` or null, and
`not_before_ms` if a server asked for a wait until then.
An `open` breaker has `first_ms` (when it first opened), `since_ms` (when it last opened), `length_ms` (for how long),
`cooldown_ms` (the `--breaker-cooldown` of the run that opened it; absent if it was opened by hand), `cause` (`failures` or
`tripped`), `probes` (how many failed), `failures` and `last`.
A `half-open` breaker has the same, and `probe` with the `pid` of the `retry` that probes, `since_ms` and `length_ms`.
`budget`, if there is one, has `billionths` (of a retry, left at `at_ms`), `size` (the most that it can hold), and `returns`
(how many retries come back in `returns_in_ms`).

If `retry` cannot use a record (no permission, a full disk, a lock that another process holds for a second, or for ten
seconds if that process is only slow), it says so once and continues without the record.
If `retry` cannot use the directory or the lock file at all, it says so before the first attempt.
`--quiet` does not hide these warnings; `-qq` does.
A run that has seen its breaker open does not continue without the record: it does not start its command.
With `--breaker-wait`, the run looks again until its deadline.
Removing the file of a breaker closes the breaker, like `--breaker-reset`.
`retry` never follows a symbolic link.
`retry` does not change a file that was never a record.
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

In every run of a cron job, stop calling a service that is down, and let retries add at most a fifth to its load:

> retry --breaker payments --budget 20% -- /usr/local/bin/sync-payments

Poll until the answer says that the job is ready; a 404 ends the run:

> retry --deadline 10m --until 'stdout~"state": *"ready"' -- curl -fsS http://127.0.0.1:8080/job

A pipeline, or several commands, need a shell:

> retry -- sh -c 'curl -fsS http://127.0.0.1:8080/list | sort -u >list'
# NOTES
With a controlling terminal, the command stays in the process group of `retry`, so that ^C, ^Z and reading from the terminal
work as they do without `retry`.
Without one (CI, cron, a service), the command runs in a process group of its own.
There `setsid`(1) forks, and only `setsid -w` exits with the command's status.
If INT, TERM, HUP, QUIT, USR1, USR2, WINCH or CONT is sent to `retry`, the signal reaches the command once.
If /proc is not mounted, a ^C at the moment at which the command starts may reach the command twice.
If the command is stopped at a terminal, even by SIGSTOP, `retry` stops too: the shell shows its prompt again, and `fg`
continues both.
After a SIGSTOP, `retry` does not stop if its parent is not a shell with job control, as in a script or without a terminal.
The timeout and the deadline then still apply to the stopped command.
After INT, TERM, HUP or QUIT, `retry` makes no further attempt.

At a timeout or deadline, `retry` ends everything that the attempt started, including daemons that left its process group
and session: first with `--signal`, and after `--kill-after` with KILL.
`retry` does not send `--signal` to a process that a handler of that signal starts; KILL ends this process too.
No other attempt begins before that is done.
The terminal stays in the modes that the command has set: a question for a password may have turned the echo off, and
`stty sane` turns it on again.
`retry` leaves the background processes of an attempt alone if that attempt ended by itself, and everything that these
processes start later.
If such processes exist, `retry` marks the commands of later attempts with the variable `RETRY_ORIGIN`, to recognize daemons
whose parents have ended.
If a daemon of a later attempt has cleared its environment, `retry` may take it for one of theirs, and the daemon then survives
a timeout.
Time that `retry` itself spends stopped does not count against the timeout: exact to a millisecond after ^Z, and to about a
second after a SIGSTOP.
If KILL kills `retry`, the kernel sends `--signal` to the command, but not to what the command started, and not to a set-uid
command.

Debian's package retry installs another program of the same name with other options.
Its `-t` is `--max` here, and its `-m` is `--label`; `-t` and `-m` are errors here.
# SEE ALSO
`timeout`(1), `nohup`(1), `flock`(1), `signal`(7)
"#;
