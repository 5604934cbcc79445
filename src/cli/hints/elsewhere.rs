//! The options of other tools, and their names in retry.
//!
//! Sources: Debian's retry (minfrin), kadwanev/retry, joshdk/retry, nick-fields/retry, recur,
//! attempt, retry-cli, retry-cmd, ctry, curl(1), wget(1), timeout(1), parallel(1), rclone,
//! pytest-rerunfailures, Ansible, tenacity, the backoff libraries of Go, Java and .NET,
//! systemd.service(5) and Kubernetes.

const RETRIES: &str = "-n or --max sets the number of attempts, the first included: 3 retries are --max 4";
const ATTEMPTS: &str = "-n or --max sets the number of attempts, the first included";
const UNLIMITED: &str = "--max unlimited sets no limit on attempts";
const DELAY: &str = "-d or --delay sets the delay between attempts";
const MAX_DELAY: &str = "--max-delay sets the longest delay";
const MIN_DELAY: &str = "--min-delay sets the shortest delay; -d or --delay sets the first delay";
const DEADLINE: &str = "--deadline limits the whole run; --timeout limits one attempt";
const TIMEOUT: &str = "--timeout limits one attempt; --deadline limits the whole run";
const FACTOR: &str = "--factor sets how much the delay grows per retry";
const BACKOFF: &str = "--backoff sets how the delay grows: exponential, linear, fibonacci or constant";
const JITTER: &str =
    "-j or --jitter sets how the delay is randomized: full, equal, decorrelated, additive or none";
const SPLAY: &str = "--splay sets a random wait before the first attempt";
const RETRY_ON: &str = "-r or --retry-on sets which failures to retry, as in -r 7,28 or -r failure";
const RETRY_TEXT: &str =
    "-r output~REGEX retries by a line of output, stdout~REGEX and stderr~REGEX by one stream";
const RETRY_HTTP: &str = "-r http:503 or -r http:5xx retries by HTTP status";
const FATAL_ON: &str = "-x or --fatal-on sets which failures not to retry, as in -x 2";
const FATAL_TEXT: &str =
    "-x output~REGEX stops at a line of output, stdout~REGEX and stderr~REGEX at one stream";
const UNTIL: &str = "-u or --until sets the condition for success, as in -u stdout~ready";
const INVERT: &str = "--until failure retries until the command fails";
const SUCCESS_ON: &str = "--success-on adds exit statuses that count as success, such as --success-on 3,4";
const BETWEEN: &str = "--on-retry runs a shell command before each retry, --check before each attempt";
const AFTERWARDS: &str = "to run something after the last failure: retry -- COMMAND || OTHER";
const HOLD: &str =
    "--hold passes on only the stdout of the attempt that succeeds, --hold=both its stderr too";
const REPLAY: &str = "--stdin replay is the default: every attempt reads the same input";
const HEALTHY: &str =
    "--healthy-after resets the attempt count and the delay after an attempt that ran long enough";
const SIGNAL: &str = "--signal sets the signal at a limit; --kill-after sets the time until KILL";
const STATUS: &str = "leave it out: the exit status is the command's own";
const FOREGROUND: &str = "leave it out: the command keeps the terminal";
const LABEL: &str = "--label sets the name in messages";
const VERBOSE: &str = "-v or --verbose says more";
const QUIET: &str = "-q or --quiet prints only the final error, -qq nothing";
const COMMAND: &str =
    "the command follows the options: retry [OPTIONS] -- COMMAND; a shell command line: retry -- sh -c '...'";
const DRY_RUN: &str =
    "--plan shows what the options mean and runs nothing; -n 1 -v runs once and says which rule decides";
const IGNORE: &str = "to go on after a failure: retry -- COMMAND || true";
const REFUSED: &str = "leave it out: a refused connection is retried by default";
const BREAKER: &str = "--breaker shares a circuit breaker between runs";
const OF_COMMAND: &str = "options of the command follow its name: retry -- curl -f URL; the file for response headers is --headers";
const SUCCESSES: &str = "--successes sets how many attempts in a row have to succeed";
const POLICY: &str = "--policy takes options from a file";
const BUDGET: &str = "--budget limits retries over all runs that share a name";

