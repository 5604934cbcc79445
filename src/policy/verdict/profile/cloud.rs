//! The clouds of Amazon, Microsoft and Google, and the network messages of programs in Go.

use super::terminal::{Terminal, free, needs};
use super::{
    PLAIN, Pattern, Profile, Proof, ambiguous_status, fatal, fatal_status, http_status, relay, retryable,
};

/// A certificate that stays wrong. An unknown issuer is no proof: there may be one bad server behind
/// a name (kubernetes-sigs/cluster-api-provider-vsphere#495).
macro_rules! x509 {
    () => {
        concat!(
            r"x509: (?:certificate (?:has expired or is not yet valid: current time \S+ is after",
            r"|is valid for |is not valid for any |relies on legacy )|cannot validate certificate )",
        )
    };
}
pub(super) use x509;

/// Messages of Go's net and crypto packages about causes that pass. Every Go program prints them,
/// often in the middle of a line. A row anchors the permanent ones (`x509: `) on the prefix of its
/// program.
pub(super) const OF_GO: &[Pattern] = &[
    retryable(r"(?:^|[ :])connection refused\b", "refused connection").unsent(),
    retryable(r"(?:^|[ :])connection reset by peer\b", "reset connection"),
    retryable(r"(?:^|[ :])connection timed out\b", "timeout of a connection"),
    retryable(r"(?:^|[ :])broken pipe\b", "broken pipe"),
    retryable(r"\buse of closed network connection\b", "closed connection"),
    retryable(
        r"\bhttp2: (?:client connection (?:lost|force closed)|server sent GOAWAY)\b",
        "lost connection",
    ),
    retryable(r"\bhttp: server closed idle connection\b", "closed connection"),
    retryable(r"(?:^|[ :])no such host\b", "no such host"),
    retryable(r"\b[Tt]emporary failure in name resolution\b", "Temporary failure in name resolution"),
    retryable(r"(?:^|[ :])server misbehaving\b", "misbehaving name server"),
    retryable(r"(?:^|[ :])no route to host\b", "no route to host"),
    retryable(r"(?:^|[ :])network is unreachable\b", "unreachable network"),
    retryable(r"(?:^|[ :])i/o timeout\b", "i/o timeout"),
    retryable(r"\bTLS handshake timeout\b", "TLS handshake timeout"),
    // The clock of this machine is not set yet.
    retryable(
        r"\bx509: certificate has expired or is not yet valid: current time \S+ is before ",
        "early clock",
    ),
    retryable(r"\bClient\.Timeout exceeded\b", "exceeded Client.Timeout"),
    retryable(r"\bcontext deadline exceeded\b", "exceeded context deadline"),
    retryable(r"(?:^|: )(?:unexpected )?EOF$", "EOF"),
];

/// An error of a service, with its code and the start of its words.
macro_rules! aws {
    ($code:literal) => {
        aws!($code, "")
    };
    ($code:literal, $words:literal) => {
        concat!(
            r"^(?:(?:upload|download|copy|move|delete|remove_bucket) failed: .* |fatal error: |aws: \[ERROR\]: )?",
            r"An error occurred \(",
            $code,
            r"\) when calling the \w+ operation(?: \(reached max retries: [0-9]+\))?: ",
            $words
        )
    };
}

