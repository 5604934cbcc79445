//! Containers, clouds, and what drives them.

use super::Class::{Ambiguous, Fatal};
use super::{Pager, Pattern, Profile, Stdout, fatal, http_status, joined, retryable};

/// The words of Go's net and crypto packages: of every program that is written in it, often in the middle
/// of a line. terraform breaks lines at any space, so these hold no more of one than they need.
pub(super) const OF_GO: &[Pattern] = &[
    fatal(r"\bx509: ", "x509"),
    fatal(r"server gave HTTP response to HTTPS client", "HTTP response to HTTPS client"),
    retryable(r"(?:^|[ :])connection refused\b", "connection refused").unsent(),
    retryable(r"(?:^|[ :])connection reset by peer\b", "connection reset by peer"),
    retryable(r"(?:^|[ :])no such host\b", "no such host"),
    retryable(r"\b[Tt]emporary failure in name resolution\b", "Temporary failure in name resolution"),
    retryable(r"(?:^|[ :])server misbehaving\b", "server misbehaving"),
    retryable(r"(?:^|[ :])no route to host\b", "no route to host"),
    retryable(r"(?:^|[ :])network is unreachable\b", "unreachable network"),
    retryable(r"(?:^|[ :])i/o timeout\b", "i/o timeout"),
    retryable(r"\bTLS handshake timeout\b", "TLS handshake timeout"),
    retryable(r"\bClient\.Timeout exceeded\b", "Client.Timeout exceeded"),
    retryable(r"\bcontext deadline exceeded\b", "context deadline exceeded"),
    retryable(r"(?:^|: )(?:unexpected )?EOF$", "EOF"),
];

const OF_DOCKER: &[Pattern] = &[
    http_status(r"^(?:docker: )?request returned ([0-9]{3}) "),
    http_status(r"^(?:docker: )?Error.* received unexpected HTTP status: ([0-9]{3}) "),
    http_status(
        r"^(?:docker: )?E(?:rror|RROR).* unexpected status(?: code| from \w+ request to) \S+: ([0-9]{3}) ",
    ),
    http_status(r"^Error: .* invalid status code from registry ([0-9]{3}) "),
    fatal(r"^(?:docker: )?Error.*\bpull access denied for ", "pull access denied"),
    fatal(r"^(?:docker: )?Error.*\bmanifest unknown", "manifest unknown"),
    fatal(r"^(?:docker: )?Error.*\bname unknown: ", "name unknown"),
    fatal(r"^(?:docker: )?Error.*\bno matching manifest for ", "no matching manifest"),
    fatal(r"^(?:docker: )?Error.*\bunauthorized: ", "missing authorization"),
    fatal(r"^(?:docker: |Error: )?(?:.*: )?denied: ", "access denied"),
    fatal(r"^(?:docker: )?Error.*\bNo such container: ", "No such container"),
    fatal(r"^(?:docker: )?Error.*\bConflict\. The container name ", "Conflict"),
    fatal(r"^(?:docker: |Error: )?invalid reference format", "invalid reference format"),
    fatal(r"^(?:docker: |Error: )?unknown (?:shorthand )?flag: ", "unknown flag"),
    fatal(r"^(?:docker: |Error: )unknown command", "unknown command"),
    fatal(r"^docker: '.*' is not a docker command", "unknown docker command"),
    fatal(r"^docker: '.*' (?:requires|accepts) ", "wrong number of arguments"),
    retryable(
        r"^(?:docker: |Error: )?Cannot connect to the Docker daemon",
        "no connection to the Docker daemon",
    ),
    retryable(r"\btoomanyrequests: ", "toomanyrequests"),
];