/// Long options without dashes, underscores and capitals: `max-attempts`, `max_attempts` and
/// `maxAttempts` are `maxattempts`.
#[rustfmt::skip]
const LONG: &[(&[&str], &str)] = &[
    (&[
        "retries", "retry", "retrys", "maxretries", "maxretry", "retrycount", "retriescount", "numretries",
        "nretries", "retrylimit", "retrymax", "retrytimes", "retryattempts", "retrymaxattempts",
        "backofflimit", "reruns", "maxreruns", "lowlevelretries",
    ], RETRIES),
    (&[
        "attempts", "attempt", "maxattempts", "maxattempt", "numattempts", "totalattempts", "attemptlimit",
        "tries", "maxtries", "numtries", "try", "times", "maxtimes", "count", "maxcount", "repeat", "repeats",
        "loops", "loop", "iterations", "stopafterattempt", "startlimitburst", "flakytestattempts",
        "maximumattempts",
    ], ATTEMPTS),
    (&[
        "forever", "infinite", "unlimited", "unlimitedattempts", "nolimit", "endless", "retryforever",
        "stopnever",
    ], UNLIMITED),
    (&[
        "interval", "sleep", "wait", "waittime", "pause", "retrydelay", "retrywait", "retrywaitseconds",
        "retrywaittime", "retryinterval", "retrysleep", "retryperiod", "waitretry", "retriessleep",
        "retriesdelay", "rerunsdelay", "basedelay", "initialdelay", "initialinterval", "initialbackoff",
        "initialwait", "startinginterval", "startingwait", "firstdelay", "waitduration", "waitfixed",
        "waitseconds", "waitbetween", "delaybetween", "delayseconds", "delaysec", "delayms", "sleeptime",
        "sleepinterval", "sleepseconds", "sleepsec", "restartsec", "restartdelay", "mintimeout",
        "minduration", "pollinterval", "pollinginterval", "pollingintervalseconds", "polltime",
        "backoffdelay", "backoffbase", "backofftime", "period", "every", "secondsbetween", "cooldown",
    ], DELAY),
    (&[
        "maxinterval", "maxbackoff", "maxwait", "maxsleep", "waitmax", "maxtimeout", "maxduration",
        "restartmaxdelaysec", "maxretrydelay", "maxretrywait", "retrymaxdelay", "backoffmax", "backoffcap",
        "maximumdelay", "maximumbackoff", "maximuminterval", "delaymax", "delaycap", "cap", "ceiling",
    ], MAX_DELAY),
    (&[
        "minwait", "waitmin", "minsleep", "mininterval", "minbackoff", "minretrydelay", "delaymin", "min",
    ], MIN_DELAY),
    (&[
        "maxtime", "retrymaxtime", "maxelapsed", "maxelapsedtime", "totaltimeout", "totaltime",
        "overalltimeout", "maxtotaltime", "globaltimeout", "timelimit", "stopafterdelay",
        "activedeadlineseconds", "giveupafter", "runtimeout", "maxruntime",
    ], DEADLINE),
    (&[
        "tasktime", "tasktimeout", "timeoutseconds", "timeoutminutes", "timeoutsec", "timeoutms",
        "attempttimeout", "commandtimeout", "cmdtimeout", "perattempttimeout", "timeoutperattempt",
        "pertrytimeout", "connecttimeout", "readtimeout", "dnstimeout", "requesttimeout", "runtimemaxsec",
        "timeoutstartsec", "expectedruntime",
    ], TIMEOUT),
    (&[
        "multiplier", "backofffactor", "backoffmultiplier", "backoffrate", "exponent", "exponentialfactor",
        "growth", "rate", "base", "exponentialbase",
    ], FACTOR),
    (&[
        "fib", "fibonacci", "linear", "exponential", "exponentialbackoff", "expo", "exp", "fixed",
        "fixeddelay", "constant", "constantdelay", "nobackoff", "strategy", "backoffstrategy", "backofftype",
        "retrymode", "waitexponential", "waitincrementing", "restartsteps", "schedule",
    ], BACKOFF),
    (&[
        "randomize", "randomise", "randomizewait", "random", "randomdelay", "randomwait",
        "randomizationfactor", "waitrandom", "waitrandomexponential", "waitexponentialjitter", "nojitter",
        "fulljitter", "jitterfactor", "maxjitter", "jittermax", "jittertype", "usejitter",
    ], JITTER),
    (&[
        "stagger", "startdelay", "randomizeddelaysec", "initialsplay", "initialjitter",
    ], SPLAY),
    (&[
        "onfailure", "onerror", "onexit", "while", "retryif", "retrywhen", "retryonexitcode", "retryonerror",
        "retryonstatus", "retryonfailure", "retrystatus", "retrycodes", "retrycode", "retryexitcodes",
        "retryexitcode", "retryerrors", "retryifexceptiontype", "retryifresult", "retryifstatus",
        "retryifsignal", "retryifkilled", "retryiftimeout", "retryfailingstatus", "retryalways",
        "retryallerrors", "retryany", "restart", "restartforceexitstatus", "onlyrerun", "exceptions",
        "statusforcelist",
    ], RETRY_ON),
    (&[
        "retryifcontains", "retryifmatches", "retryifstdoutcontains", "retryifstdoutmatches",
        "retryifstderrcontains", "retryifstderrmatches", "retryonoutput", "retryonmatch", "retryonregex",
    ], RETRY_TEXT),
    (&[
        "retryonhttperror", "retryhttpcodes", "retryonhttpstatus", "httpcodes",
    ], RETRY_HTTP),
    (&[
        "retryconnrefused", "retryconnectionrefused",
    ], REFUSED),
    (&[
        "stopon", "stopif", "stopifstatus", "stopifsignal", "stopifkilled", "stopiftimeout", "stopcodes",
        "failon", "abortif", "aborton", "exitif", "exiton", "giveupon", "giveup", "noretryon", "dontretryon",
        "donotretryon", "neverretry", "skipretryon", "restartpreventexitstatus", "fatal", "fatalcodes",
        "rerunexcept",
    ], FATAL_ON),
    (&[
        "stopifcontains", "stopifmatches", "stopifstdoutcontains", "stopifstdoutmatches",
        "stopifstderrcontains", "stopifstderrmatches",
    ], FATAL_TEXT),
    (&[
        "condition", "expect", "untilsuccess", "waitfor", "waituntil", "successif", "untiloutput", "grep",
    ], UNTIL),
    (&[
        "invert", "untilfail", "untilfailure", "untilfails", "negate", "not",
    ], INVERT),
    (&[
        "exitcode", "exitcodes", "successexitstatus", "successcodes", "successcode", "successstatus",
        "success", "okcodes", "ok", "acceptcodes", "accept", "allowedexitcodes", "validexitcodes",
    ], SUCCESS_ON),
    (&[
        "onretrycommand", "newcommandonretry", "retrycommand", "beforesleep", "before", "beforeretry",
        "precheck", "test",
    ], BETWEEN),
    (&[
        "fail", "failscript", "onfail", "ongiveup", "onfinalfailure", "after",
    ], AFTERWARDS),
    (&[
        "holdstdout", "holdstderr", "buffer", "bufferoutput", "capture",
    ], HOLD),
    (&[
        "replaystdin", "stdinreplay",
    ], REPLAY),
    (&[
        "reset", "resetafter", "resettime", "resetinterval", "startlimitinterval", "startlimitintervalsec",
    ], HEALTHY),
    (&[
        "killsignal", "termsignal", "forcekill", "killwait", "killtimeout", "timeoutstopsec", "graceperiod",
        "kill",
    ], SIGNAL),
    (&[
        "preservestatus", "preserveexitcode", "reraise", "exitstatus",
    ], STATUS),
    (&[
        "foreground", "tty", "interactive",
    ], FOREGROUND),
    (&[
        "message", "name", "title", "tag", "prefix", "description",
    ], LABEL),
    (&[
        "debug", "verbosity", "loglevel", "trace",
    ], VERBOSE),
    (&[
        "silent", "noverbose", "nooutput", "silence",
    ], QUIET),
    (&[
        "command", "cmd", "exec", "execute", "shell", "script", "run",
    ], COMMAND),
    (&[
        "dryrun", "simulate", "justprint", "whatif", "noop", "norun", "preview", "showschedule",
    ], DRY_RUN),
    (&[
        "continueonerror", "ignoreerrors", "ignorefailure", "warningonretry",
    ], IGNORE),
    (&[
        "circuitbreaker", "circuit",
    ], BREAKER),
    (&[
        "ratelimit", "retrybudget",
    ], BUDGET),
    (&[
        "header", "request", "data", "dataraw", "databinary", "dataurlencode", "form", "user", "url",
        "location", "output", "insecure", "showerror", "remotename", "useragent", "cookie", "cacert", "compressed",
        "getheader", "postdata", "postfile", "outputdocument", "nocheckcertificate", "password",
    ], OF_COMMAND),
    (&[
        "consecutivesuccesses", "minsuccesses", "successthreshold", "requiredsuccesses",
    ], SUCCESSES),
    (&[
        "config", "configfile", "conf", "optionsfile", "options", "preset", "rcfile", "defaults",
    ], POLICY),
];

