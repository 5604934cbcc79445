//! Infrastructure as code, and GitHub's command line.

use super::cloud::{OF_GO, x509};
use super::terminal::{Terminal, free, needs};
use super::{
    PLAIN, Pattern, Profile, Proof, Relay, WatchStdout, ambiguous_status, fatal, fatal_status, http_status,
    joined, relay, retryable,
};

// No proof: a 401, which GitHub also answers to a valid token
// (https://github.com/Azure/azure-rest-api-specs/issues/39586); a 404 or 422, which may be about a
// branch, a run, a release or a workflow that is not there yet; a 409, because a merge may be going on.
const OF_GH: &[Pattern] = &[
    // A 403 may be a rate limit, so it is not here.
    http_status(r"^gh: (?:.*\()?HTTP (40[025-8]|41[0-9]|42[013-9]|4[3-9][0-9]|5[0-9]{2})\)?$"),
    http_status(r"^(?:.*: )?HTTP (40[025-8]|41[0-9]|42[013-9]|4[3-9][0-9]|5[0-9]{2}): "),
    http_status(r"^non-200 OK status code: (40[025-8]|41[0-9]|42[013-9]|4[3-9][0-9]|5[0-9]{2}) "),
    fatal(
        r"^(?:gh: |GraphQL: |.*HTTP 403: )Resource (?:not accessible by |protected by organization SAML )",
        "inaccessible resource",
    ),
    fatal(r"^(?:gh: |GraphQL: |.*HTTP 403: )Must have admin rights to ", "missing admin rights"),
    fatal(r"^GraphQL: Could not resolve to ", "unknown name"),
    fatal(r"^unknown (?:shorthand )?flag: ", "unknown flag"),
    fatal(r"^unknown command ", "unknown command"),
    fatal(r"^accepts .* arg\(s\), received ", "wrong number of arguments"),
    fatal(r"^must pass name argument", "wrong number of arguments"),
    fatal(r#"^(?:failed to determine base repo|argument error): expected the ""#, "invalid repository name"),
    fatal(r"^invalid path: ", "invalid repository name"),
    fatal(r"^(?:failed to run git: )?fatal: not a git repository", "missing git repository"),
    fatal(r"^no pull requests found", "no pull requests"),
    fatal(concat!(r#"^(?:Get|Post|Patch|Put|Delete) "\S+": .*\b"#, x509!()), "x509"),
    retryable(r"^(?:gh: |GraphQL: |.*HTTP (?:403|429): ).*(?i)\brate limit\b", "rate limit"),
    retryable(r"^gh: .*\babuse detection mechanism\b", "rate limit"),
    retryable(r"^(?:gh: |GraphQL: |.*HTTP 40[59]: )Base branch was modified\b", "modified base branch"),
    retryable(r"\bwas submitted too quickly\b", "rate limit"),
    retryable(r"^error connecting to ", "connection error"),
    retryable(r"^GraphQL: Something went wrong while executing your query", "unexplained server error"),
    retryable(r"^release not found", "missing release").general(),
    retryable(r"^(?:gh: |.*HTTP 401: |non-200 OK status code: 401 .*)Bad credentials\b", "Bad credentials")
        .general(),
];

/// A subcommand of gh itself. The first that fits counts.
const fn own(command: &'static str) -> Relay {
    relay(command, 0, &[0..=255])
}

pub(super) const GH: Profile = Profile {
    name: "gh",
    programs: &["gh"],
    source: "gh help exit-codes",
    statuses: &[
        ambiguous_status(1..=1, "error"),
        fatal_status(2..=2, Proof::Interrupted, "cancellation"),
        fatal_status(4..=4, Proof::Usage, "missing authentication"),
        ambiguous_status(8..=8, "pending checks"),
    ],
    patterns: &joined::<{ OF_GH.len() + OF_GO.len() }>(OF_GH, OF_GO),
    // Any other word is an extension, which has statuses of its own.
    relays: &[
        relay("codespace ssh", 0, &[]),
        relay("codespace logs", 0, &[]),
        own("api"),
        own("attestation"),
        own("auth"),
        own("browse"),
        own("cache"),
        own("codespace"),
        own("gist"),
        own("issue"),
        own("label"),
        own("org"),
        own("pr"),
        own("project"),
        own("release"),
        own("repo"),
        own("ruleset"),
        own("run"),
        own("search"),
        own("secret"),
        own("status"),
        own("variable"),
        own("workflow"),
        relay("", 1, &[]),
    ],
    http: true,
    stdout: WatchStdout::With { options: &["-i", "--include"], valued: "XHfFqtp", to_file: &[] },
    terminal: Terminal::NEEDED,
    ..PLAIN
};

/// The heading of an error of terraform.
macro_rules! terraform {
    ($words:literal) => {
        concat!(r"^Error: ", $words)
    };
}

/// An error of the AWS provider, in a heading or below it.
macro_rules! of_provider {
    ($words:literal) => {
        concat!(r"^(?:Error: .*)?operation error .*", $words)
    };
}

// A status below 500 of AWS says little: it answers 400 for throttling and for conflicts, and 403 or
// 404 for what is just created.
const OF_TERRAFORM: &[Pattern] = &[
    http_status(r"^Could not download module .*\bbad response code: ([0-9]{3})\b"),
    http_status(of_provider!(r"\bStatusCode: (429|5[0-9]{2}),")),
    http_status(r"^Error: .*\bstatus code: (429|5[0-9]{2}),"),
    // A 403 of this service may be a rate limit.
    http_status(r"^(?:Error: .*)?googleapi: Error (429|5[0-9]{2}):"),
    fatal(of_provider!(r"\bAccessDenied\w*: .* with an explicit deny\b"), "AccessDenied"),
    fatal(of_provider!(r"\bExpiredToken\w*: "), "ExpiredToken"),
    fatal(of_provider!(r", \w*AlreadyExists\w*: "), "AlreadyExists"),
    fatal(of_provider!(r", (?:api error )?MalformedPolicyDocument: Syntax "), "Malformed"),
    fatal(
        terraform!(r"Unsupported (?:argument|block type|attribute|Terraform Core version|operator)"),
        "unsupported configuration",
    ),
    fatal(
        terraform!(
            r"Invalid (?:argument name|attribute|backend|block definition|character|combination|count|default|escape|expression|for_each|function argument|legacy|local|module|multi-line|number|operand|output|provider (?:configuration|local|name|source)|quoted|reference|required|resource (?:name|type)|single-argument|template|type|value for|variable|version)"
        ),
        "invalid configuration",
    ),
    fatal(terraform!(r"(?i)invalid value for "), "invalid configuration"),
    fatal(
        terraform!(
            r"(?:Incorrect (?:attribute value|condition|default|value) type|Inappropriate value for |Duplicate )"
        ),
        "invalid configuration",
    ),
    fatal(
        terraform!(
            r"(?:Argument or block definition required|Unclosed |Unterminated |Self-referential |Extraneous label|Call to unknown function|Cycle: )"
        ),
        "invalid configuration",
    ),
    fatal(
        terraform!(
            r"Missing (?:required argument|name for |item separator|newline|attribute|map|key|base|resource|required provider|expression|configuration)"
        ),
        "missing configuration",
    ),
    fatal(terraform!(r"Reference to undeclared "), "undeclared name"),
    fatal(terraform!(r"No value for required variable"), "missing variable"),
    fatal(
        terraform!(
            r"(?:Inconsistent dependency lock file|Backend (?:initialization required|configuration changed)|Module not installed|Required plugins are not installed)"
        ),
        "missing initialization",
    ),
    fatal(terraform!(r"Unreadable module directory"), "missing module"),
    fatal(terraform!(r"(?:Failed to parse command-line flags|Too many command line arguments)"), "usage"),
    fatal(terraform!(r"resource address .* does not exist in the configuration"), "undeclared name"),
    fatal(
        r"^Could not retrieve the list of available versions for provider \S+ no available releases match the given constraints",
        "no matching version",
    ),
    fatal(
        r"^The following dependency selections recorded in the lock file are inconsistent",
        "missing initialization",
    ),
    fatal(
        terraform!(
            r"(?:Error refreshing state|error loading state): HTTP remote state endpoint (?:requires|invalid) auth"
        ),
        "missing authorization",
    ),
    // The words below this heading are those of another program.
    retryable(r"^(?:\W+ )?Error: (?:(?:local|remote)-exec|file) provisioner error", "provisioner error"),
    retryable(r"^(?:\W+ )?Error: External Program Execution Failed", "failed external program"),
    retryable(r"^(?:\W+ )?Error: Error acquiring the state lock\b", "Error acquiring the state lock"),
    retryable(r"\bgiving up after [0-9]+ attempt\(s\)", "too many attempts"),
    retryable(r"\bplease try again later: ", "request to try again later"),
    retryable(of_provider!(r"\bexceeded maximum number of attempts\b"), "too many attempts"),
    retryable(r"^(?:Error: .*)?\b(?:Throttling|RequestLimitExceeded|TooManyRequests)", "Throttling"),
    retryable(
        of_provider!(
            r"\b(?:DependencyViolation|OperationAborted|ResourceInUse|ResourceConflict|IncorrectState)"
        ),
        "operation in progress",
    ),
    retryable(of_provider!(r"(?i)\brole\b.* cannot be assumed"), "missing role"),
    retryable(
        r"^Error: .*\b(?:AnotherOperationInProgress|RetryableError|another operation .*in progress)",
        "operation in progress",
    ),
    retryable(r"^(?:Could not download module .*)?fatal: unable to access '", "inaccessible git repository"),
    retryable(r"^Error: .*\bS3 bucket .* does not exist\.", "missing bucket"),
];

pub(super) const TERRAFORM: Profile = Profile {
    name: "terraform",
    programs: &["terraform", "tofu"],
    source: "terraform plan -help, -detailed-exitcode; the headings in internal/",
    statuses: &[ambiguous_status(1..=1, "error"), fatal_status(2..=2, Proof::Answer, "planned changes")],
    patterns: &joined::<{ OF_TERRAFORM.len() + OF_GO.len() }>(OF_TERRAFORM, OF_GO),
    wraps: true,
    terminal: Terminal::free_but(&[
        free("apply").with(&[&["-auto-approve", "--auto-approve"]]),
        needs("apply"),
        free("destroy").with(&[&["-auto-approve", "--auto-approve"]]),
        needs("destroy"),
        free("force-unlock").with(&[&["-force", "--force"]]),
        needs("force-unlock"),
        needs("console"),
        needs("login"),
        needs("import"),
    ]),
    ..PLAIN
};

/// The reason for an unreachable host.
macro_rules! unreachable {
    ($words:literal) => {
        concat!(r#""msg": ".*\bvia ssh: .*"#, $words)
    };
}

pub(super) const ANSIBLE: Profile = Profile {
    name: "ansible",
    programs: &["ansible", "ansible-playbook"],
    source: "ansible's executor/task_queue_manager.py and cli/__init__.py",
    // The status has bits: 2 for a failed host, 4 for an unreachable host. 4 also means that a
    // playbook cannot be read. The words of a failed task are those of another program.
    statuses: &[
        ambiguous_status(1..=1, "error"),
        ambiguous_status(2..=2, "failed task, or usage"),
        ambiguous_status(4..=4, "unreachable hosts, or unreadable playbook"),
        fatal_status(5..=5, Proof::Usage, "options or configuration"),
        ambiguous_status(6..=6, "failed tasks and unreachable hosts"),
        ambiguous_status(8..=8, "interrupted play"),
        fatal_status(99..=99, Proof::Interrupted, "interruption"),
        ambiguous_status(250..=250, "unexpected exception"),
    ],
    patterns: &[
        fatal(r"^\S+: error: (?:unrecognized arguments|argument |the following arguments)", "usage"),
        fatal(r#"^(?:    |fatal: .*)"msg": "The module \S+ was not found in configured module paths"#, "unknown module"),
        fatal(r"^(?:ERROR! |\[ERROR\]: )the playbook: .* could not be found", "missing playbook").only(&[1..=1]),
        // Not a host or a limit that matches nothing: the inventory may come from a service.
        fatal(r"^(?:ERROR! |\[ERROR\]: )the role .* was not found", "unknown name").only(&[1..=1]),
        fatal(r"^(?:ERROR! |\[ERROR\]: )(?:Unable to retrieve file contents|The vault password file )", "missing file").only(&[1..=1]),
        fatal(r"^(?:ERROR! |\[ERROR\]: )(?:couldn't resolve module/action|.* is not a valid attribute for a )", "invalid playbook").only(&[4..=4]),
        fatal(r"^(?:ERROR! |\[ERROR\]: )(?:We were unable to read either as JSON nor YAML|YAML parsing failed)", "invalid playbook").only(&[4..=4]),
        fatal(unreachable!(r"Host key verification failed"), "unverified host key").only(&[4..=4]),
        retryable(unreachable!(r"(?:Connection (?:refused|reset|closed|timed out)|timed out|No route to host|Network is unreachable|Could not resolve hostname|banner exchange)"), "connection error").only(&[4..=4, 6..=6]),
        retryable(r"^(?:fatal: \[.*\]: |\S+ \| )UNREACHABLE! => ", "UNREACHABLE").only(&[4..=4, 6..=6]).general(),
    ],
    // Everything but usage and parser errors goes to stdout.
    stdout: WatchStdout::Always,
    terminal: Terminal::free_but(&[needs("").with(&[&[
        "-k",
        "-K",
        "-J",
        "--ask-pass",
        "--ask-become-pass",
        "--ask-vault-pass",
        "--ask-vault-password",
        "--step",
        "@prompt",
    ]])])
    .valued("aBcefilmMPtuT", &[]),
    ..PLAIN
};