// These are no proof. Something just created is not visible everywhere yet: NoSuch*, NotFound, 404,
// a permission, an access key (docs.aws.amazon.com, IAM, "Changes that I make are not always
// immediately visible"; boto/botocore#3600). "Unable to locate credentials" is also the answer when the metadata
// service is slow (boto/botocore#2117, buildkite/elastic-ci-stack-for-aws#637).
const OF_AWS: &[Pattern] = &[
    http_status(
        r"^(?:(?:upload|download|copy|move|delete) failed: .* |fatal error: )?An error occurred \((40[0-25-9]|4[1-9][0-9]|5[0-9]{2})\) when calling the ",
    ),
    fatal(aws!(r"AccessDenied\w*", r".* with an explicit deny\b"), "AccessDenied"),
    fatal(aws!(r"AuthFailure"), "AuthFailure"),
    fatal(aws!(r"OptInRequired"), "OptInRequired"),
    fatal(aws!(r"SignatureDoesNotMatch"), "SignatureDoesNotMatch"),
    fatal(aws!(r"ExpiredToken\w*"), "ExpiredToken"),
    fatal(aws!(r"Validation\w*"), "Validation"),
    fatal(aws!(r"InvalidParameter\w*"), "InvalidParameter"),
    fatal(aws!(r"InvalidAction"), "InvalidAction"),
    fatal(aws!(r"\w+\.Malformed"), "Malformed"),
    fatal(aws!(r"Malformed\w*"), "Malformed"),
    fatal(aws!(r"\w*Already(?:Exists|OwnedByYou)\w*"), "AlreadyExists"),
    fatal(aws!(r"ResourceConflict\w*", r"Function already exist"), "AlreadyExists"),
    fatal(aws!(r"ResourceInUse\w*", r"Table already exists"), "AlreadyExists"),
    fatal(aws!(r"(?:Instance|Vcpu)LimitExceeded"), "LimitExceeded"),
    fatal(aws!(r"LimitExceeded", r"Cannot exceed quota "), "LimitExceeded"),
    fatal(r"^Waiter \w+ failed: Waiter encountered a terminal failure state", "terminal state"),
    fatal(r"^The config profile \(.*\) could not be found", "missing config profile"),
    fatal(r"^You must specify a region", "missing region"),
    fatal(r"^The user-provided path .* does not exist", "missing file"),
    fatal(r"^Error parsing parameter ", "invalid parameter"),
    fatal(r"^Parameter validation failed:", "invalid parameter"),
    fatal(r"^Unknown options: ", "Unknown options"),
    fatal(r"^aws: error: ", "usage"),
    fatal(r"^SSL validation failed for .*certificate verify failed", "unverified certificate"),
    fatal(
        r"^(?:The SSO session associated with this profile has expired|Error when retrieving token from sso: )",
        "expired session",
    ),
    retryable(aws!(r"\w*Thrott\w*"), "Throttling"),
    retryable(aws!(r"SlowDown"), "SlowDown"),
    retryable(aws!(r"RequestLimitExceeded"), "RequestLimitExceeded"),
    retryable(aws!(r"TooManyRequests\w*"), "TooManyRequests"),
    retryable(aws!(r"ProvisionedThroughputExceeded\w*"), "ProvisionedThroughputExceeded"),
    retryable(aws!(r"RequestTimeout\w*"), "RequestTimeout"),
    retryable(aws!(r"Internal\w+"), "InternalError"),
    retryable(aws!(r"Service(?:Unavailable|Exception|Failure)\w*"), "ServiceUnavailable"),
    retryable(aws!(r"Unavailable"), "ServiceUnavailable"),
    retryable(aws!(r"DependencyViolation"), "DependencyViolation"),
    retryable(aws!(r"Operation(?:Aborted|InProgress)\w*"), "operation in progress"),
    retryable(aws!(r"Concurrent\w+"), "concurrent change"),
    retryable(aws!(r"PriorRequestNotComplete"), "PriorRequestNotComplete"),
    retryable(aws!(r"TransactionInProgress\w*"), "operation in progress"),
    retryable(aws!(r"\w+", r".*_IN_PROGRESS\b"), "operation in progress"),
    retryable(
        aws!(r"\w+", r".*\b(?:in progress|is (?:being|currently)|try again|still)\b"),
        "operation in progress",
    ),
    retryable(
        aws!(
            r"(?:Invalid|Validation|Malformed)\w*",
            r"(?i).*(?:\brole\b|\bassume|IamInstanceProfile|\bIAM\b|\bprincipals?\b|\bpermissions?\b|Could not deliver test message)"
        ),
        "missing role",
    ),
    retryable(aws!(r"\w+", r"Stack \S+ does not exist"), "missing stack"),
    retryable(aws!(r"ResourceInUse\w*"), "ResourceInUse").general(),
    retryable(aws!(r"ResourceConflict\w*"), "ResourceConflict").general(),
    retryable(aws!(r"(?:NoSuch\w+|\w+\.NotFound|ResourceNotFound\w*|404)"), "missing resource").general(),
    // The clock is not set yet, or the upload was too slow.
    retryable(aws!(r"Request(?:Expired|TimeTooSkewed)"), "wrong clock"),
    retryable(
        r"^An error occurred \(AccessDenied\w*\) when calling the AssumeRole\w* operation",
        "missing role",
    ),
    retryable(aws!(r"AccessDenied\w*|\w*Unauthorized\w*"), "AccessDenied").general(),
    retryable(aws!(r"UnrecognizedClient\w*|Invalid(?:ClientTokenId|AccessKeyId)"), "unknown credentials")
        .general(),
    retryable(r"^Waiter \w+ failed: Max attempts exceeded", "timeout of a wait"),
    retryable(r"\bCould not connect to the endpoint URL: ", "no connection to the endpoint URL"),
    retryable(r"\b(?:Read|Connect) timeout on endpoint URL: ", "timeout on endpoint URL"),
    retryable(r"\bConnection was closed before we received a valid response", "closed connection"),
    retryable(r"\bFurther retries may succeed:", "unparsable response"),
    retryable(r"^Unable to locate credentials", "missing credentials").general(),
];