/// Short options with their dash.
const SHORT: &[(&str, &str)] = &[
    ("-t", "-n or --max sets the number of attempts; --timeout limits one attempt"),
    (
        "-m",
        "-n or --max sets the number of attempts; --max-delay sets the longest delay; --label sets the name in messages",
    ),
    ("-a", ATTEMPTS),
    ("-i", DELAY),
    ("-s", "-d or --delay sets the delay between attempts; --signal sets the signal at a limit"),
    ("-w", "-d or --delay sets the delay between attempts; -r or --retry-on sets which failures to retry"),
    ("-k", "--kill-after sets the time between the signal at a limit and KILL"),
    ("-T", TIMEOUT),
    ("-M", MAX_DELAY),
    ("-b", BACKOFF),
    ("-F", "--backoff fibonacci makes the delay grow as 1, 1, 2, 3, 5"),
    ("-e", "-r or --retry-on sets which failures to retry; -x or --fatal-on sets which not to retry"),
    ("-c", "-u or --until sets the condition for success; a shell command line: retry -- sh -c '...'"),
    ("-f", "options of the command follow its name: retry -- curl -f URL; --max unlimited sets no limit"),
    ("-I", REPLAY),
    ("-O", HOLD),
    ("-U", UNLIMITED),
    ("-Y", UNLIMITED),
    ("-R", HEALTHY),
    ("-l", LABEL),
    ("-D", VERBOSE),
    ("-H", OF_COMMAND),
    ("-L", OF_COMMAND),
    ("-S", OF_COMMAND),
    ("-X", OF_COMMAND),
    ("-A", OF_COMMAND),
    ("-o", OF_COMMAND),
    ("-?", "retry -h lists the main options, retry --help all of them"),
];

