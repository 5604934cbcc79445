//! The Java virtual machine: mvn, gradle.

use super::super::{PLAIN, Profile, WatchStdout, ambiguous_status, fatal, retryable};

pub(in super::super) const MVN: Profile = Profile {
    name: "mvn",
    programs: &["mvn", "mvnw", "mvnd"],
    source: "Maven's MavenCli.java; Maven Resolver's transfer exceptions; https://maven.apache.org/guides",
    statuses: &[ambiguous_status(1..=1, "error")],
    // Not a proof: `Could not find artifact`, because a repository may not have it yet; a failed
    // test. Maven writes to stdout.
    patterns: &[
        answer!(
            r"^\[ERROR\] .*Could not transfer artifact .*(?:, status: |status code:? |[Tt]ransfer failed for \S+ )",
            r"\b"
        ),
        // Maven keeps a 404 in the local repository, and does not ask again before the next day
        // unless it is called with -U. After a 503 or a broken connection it asks
        // again.
        fatal(
            r"^\[ERROR\] .* was not found in .* during a previous attempt\. This failure was cached ",
            "failure in the cache of Maven",
        ),
        fatal(
            r"^\[ERROR\] Failure to find .* was cached in the local repository",
            "failure in the cache of Maven",
        ),
        fatal(
            r"^\[ERROR\] Failed to execute goal org\.apache\.maven\.plugins:maven-compiler-plugin:.*: Compilation failure",
            "compile error",
        ),
        fatal(r"^\[ERROR\] .*: Cannot access .* in offline mode and ", "offline mode"),
        fatal(r"^Unable to parse command line options: ", "usage"),
        fatal(r"^\[ERROR\] Unknown lifecycle phase ", "unknown lifecycle phase"),
        fatal(r"^\[ERROR\] No goals have been specified ", "usage"),
        fatal(r"^\[ERROR\] The goal you specified requires a project ", "missing POM"),
        fatal(r"^\[ERROR\]     Non-(?:readable|parseable) POM ", "invalid POM"),
        retryable(
            r"^\[ERROR\] .*Could not transfer (?:artifact|metadata) .*(?:Connection (?:refused|reset|timed out)|Unknown host|failed to respond|Premature end of|[Tt]imed out|Remote host (?:terminated|closed)|No route to host|Temporary failure)",
            "failed transfer",
        ),
        retryable(r"^\[ERROR\] .*Could not transfer (?:artifact|metadata) ", "failed transfer").general(),
    ],
    stdout: WatchStdout::Always,
    ..PLAIN
};

pub(in super::super) const GRADLE: Profile = Profile {
    name: "gradle",
    programs: &["gradle", "gradlew"],
    source: "Gradle's HttpErrorStatusCodeException.java and DaemonDisappearedException.java",
    statuses: &[ambiguous_status(1..=1, "error")],
    // Not a proof: `Could not find`, because a repository may not have it yet; a failed test.
    patterns: &[
        answer!(r"^ *>? *Could not (?:GET|HEAD|PUT) '[^']*'\. Received status code ", " "),
        fatal(r"^\* What went wrong: Task '.*' not found in root project ", "unknown task"),
        fatal(r"^(?:\* What went wrong: )?Unknown command-line option ", "usage"),
        fatal(r"^\* What went wrong: Could not compile build file ", "invalid build file"),
        fatal(
            r"^\* What went wrong: Execution failed for task '.*compile.*'\. (?:> )?Compilation failed; see the compiler ",
            "compile error",
        ),
        fatal(r"^\* What went wrong: .*No cached version of .* available for offline mode", "offline mode"),
        retryable(
            r"^ *>? *Could not (?:GET|HEAD|PUT) '[^']*'\. (?:> )?.*(?:Connection (?:refused|reset)|failed to respond|Name or service not known|timed out|Premature end of)",
            "failed transfer",
        ),
        retryable(
            r"^\* What went wrong: .*(?:Connection (?:refused|reset)|failed to respond|Name or service not known|timed out|Premature end of)",
            "failed transfer",
        ),
        retryable(r"^(?:\* What went wrong: )?Gradle build daemon disappeared unexpectedly", "lost daemon"),
        retryable(r"^(?:\* What went wrong: )?Timeout waiting to lock ", "no lock"),
    ],
    wraps: true,
    ..PLAIN
};