pub(super) const AWS: Profile = Profile {
    name: "aws",
    programs: &["aws"],
    source: "aws help return-codes",
    // Version 1 exits with 255 for nearly all errors. Status 2 also means that `s3` skipped a file,
    // which may have vanished while it was read.
    statuses: &[
        ambiguous_status(1..=1, "failed S3 transfers"),
        ambiguous_status(2..=2, "usage, or skipped S3 files"),
        fatal_status(130..=130, Proof::Interrupted, "interruption"),
        fatal_status(252..=252, Proof::Usage, "command syntax"),
        ambiguous_status(253..=253, "configuration or credentials"),
        ambiguous_status(254..=254, "error response from the service"),
        ambiguous_status(255..=255, "error"),
    ],
    patterns: OF_AWS,
    relays: &[
        relay("ssm start-session", 0, &[]),
        relay("ecs execute-command", 0, &[]),
        relay("logs tail", 0, &[]),
    ],
    terminal: Terminal::needed_but(&[
        needs("configure"),
        needs("sso"),
        needs("ssm"),
        needs("ecs"),
        needs("login"),
        needs("help"),
        needs("").with(&[&["--cli-auto-prompt"]]),
        free("").with(&[&["--no-cli-pager"]]),
    ])
    .valued(
        "",
        &[
            "--region",
            "--profile",
            "--output",
            "--endpoint-url",
            "--query",
            "--color",
            "--ca-bundle",
            "--cli-read-timeout",
            "--cli-connect-timeout",
            "--cli-binary-format",
        ],
    ),
    ..PLAIN
};

/// An error of Azure Resource Manager or of a service, with its code.
macro_rules! az {
    ($code:literal) => {
        concat!(r"^ERROR: \(", $code, r"\) ")
    };
}

// ResourceNotFound, SubscriptionNotFound, MissingSubscriptionRegistration and AuthorizationFailed
// are no proof: a resource, a registration and a role assignment may be just created.
const OF_AZ: &[Pattern] = &[
    fatal(
        az!(
            r"Invalid(?:Parameter|ResourceGroupLocation|ResourceLocation|ResourceName|RequestContent|RequestFormat|ApiVersionParameter|Template|Location)"
        ),
        "Invalid",
    ),
    fatal(az!(r"InvalidAuthenticationToken\w*"), "InvalidAuthenticationToken"),
    fatal(az!(r"LocationNotAvailable\w*"), "LocationNotAvailable"),
    fatal(az!(r"RequestDisallowedByPolicy"), "RequestDisallowedByPolicy"),
    fatal(az!(r"ExpiredAuthenticationToken"), "ExpiredAuthenticationToken"),
    fatal(az!(r"ScopeLocked"), "ScopeLocked"),
    fatal(az!(r"\w*QuotaExceeded"), "QuotaExceeded"),
    fatal(az!(r"\w+AlreadyExists"), "AlreadyExists"),
    fatal(
        r"^ERROR: .*\bErrorCode:(?:AuthenticationFailed|\w+AlreadyExists|LeaseIdMissing)\b",
        "error of the storage",
    ),
    fatal(r"^ERROR: Authentication failure\.", "failed authentication"),
    fatal(r"^ERROR: \S+ is misspelled or not recognized by the system", "unknown command"),
    fatal(r"^ERROR: '\S+' is misspelled or not recognized by the system", "unknown command"),
    fatal(r"^ERROR: the following arguments are required: ", "missing argument"),
    fatal(r"^ERROR: unrecognized arguments: ", "unknown argument"),
    fatal(r"^ERROR: argument \S+: ", "invalid argument"),
    fatal(r"^az(?: \w+)*: error: ", "usage"),
    fatal(r"^ERROR: Please run 'az login' to setup account", "missing login"),
    fatal(r"^ERROR: The subscription of .* doesn't exist in cloud ", "unknown subscription"),
    fatal(r"^ERROR: Subscription '.*' not found\.", "unknown subscription"),
    fatal(r"^ERROR: \[Errno 2\] No such file or directory: ", "missing file"),
    fatal(r"^ERROR: AADSTS(?:50034|50126|90002)\b", "failed login"),
    retryable(
        az!(r"AnotherOperationInProgress|RetryableError|ServerTimeout|TooManyRequests|GatewayTimeout"),
        "temporary error",
    ),
    retryable(
        az!(r"(?:Internal\w*Error|ServiceUnavailable|ServerBusy|\w+BeingDeleted|OperationPreempted)"),
        "temporary error",
    ),
    retryable(
        r"^ERROR: .*\b(?:another operation|operation is) (?:is )?(?:already )?in progress\b",
        "operation in progress",
    ),
    retryable(r"^ERROR: .*\bAnother operation .*\bis in progress\b", "operation in progress"),
    retryable(
        r"^ERROR: .*\bErrorCode:(?:ServerBusy|\w+BeingDeleted|OperationTimedOut|InternalError)\b",
        "temporary error of the storage",
    ),
    retryable(
        r"^ERROR: (?:Service Unavailable|Too Many Requests|Bad Gateway|Gateway Timeout|Internal Server Error)\b",
        "temporary error",
    ),
    retryable(
        r"^ERROR: .*(?:Connection aborted|Connection broken|Connection refused|Max retries exceeded with url)",
        "connection error",
    ),
    retryable(
        r"^ERROR: .*(?:Name or service not known|Failed to resolve|Temporary failure in name resolution)",
        "unresolved host name",
    ),
    retryable(r"^ERROR: .*(?:[Rr]ead timed out|[Cc]onnect(?:ion)? timeout|connection timed out)", "timeout"),
    retryable(
        az!(r"(?:ResourceNotFound|ResourceGroupNotFound|PrincipalNotFound|SubscriptionNotFound|NotFound)"),
        "missing resource",
    )
    .general(),
    retryable(az!(r"AuthorizationFailed"), "AuthorizationFailed").general(),
    retryable(az!(r"MissingSubscriptionRegistration"), "MissingSubscriptionRegistration").general(),
    // A new application or secret: https://github.com/hashicorp/vault-plugin-secrets-azure/issues/26
    retryable(r"^ERROR: AADSTS(?:7000215|700016)\b", "unknown application or secret").general(),
];