pub(super) const DOCKER: Profile = Profile {
    name: "docker",
    programs: &["docker", "podman"],
    source: "docker-run(1), podman(1), EXIT STATUS",
    // Any other status of `run` and `exec` is the container's own.
    statuses: &[
        (1..=1, Ambiguous, "error"),
        (125..=125, Ambiguous, "error of the client or the daemon"),
        (126..=126, Fatal, "unrunnable command in the container"),
        (127..=127, Fatal, "missing command in the container"),
    ],
    patterns: &joined::<{ OF_DOCKER.len() + OF_GO.len() }>(OF_DOCKER, OF_GO),
    unsent: &[],
    http: false,
    stdout: Stdout::Never,
    pager: Pager::Never,
};

/// An error of the API server, by its reason.
macro_rules! kubectl {
    ($reason:literal) => {
        concat!(r"^Error from server \(", $reason, r"\)")
    };
}

const OF_KUBECTL: &[Pattern] = &[
    fatal(kubectl!("NotFound"), "NotFound"),
    fatal(kubectl!("Forbidden"), "Forbidden"),
    fatal(r"^error: You must be logged in to the server", "missing login"),
    fatal(kubectl!("Unauthorized"), "Unauthorized"),
    fatal(kubectl!("AlreadyExists"), "AlreadyExists"),
    fatal(kubectl!("Invalid"), "Invalid"),
    fatal(kubectl!("BadRequest"), "BadRequest"),
    fatal(kubectl!("MethodNotAllowed"), "MethodNotAllowed"),
    fatal(r"^The request is invalid", "invalid request"),
    fatal(r#"^The \S+ ".*" is invalid: "#, "invalid object"),
    fatal(r"^[Ee]rror: unknown (?:shorthand )?flag: ", "unknown flag"),
    fatal(r"^[Ee]rror: unknown command ", "unknown command"),
    fatal(r"^error: the server doesn't have a resource type ", "no such resource type"),
    fatal(r"^error: the path .* does not exist", "missing path"),
    fatal(r"^error: .*: no such file or directory", "no such file or directory"),
    fatal(r"^error: error validating ", "failed validation"),
    fatal(r"^[Ee]rror.*: context was not found for specified context", "missing context"),
    fatal(r"^error: context .* does not exist", "missing context"),
    retryable(kubectl!("Conflict"), "Conflict"),
    retryable(kubectl!("TooManyRequests"), "TooManyRequests"),
    retryable(kubectl!("ServerTimeout"), "ServerTimeout"),
    retryable(kubectl!("Timeout"), "Timeout"),
    retryable(kubectl!("InternalError"), "InternalError"),
    retryable(kubectl!("ServiceUnavailable"), "ServiceUnavailable"),
    retryable(r"^Error from server: etcdserver: ", "etcdserver"),
    retryable(r"^The connection to the server \S+ was refused", "connection refused").unsent(),
    retryable(r"^Unable to connect to the server: ", "no connection to the server"),
    retryable(r"^error: timed out waiting for ", "timeout of a wait"),
];

pub(super) const KUBECTL: Profile = Profile {
    name: "kubectl",
    programs: &["kubectl"],
    source: "kubernetes.io, API conventions, HTTP status codes",
    // Of `diff` 1 is an answer: there are differences.
    statuses: &[(1..=1, Ambiguous, "error")],
    patterns: &joined::<{ OF_KUBECTL.len() + OF_GO.len() }>(OF_KUBECTL, OF_GO),
    unsent: &[],
    http: false,
    stdout: Stdout::Never,
    pager: Pager::Never,
};

/// An error of a service, by its code.
macro_rules! aws {
    ($code:literal) => {
        concat!(r"\bAn error occurred \(", $code, r"\) when calling the ")
    };
}

pub(super) const AWS: Profile = Profile {
    name: "aws",
    programs: &["aws"],
    source: "aws help return-codes",
    // Version 1 has 255 for nearly all.
    statuses: &[
        (1..=1, Ambiguous, "failed S3 transfers"),
        (2..=2, Fatal, "usage, or skipped S3 files"),
        (130..=130, Fatal, "interruption"),
        (252..=252, Fatal, "command syntax"),
        (253..=253, Fatal, "configuration or credentials"),
        (254..=254, Ambiguous, "error response from the service"),
        (255..=255, Ambiguous, "error"),
    ],
    patterns: &[
        http_status(aws!(r"([0-9]{3})")),
        fatal(aws!(r"AccessDenied\w*"), "AccessDenied"),
        fatal(aws!(r"\w*Unauthorized\w*"), "Unauthorized"),
        fatal(aws!(r"AuthFailure"), "AuthFailure"),
        fatal(aws!(r"UnrecognizedClient\w*"), "UnrecognizedClient"),
        fatal(aws!(r"Invalid(?:ClientTokenId|AccessKeyId)"), "invalid credentials"),
        fatal(aws!(r"SignatureDoesNotMatch"), "SignatureDoesNotMatch"),
        fatal(aws!(r"ExpiredToken\w*"), "ExpiredToken"),
        fatal(aws!(r"RequestExpired"), "RequestExpired"),
        fatal(aws!(r"Validation\w*"), "Validation"),
        fatal(aws!(r"InvalidParameter\w*"), "InvalidParameter"),
        fatal(aws!(r"Malformed\w*"), "Malformed"),
        fatal(aws!(r"NoSuch\w+"), "NoSuch"),
        fatal(aws!(r"ResourceNotFound\w*"), "ResourceNotFound"),
        fatal(aws!(r"\w*AlreadyExists\w*"), "AlreadyExists"),
        fatal(r"^Unable to locate credentials", "missing credentials"),
        fatal(r"^The config profile \(.*\) could not be found", "missing config profile"),
        fatal(r"^You must specify a region", "missing region"),
        fatal(r"^Unknown options: ", "Unknown options"),
        fatal(r"^aws: error: ", "usage"),
        retryable(aws!(r"\w*Thrott\w*"), "Throttling"),
        retryable(aws!(r"SlowDown"), "SlowDown"),
        retryable(aws!(r"RequestLimitExceeded"), "RequestLimitExceeded"),
        retryable(aws!(r"TooManyRequests\w*"), "TooManyRequests"),
        retryable(aws!(r"ProvisionedThroughputExceeded\w*"), "ProvisionedThroughputExceeded"),
        retryable(aws!(r"RequestTimeout\w*"), "RequestTimeout"),
        retryable(aws!(r"Internal\w+"), "InternalError"),
        retryable(aws!(r"ServiceUnavailable\w*"), "ServiceUnavailable"),
        retryable(r"\bCould not connect to the endpoint URL: ", "no connection to the endpoint URL"),
        retryable(r"\b(?:Read|Connect) timeout on endpoint URL: ", "timeout on endpoint URL"),
        retryable(r"\bConnection was closed before we received a valid response", "closed connection"),
    ],
    unsent: &[],
    http: false,
    stdout: Stdout::Never,
    pager: Pager::Unless(&["--no-cli-pager"]),
};

const OF_GH: &[Pattern] = &[
    // Not 403, which is also what a rate limit looks like.
    http_status(r"^gh: (?:.*\()?HTTP (40[0-24-9]|4[1-9][0-9]|5[0-9]{2})\)?$"),
    http_status(r"^(?:.*: )?HTTP (40[0-24-9]|4[1-9][0-9]|5[0-9]{2}): "),
    fatal(r"\bResource not accessible by ", "inaccessible resource"),
    fatal(r"\bMust have admin rights to ", "missing admin rights"),
    fatal(r"\bBad credentials\b", "Bad credentials"),
    fatal(r"^GraphQL: Could not resolve to ", "unknown name"),
    fatal(r"^unknown (?:shorthand )?flag: ", "unknown flag"),
    fatal(r"^unknown command ", "unknown command"),
    fatal(r"^accepts .* arg\(s\), received ", "wrong number of arguments"),
    fatal(r"not a git repository", "missing git repository"),
    fatal(r"^release not found", "release not found"),
    fatal(r"^no pull requests found", "no pull requests found"),
    retryable(r"(?i)\brate limit\b", "rate limit"),
    retryable(r"^error connecting to ", "connection error"),
    retryable(r"^GraphQL: Something went wrong while executing your query", "unexplained server error"),
];

pub(super) const GH: Profile = Profile {
    name: "gh",
    programs: &["gh"],
    source: "gh help exit-codes",
    statuses: &[
        (1..=1, Ambiguous, "error"),
        (2..=2, Fatal, "cancellation"),
        (4..=4, Fatal, "authentication required"),
        (8..=8, Ambiguous, "checks pending"),
    ],
    patterns: &joined::<{ OF_GH.len() + OF_GO.len() }>(OF_GH, OF_GO),
    unsent: &[],
    http: true,
    stdout: Stdout::With { options: &["-i", "--include"], valued: "XHfFqtp", to_file: &[] },
    pager: Pager::Unless(&[]),
};

const OF_TERRAFORM: &[Pattern] = &[
    http_status(r"\bbad response code: ([0-9]{3})\b"),
    http_status(r"\bStatusCode: ([0-9]{3}),"),
    http_status(r"\bstatus code: ([0-9]{3}),"),
    // 403 may be a rate limit there.
    http_status(r"\bgoogleapi: Error (429|5[0-9]{2}):"),
    fatal(r"\bAccessDenied\b", "AccessDenied"),
    retryable(r"\bError acquiring the state lock\b", "Error acquiring the state lock"),
    retryable(r"\bgiving up after [0-9]+ attempt\(s\)", "too many attempts"),
    retryable(r"\bplease try again later: ", "request to try again later"),
    retryable(r"\bThrottling\b", "Throttling"),
    retryable(r"\bRequestLimitExceeded\b", "RequestLimitExceeded"),
    retryable(r"\bTooManyRequests", "TooManyRequests"),
    retryable(r"^(?:\W+ )?fatal: unable to access '", "inaccessible git repository"),
];

pub(super) const TERRAFORM: Profile = Profile {
    name: "terraform",
    programs: &["terraform", "tofu"],
    source: "terraform plan -help, -detailed-exitcode",
    statuses: &[(1..=1, Fatal, "error"), (2..=2, Fatal, "planned changes")],
    patterns: &joined::<{ OF_TERRAFORM.len() + OF_GO.len() }>(OF_TERRAFORM, OF_GO),
    unsent: &[],
    http: false,
    stdout: Stdout::Never,
    pager: Pager::Never,
};

pub(super) const ANSIBLE: Profile = Profile {
    name: "ansible",
    programs: &["ansible", "ansible-playbook"],
    source: "ansible's executor/task_queue_manager.py and cli/__init__.py",
    // Bits: 2 for a failed host, 4 for an unreachable one. 4 is also a playbook that cannot be read.
    statuses: &[
        (1..=1, Fatal, "error"),
        (2..=2, Fatal, "failed task, or usage"),
        (4..=4, Fatal, "unreadable playbook"),
        (5..=5, Fatal, "options or configuration"),
        (6..=6, Fatal, "failed tasks and unreachable hosts"),
        (8..=8, Fatal, "interrupted play"),
        (99..=99, Fatal, "interruption"),
        (250..=250, Ambiguous, "unexpected exception"),
    ],
    patterns: &[
        fatal(r#""msg": ".*\bvia ssh: .*\bPermission denied \("#, "Permission denied").only(&[4..=4]),
        fatal(r#""msg": ".*\bvia ssh: .*Host key verification failed"#, "Host key verification failed")
            .only(&[4..=4]),
        retryable(r"^(?:fatal: \[.*\]: |\S+ \| )UNREACHABLE! => ", "UNREACHABLE").only(&[4..=4]),
    ],
    unsent: &[],
    http: false,
    // All of it but usage and parser errors is there.
    stdout: Stdout::Always,
    pager: Pager::Never,
};
