//! Kubernetes, and the charts of its applications.

use super::cloud::{OF_GO, x509};
use super::terminal::{Terminal, free, needs};
use super::{PLAIN, Pattern, Profile, ambiguous_status, fatal, http_status, joined, relay, retryable};

/// An error of the API server, with its reason.
macro_rules! kubectl {
    ($reason:literal, $words:literal) => {
        concat!(r"^Error from server \(", $reason, r"\): (?:error when \w+ .*: )?", $words)
    };
}

// These are no proof: NotFound, because people wait for an object that another program creates;
// "no matches for kind" and "doesn't have a resource type", because a CRD may be just installed;
// Forbidden, because the server takes a moment to see a new role (kubernetes/kubernetes#95676);
// Unauthorized, because a cluster whose authenticator fails says the same
// (kubernetes-sigs/aws-iam-authenticator#30, Azure/kubelogin#271).
const OF_KUBECTL: &[Pattern] = &[
    fatal(kubectl!("Forbidden", r".* is forbidden: violates PodSecurity "), "violation of PodSecurity"),
    fatal(kubectl!(r"\w+", r#"admission webhook ".*" denied the request"#), "denial by a webhook"),
    // Not if it is about a file: two runs of `apply` may meet (kubernetes/kubernetes#44165).
    fatal(r#"^Error from server \(AlreadyExists\): \S+ ".*" already exists"#, "AlreadyExists"),
    fatal(kubectl!("Invalid", ""), "Invalid"),
    fatal(kubectl!("MethodNotAllowed", ""), "MethodNotAllowed"),
    fatal(kubectl!("BadRequest", r".* in version .* cannot be handled as a"), "BadRequest"),
    fatal(kubectl!("BadRequest", r"container \S+ is not valid for pod "), "unknown container"),
    fatal(r"^error: container \S+ is not valid for pod ", "unknown container"),
    fatal(r"^The request is invalid", "invalid request"),
    fatal(r#"^The \S+ ".*" is invalid: "#, "invalid object"),
    fatal(r"^error: Apply failed with [0-9]+ conflicts?: ", "conflict of field managers"),
    fatal(r"^[Ee]rror: unknown (?:shorthand )?flag: ", "unknown flag"),
    fatal(r"^[Ee]rror: unknown command ", "unknown command"),
    fatal(r"^Error: flags cannot be placed before plugin name: ", "unknown command"),
    fatal(
        r"^error: (?:Required resource not specified|You must provide one or more resources)",
        "missing resource",
    ),
    fatal(r#""command failed" err="required flag\(s\) "#, "missing flag"),
    fatal(r"^error: unable to match a printer suitable for the output format ", "unknown output format"),
    fatal(r"^error: the path .* does not exist", "missing path"),
    fatal(r"^error: \S+ doesn't exist in local filesystem", "missing path"),
    fatal(r"^error: (?:stat|open|lstat) \S+: no such file or directory", "no such file or directory"),
    fatal(r"^error: error parsing \S+: ", "unparsable file"),
    fatal(r"^error: unable to decode ", "undecodable file"),
    // Validation also fails if the schema cannot be fetched.
    fatal(
        r#"^error: error validating ".*": error validating data: (?:\[?(?:ValidationError|apiVersion not set|kind not set)|unknown object type|.*unknown field )"#,
        "failed validation",
    ),
    fatal(r"^[Ee]rror.*: context was not found for specified context", "missing context"),
    fatal(r"^error: (?:context .* does not exist|no context exists with the name: )", "missing context"),
    fatal(r"^error: unable to drain node .*declare no controller \(use --force", "pods without a controller"),
    fatal(concat!(r"^(?:Unable to connect to the server|error): .*\b", x509!()), "x509"),
    fatal(
        r"^(?:Unable to connect to the server|error): .*server gave HTTP response to HTTPS client",
        "HTTP response to HTTPS client",
    ),
    retryable(kubectl!("Conflict", ""), "Conflict"),
    retryable(kubectl!("TooManyRequests", ""), "TooManyRequests"),
    retryable(kubectl!("ServerTimeout", ""), "ServerTimeout"),
    retryable(kubectl!("Timeout", ""), "Timeout"),
    retryable(kubectl!("InternalError", ""), "InternalError"),
    retryable(kubectl!("ServiceUnavailable", ""), "ServiceUnavailable"),
    retryable(kubectl!("AlreadyExists", r"object is being deleted: "), "deletion in progress"),
    retryable(kubectl!("Forbidden", r".* because it is being terminated"), "deletion in progress"),
    retryable(kubectl!("Forbidden", r".* error looking up service account "), "missing service account"),
    retryable(kubectl!("BadRequest", r".* is waiting to start: "), "unready container"),
    retryable(
        kubectl!(r"\w+", r".*\bunable to upgrade connection: container not found "),
        "unready container",
    ),
    retryable(kubectl!("Invalid", r".*: provided (?:IP|port) is already allocated"), "address in use"),
    retryable(r#"^The \S+ ".*" is invalid: .*: provided (?:IP|port) is already allocated"#, "address in use"),
    retryable(r"^Error from server(?: \(\w+\))?: (?:error when \w+ .*: )?etcdserver: ", "etcdserver"),
    retryable(r"^The connection to the server \S+ was refused", "refused connection").unsent(),
    retryable(r"^error: timed out waiting for ", "timeout of a wait"),
    retryable(r"^error: .*: failed to download openapi: ", "missing schema").general(),
    retryable(r"\bno matches for kind ", "missing kind").general(),
    retryable(r"^error: the server doesn't have a resource type ", "missing resource type").general(),
    retryable(kubectl!("NotFound", ""), "NotFound").general(),
    retryable(kubectl!("AlreadyExists", ""), "AlreadyExists").general(),
    retryable(kubectl!("Forbidden", ""), "Forbidden").general(),
    retryable(r"^error: You must be logged in to the server", "missing login").general(),
    retryable(r"^Unable to connect to the server: ", "no connection to the server").general(),
];

pub(super) const KUBECTL: Profile = Profile {
    name: "kubectl",
    programs: &["kubectl"],
    source: "kubernetes.io, API conventions, HTTP status codes",
    // Status 1 of `diff` means that there are differences.
    statuses: &[ambiguous_status(1..=1, "error")],
    patterns: &joined::<{ OF_KUBECTL.len() + OF_GO.len() }>(OF_KUBECTL, OF_GO),
    relays: &[
        relay("exec", 0, &[]),
        relay("run", 0, &[]),
        relay("attach", 0, &[]),
        relay("debug", 0, &[]),
        relay("logs", 0, &[]),
    ],
    terminal: Terminal::needed_but(&[
        needs("exec").with(&[&["-t", "--tty", "-i", "--stdin"]]),
        free("exec"),
        needs("run").with(&[&["-t", "--tty", "-i", "--stdin"]]),
        free("run"),
        needs("attach").with(&[&["-t", "--tty", "-i", "--stdin"]]),
        free("attach"),
        needs("create").with(&[&["--edit"]]),
        free("create"),
        needs("delete").with(&[&["-i", "--interactive"]]),
        free("delete"),
        needs("apply edit-last-applied"),
        free("apply"),
        free("get"),
        free("describe"),
        free("logs"),
        free("wait"),
        free("rollout"),
        free("patch"),
        free("replace"),
        free("scale"),
        free("autoscale"),
        free("expose"),
        free("label"),
        free("annotate"),
        free("set"),
        free("top"),
        free("events"),
        free("explain"),
        free("version"),
        free("api-resources"),
        free("api-versions"),
        free("cluster-info"),
        free("config"),
        free("auth"),
        free("certificate"),
        free("cordon"),
        free("uncordon"),
        free("drain"),
        free("taint"),
        free("port-forward"),
        free("proxy"),
        free("cp"),
        free("kustomize"),
    ])
    .valued(
        "cfklLnosv",
        &[
            "--namespace",
            "--context",
            "--cluster",
            "--user",
            "--server",
            "--kubeconfig",
            "--token",
            "--as",
            "--as-group",
            "--request-timeout",
            "--certificate-authority",
            "--client-certificate",
            "--client-key",
        ],
    ),
    ..PLAIN
};

/// An error of helm, in any of its commands.
macro_rules! helm {
    ($words:literal) => {
        concat!(r"^(?:level=ERROR msg=|Error: ).*", $words)
    };
}

// These are no proof: "release: not found", because people wait for a release; "no matches for
// kind", because a CRD may be just installed; a missing chart version, because it may be just
// published.
const OF_HELM: &[Pattern] = &[
    http_status(r"^Error: .*\bfailed to fetch \S+ : ([0-9]{3}) "),
    http_status(r"^Error: .*: response status code (40[0-35-9]|4[1-9][0-9]|5[0-9]{2}): "),
    http_status(
        r"^Error: .*: unexpected status(?: code)?(?: from \w+ request to \S+:)? (40[0-35-9]|4[1-9][0-9]|5[0-9]{2})\b",
    ),
    fatal(helm!(r"\bcannot re-?use a name that is still in use"), "name in use"),
    fatal(helm!(r#"".*" has no deployed releases"#), "missing deployed release"),
    fatal(
        helm!(r"\bexists and cannot be imported into the current release: invalid ownership metadata"),
        "foreign resource",
    ),
    fatal(
        helm!(
            r"\b(?:values don't meet the specifications of the schema|execution error at |YAML parse error on |error converting YAML to JSON: |parse error at )"
        ),
        "invalid chart or values",
    ),
    fatal(helm!(r"\berror calling include: |\bnil pointer evaluating "), "invalid chart or values"),
    fatal(helm!(r"\bvalidation: chart\.metadata\."), "invalid chart or values"),
    fatal(helm!(r"\bfound in Chart\.yaml, but missing in charts/ directory: "), "missing dependency"),
    fatal(helm!(r"\brelease has no [0-9]+ version$"), "missing revision"),
    fatal(helm!(r"\bserver gave HTTP response to HTTPS client"), "HTTP response to HTTPS client"),
    fatal(helm!(r"\bunknown (?:shorthand )?flag: "), "unknown flag"),
    fatal(helm!(r"\bunknown command "), "unknown command"),
    fatal(helm!(r#""helm .*" (?:requires|accepts) "#), "wrong number of arguments"),
    fatal(
        helm!(
            r"\b(?:path .* not found|(?:open|stat) \S+: no such file or directory|Chart\.yaml file is missing)$"
        ),
        "missing chart",
    ),
    fatal(helm!(r"\brepo \S+ not found$"), "unknown repository"),
    fatal(helm!(r"\bnon-absolute URLs should be in form of "), "invalid chart name"),
    fatal(helm!(r#"\badmission webhook ".*" denied the request"#), "denial by a webhook"),
    fatal(
        helm!(
            r#"error validating "": error validating data: (?:\[?ValidationError|unknown object type|.*unknown field )"#
        ),
        "failed validation",
    ),
    fatal(
        concat!(r"^(?:level=ERROR msg=|Error: ).*\b[Kk]ubernetes cluster unreachable: .*\b", x509!()),
        "x509",
    ),
    fatal(
        helm!(
            r"\b[Kk]ubernetes cluster unreachable: invalid configuration: no configuration has been provided"
        ),
        "missing configuration",
    ),
    retryable(
        helm!(r"\banother operation \(install/upgrade/rollback\) is in progress"),
        "operation in progress",
    ),
    retryable(helm!(r"\btimed out waiting for the condition"), "timeout of a wait"),
    retryable(helm!(r"\bfailed calling webhook "), "failed webhook"),
    retryable(
        helm!(r"\bthe object has been modified; please apply your changes to the latest version"),
        "Conflict",
    ),
    retryable(helm!(r"\bobject is being deleted: "), "deletion in progress"),
    retryable(helm!(r"\bbecause it is being terminated"), "deletion in progress"),
    retryable(helm!(r"\betcdserver: "), "etcdserver"),
    retryable(helm!(r"\bthe server is currently unable to handle the request"), "ServiceUnavailable"),
    retryable(helm!(r"\bno matches for kind "), "missing kind").general(),
    retryable(helm!(r"\brelease: not found"), "missing release").general(),
    retryable(helm!(r#"\b(?:is|are) forbidden: User ".*" cannot "#), "Forbidden").general(),
    retryable(helm!(r"\b[Kk]ubernetes cluster unreachable: "), "unreachable cluster").general(),
];

pub(super) const HELM: Profile = Profile {
    name: "helm",
    programs: &["helm"],
    source: "helm's pkg/action, pkg/kube and pkg/cmd",
    statuses: &[ambiguous_status(1..=1, "error")],
    patterns: &joined::<{ OF_HELM.len() + OF_GO.len() }>(OF_HELM, OF_GO),
    relays: &[relay("test", 0, &[])],
    // An unknown subcommand is a plugin, which may run an editor.
    terminal: Terminal::needed_but(&[
        free("install"),
        free("upgrade"),
        free("rollback"),
        free("uninstall"),
        free("delete"),
        free("template"),
        free("lint"),
        free("package"),
        free("list"),
        free("ls"),
        free("status"),
        free("history"),
        free("get"),
        free("show"),
        free("search"),
        free("pull"),
        free("push"),
        free("dependency"),
        free("dep"),
        free("repo"),
        free("test"),
        free("verify"),
        free("version"),
        free("env"),
    ])
    .valued(
        "fn",
        &[
            "--namespace",
            "--kube-context",
            "--kubeconfig",
            "--kube-apiserver",
            "--kube-token",
            "--registry-config",
            "--repository-cache",
            "--repository-config",
            "--values",
            "--set",
            "--set-string",
            "--version",
            "--timeout",
        ],
    ),
    ..PLAIN
};