pub(super) const AZ: Profile = Profile {
    name: "az",
    programs: &["az"],
    source: "Azure CLI, exit codes; Azure Resource Manager, common errors",
    // 3 means a missing resource, which may be just created.
    statuses: &[
        ambiguous_status(1..=1, "error"),
        ambiguous_status(2..=2, "usage"),
        ambiguous_status(3..=3, "missing resource"),
    ],
    patterns: OF_AZ,
    // Details may follow on the next lines.
    wraps: true,
    relays: &[
        relay("ssh", 0, &[]),
        relay("container exec", 0, &[]),
        relay("container logs", 0, &[]),
        relay("containerapp exec", 0, &[]),
        relay("containerapp logs", 0, &[]),
        relay("webapp log", 0, &[]),
        relay("webapp ssh", 0, &[]),
        relay("aks command", 0, &[]),
        relay("vm run-command", 0, &[]),
        relay("acr build", 0, &[]),
        relay("acr run", 0, &[]),
    ],
    terminal: Terminal::free_but(&[
        needs("interactive"),
        needs("login"),
        needs("ssh"),
        needs("configure"),
        needs("init"),
        needs("find"),
        needs("feedback"),
        needs("serial-console"),
        needs("container exec"),
        needs("container attach"),
        needs("containerapp exec"),
        needs("webapp ssh"),
    ]),
    ..PLAIN
};

/// An error of gcloud about one of its commands, or a crash of gcloud.
macro_rules! gcloud {
    ($words:literal) => {
        concat!(r"^ERROR: (?:\(gcloud[^)]*\) |gcloud crashed |Failed to \w+ \w+ \[.*\]: )(?:.*\W)?", $words)
    };
}

/// An error of gsutil, with its class.
macro_rules! gsutil {
    ($words:literal) => {
        concat!(r"^(?:[A-Z]\w+Exception|[A-Z]\w+Error): ", $words)
    };
}