/// The hint for a long option of another tool, by its [`plain`] name.
pub(super) fn long(name: &str) -> Option<&'static str> {
    LONG.iter().find(|(names, _)| names.contains(&name)).map(|(_, hint)| *hint)
}

/// The hint for a name that differs by one letter from a name in the table.
pub(super) fn nearly_long(name: &str) -> Option<&'static str> {
    let near = |known: &&str| known.len() >= 6 && strsim::osa_distance(name, known) <= 1;
    LONG.iter().find(|(names, _)| names.iter().any(near)).map(|(_, hint)| *hint)
}

/// The hint for a short option of another tool.
pub(super) fn short(name: &str) -> Option<&'static str> {
    if name.len() == 2 && name.ends_with(|c: char| c.is_ascii_digit()) {
        return Some(ATTEMPTS);
    }
    SHORT.iter().find(|(known, _)| *known == name).map(|(_, hint)| *hint)
}

/// The name of a long option as it is written in the table.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::args;

    fn ours() -> BTreeSet<String> {
        let definition = args::definition();
        let names = |arg: &clap::Arg| {
            let short = arg.get_short().map(|c| format!("-{c}"));
            short.into_iter().chain(arg.get_long().map(|name| format!("--{name}"))).collect::<Vec<_>>()
        };
        definition.get_arguments().flat_map(names).collect()
    }

    #[test]
    fn no_name_stands_twice_and_each_is_plain() {
        let mut seen = BTreeSet::new();
        for name in LONG.iter().flat_map(|(names, _)| *names) {
            assert!(seen.insert(name), "{name}");
            assert_eq!(plain(name), **name);
        }
        for (name, _) in SHORT {
            assert!(seen.insert(name), "{name}");
        }
    }

    #[test]
    fn a_hint_names_only_options_that_exist() {
        let ours = ours();
        for hint in LONG.iter().map(|(_, hint)| hint).chain(SHORT.iter().map(|(_, hint)| hint)) {
            // The words after `retry --` are a command, so its options are not options of retry.
            let own = hint.replace("retry -- sh -c", "").replace("retry -- curl -f", "");
            for word in own.split([' ', ',', ';', ':', '(', ')']).filter(|word| word.starts_with('-')) {
                assert!(
                    word == "--" || ["-qq", "--hold=both"].contains(&word) || ours.contains(word),
                    "{word} in {hint}"
                );
            }
            assert!(hint.len() <= 120 && !hint.contains('\n'), "{hint}");
        }
    }

    #[test]
    fn no_name_is_one_of_ours() {
        let ours: BTreeSet<String> = ours().iter().map(|name| plain(name)).collect();
        for name in LONG.iter().flat_map(|(names, _)| *names) {
            assert!(!ours.contains(*name), "{name}");
        }
    }
}