// NOT_FOUND is no proof: the resource may be just created. A new IAM binding and a newly enabled
// API take minutes (cloud.google.com, IAM, "Access change propagation"). 401 and 403 may also mean
// that the service of the logins is away (https://github.com/broadinstitute/gatk/issues/3735).
const OF_GCLOUD: &[Pattern] = &[
    http_status(r"^ERROR: \(gcloud[^)]*\) .*, 'status': (40[025-9]|4[1-9][0-9]|5[0-9]{2})\}>"),
    http_status(r"^ERROR: \(gcloud[^)]*\) HTTPError (40[025-8]|4[1-9][0-9]|5[0-9]{2}): "),
    http_status(
        r"^(?:ServiceException|AccessDeniedException|BadRequestException|UnauthorizedException): (40[025-8]|4[1-9][0-9]|5[0-9]{2}) ",
    ),
    fatal(gcloud!(r"UNAUTHENTICATED: "), "UNAUTHENTICATED"),
    fatal(gcloud!(r"Request had invalid authentication credentials"), "invalid credentials"),
    fatal(gcloud!(r"Reauthentication failed"), "failed authentication"),
    fatal(gcloud!(r"INVALID_ARGUMENT: "), "INVALID_ARGUMENT"),
    fatal(gcloud!(r"Request contains an invalid argument"), "invalid argument"),
    fatal(gcloud!(r"(?:ALREADY_EXISTS: |Resource already exists )"), "ALREADY_EXISTS"),
    fatal(gcloud!(r"is the subject of a conflict: .* already exists "), "ALREADY_EXISTS"),
    fatal(gcloud!(r"You do not currently have an active account selected"), "missing login"),
    fatal(gcloud!(r"The project property is set to the empty string"), "missing project"),
    fatal(gcloud!(r"Unable to read file \["), "missing file"),
    fatal(gcloud!(r"Cannot activate configuration "), "unknown configuration"),
    fatal(gcloud!(r"Invalid choice: "), "unknown command"),
    fatal(gcloud!(r"unrecognized arguments: "), "unknown argument"),
    fatal(gcloud!(r"argument \S+: "), "invalid argument"),
    fatal(gsutil!(r"Invalid command "), "unknown command"),
    fatal(gsutil!(r"The \w+ command requires "), "wrong number of arguments"),
    fatal(gsutil!(r"(?:Unrecognized scheme|Invalid bucket name in URL) "), "invalid URL"),
    fatal(gsutil!(r"409 BucketNotEmpty "), "BucketNotEmpty"),
    fatal(r"^credentials\. Please visit https://cloud\.google\.com/console", "missing credentials"),
    retryable(
        gcloud!(r"(?:RESOURCE_EXHAUSTED|UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED|INTERNAL): "),
        "temporary error",
    ),
    retryable(gcloud!(r"The operation was aborted"), "aborted operation"),
    retryable(
        gcloud!(r"The service (?:was unable to fulfill your request|is currently unavailable)"),
        "unavailable service",
    ),
    retryable(gcloud!(r"is not ready\b"), "unready resource"),
    retryable(
        gcloud!(
            r"(?:running incompatible operation|[Aa]nother operation (?:was|is) (?:already )?in progress)"
        ),
        "operation in progress",
    ),
    retryable(gcloud!(r"There were concurrent policy changes"), "concurrent change"),
    retryable(gcloud!(r"has not been used in project \S+ before or it is disabled"), "disabled API"),
    retryable(gcloud!(r"Service account \S+ does not exist"), "missing service account"),
    retryable(gcloud!(r"already being used by "), "resource in use").general(),
    retryable(
        gcloud!(r"(?:Required '\S+' permission for |PERMISSION_DENIED: |does not have permission to access |User not authorized to perform this action)"),
        "denied permission",
    )
    .general(),
    retryable(
        gcloud!(
            r"(?:ConnectionError|ConnectTimeout|ReadTimeout|ChunkedEncodingError|ServerNotFoundError|TransportError)\)?: "
        ),
        "connection error",
    ),
    retryable(r"^(?:OSError|ConnectionError|ServerNotFoundError|socket\.\w+): ", "connection error"),
];

pub(super) const GCLOUD: Profile = Profile {
    name: "gcloud",
    programs: &["gcloud", "gsutil"],
    source: "google.rpc.Code; Cloud Storage, status codes; the Cloud SDK's core/exceptions.py",
    // `compute ssh` ends with the status of the remote command.
    statuses: &[ambiguous_status(1..=1, "error"), ambiguous_status(2..=2, "usage")],
    patterns: OF_GCLOUD,
    // A message may go on in a list below it.
    wraps: true,
    relays: &[
        relay("compute ssh", 0, &[]),
        relay("compute scp", 0, &[]),
        relay("builds submit", 0, &[]),
        relay("builds log", 0, &[]),
        relay("logging read", 0, &[]),
        relay("functions logs", 0, &[]),
        relay("app logs", 0, &[]),
        relay("cloud-shell ssh", 0, &[]),
    ],
    terminal: Terminal::free_but(&[
        needs("help"),
        needs("topic"),
        needs("init"),
        needs("config"),
        needs("feedback"),
        needs("auth login"),
        needs("auth application-default login"),
        needs("compute ssh"),
        needs("compute connect-to-serial-port"),
        needs("cloud-shell"),
        needs("interactive"),
        needs("beta interactive"),
        needs("alpha interactive"),
    ])
    .valued("", &["--project", "--account", "--configuration", "--format", "--verbosity"]),
    ..PLAIN
};
