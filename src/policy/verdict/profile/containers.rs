//! Containers, and the registries of their images.

use super::cloud::{OF_GO, x509};
use super::terminal::{Terminal, free, needs};
use super::{PLAIN, Pattern, Profile, ambiguous_status, fatal, http_status, joined, relay, retryable};

/// An error of docker's client or daemon.
macro_rules! docker {
    ($words:expr) => {
        concat!(r"^(?:docker: )?(?:Error response from daemon: |ERROR: failed to \w+: )(?:.*\b)?", $words)
    };
}

/// An error of podman, or of the push in docker, which prints no prefix.
macro_rules! podman {
    ($words:literal) => {
        concat!(
            r"^(?:docker: )?(?:Error: (?:initializing source|reading blob|writing blob|trying to reuse blob",
            r"|copying |creating build container|logging into|pinging container registry|authenticating creds)",
            r"[^!]*: )?",
            $words
        )
    };
}

// A registry may refuse a valid login for a moment, with 401, 403 or "denied"
// (https://github.com/rucio/rucio/issues/8746, https://github.com/ruby/ruby.wasm/issues/513).
// "manifest unknown" and "No such container" are no proof: the image may have been pushed a moment
// ago, and the container may be starting. A container name, a port or a volume may be in use by a
// container that is just being removed.
const OF_DOCKER: &[Pattern] = &[
    http_status(r"^(?:docker: )?request returned ([0-9]{3}) "),
    http_status(r"^(?:docker: )?Error.* received unexpected HTTP status: ([0-9]{3}) "),
    http_status(r"^received unexpected HTTP status: ([0-9]{3}) "),
    // A blob or a manifest may not be there yet.
    http_status(
        r"^(?:docker: )?E(?:rror|RROR).* unexpected status(?: code| from \w+ request to) \S+: (40[025-9]|4[1-9][0-9]|5[0-9]{2}) ",
    ),
    http_status(r"^Error: .*\bpinging container registry .* invalid status code from registry ([0-9]{3}) "),
    http_status(r"^Error: .* invalid status code from registry (40[025-9]|4[1-9][0-9]|5[0-9]{2}) "),
    fatal(docker!(r"pull access denied"), "denied pull access"),
    fatal(docker!(r"name unknown: "), "unknown repository name"),
    fatal(podman!(r"name unknown\b"), "unknown repository name"),
    fatal(docker!(r"no matching manifest for "), "no matching manifest"),
    fatal(docker!(r"unauthorized: incorrect username or password"), "invalid username or password"),
    fatal(podman!(r"unauthorized: incorrect"), "invalid username or password"),
    fatal(r"^Error: .*\binvalid username/password", "invalid username or password"),
    fatal(docker!(r"denied: requested access to the resource is denied"), "denied access"),
    fatal(podman!(r"(?:.*: )?denied: requested access to the resource is denied"), "denied access"),
    fatal(docker!(r"No such image: "), "No such image"),
    fatal(r"^Error: \S+: image not known$", "No such image"),
    fatal(docker!(r"This node is already part of a swarm"), "existing swarm"),
    fatal(r#"^Error: building at STEP ".*": Build error: Unknown instruction: "#, "unknown instruction"),
    fatal(r#"^Error: building at STEP ".*": checking on sources under "#, "missing source file"),
    fatal(r"^An image does not exist locally with the tag: ", "No such image"),
    fatal(r"^tag invalid: .* cannot be overwritten because the repository is immutable", "immutable tag"),
    fatal(docker!(x509!()), "x509"),
    fatal(concat!(r"^Error: .*\bpinging container registry .*\b", x509!()), "x509"),
    fatal(docker!(r"server gave HTTP response to HTTPS client"), "HTTP response to HTTPS client"),
    fatal(r"^Error: .*\bserver gave HTTP response to HTTPS client", "HTTP response to HTTPS client"),
    fatal(r"^(?:docker: |Error: )?invalid reference format", "invalid reference format"),
    fatal(r"^(?:docker: |Error: )?unknown (?:shorthand )?flag: ", "unknown flag"),
    fatal(r"^(?:docker: |Error: )unknown command", "unknown command"),
    fatal(
        r"^(?:docker: |Error: )?(?:flag needs an argument: |invalid argument .* for .* flag: )",
        "invalid flag",
    ),
    fatal(r"^docker: '.*' is not a docker command", "unknown docker command"),
    fatal(r"^docker: '.*' (?:requires|accepts) ", "wrong number of arguments"),
    fatal(r"^docker: invalid spec: ", "invalid volume"),
    fatal(r"^must specify at least one container source", "wrong number of arguments"),
    fatal(r"^unable to prepare context: ", "missing build context"),
    fatal(r"^Error: context must be a directory: ", "missing build context"),
    fatal(
        r#"^Failed to initialize: unable to resolve docker endpoint: context ".*": context not found"#,
        "missing context",
    ),
    retryable(
        r"^(?:docker: |Error: )?Cannot connect to the Docker daemon",
        "no connection to the Docker daemon",
    ),
    retryable(docker!(r"(?:unauthorized|denied): "), "refusal by the registry").general(),
    retryable(podman!(r"(?:.*: )?(?:unauthorized|denied)\b"), "refusal by the registry").general(),
    retryable(r"^Cannot connect to Podman\b", "no connection to the Podman service"),
    retryable(r"\btoomanyrequests: ", "toomanyrequests"),
    retryable(docker!(r"removal of container \S+ is already in progress"), "removal in progress"),
    retryable(docker!(r"Container \S+ is restarting"), "container restart"),
    retryable(docker!(r"rpc error: code = (?:Unavailable|DeadlineExceeded) "), "unavailable daemon"),
    retryable(docker!(r"update out of sequence"), "update out of sequence"),
    retryable(docker!(r"resource temporarily unavailable"), "temporary shortage"),
    retryable(
        docker!(r"port is already allocated|^(?:docker: )?Error.* address already in use"),
        "port in use",
    )
    .general(),
    retryable(docker!(r"Conflict\. The container name "), "container name in use").general(),
    retryable(r"^Error: .*: that name is already in use$", "container name in use").general(),
    retryable(docker!(r"No such container: "), "No such container").general(),
    retryable(r"^(?:docker: )?Error.*\bmanifest unknown\b", "unknown manifest").general(),
];

pub(super) const DOCKER: Profile = Profile {
    name: "docker",
    programs: &["docker", "podman"],
    source: "docker-run(1), podman(1), EXIT STATUS",
    // Any other status of `run` and `exec` belongs to the container. docker's client chooses 126
    // and 127 by words in the error of the daemon, such as "no such file or directory". podman
    // exits with 126 after any error of the runtime.
    statuses: &[
        ambiguous_status(1..=1, "error"),
        ambiguous_status(125..=125, "error of the client or the daemon"),
        ambiguous_status(126..=126, "unrunnable command in the container"),
        ambiguous_status(127..=127, "missing command in the container"),
    ],
    patterns: &joined::<{ OF_DOCKER.len() + OF_GO.len() }>(OF_DOCKER, OF_GO),
    relays: &[
        relay("run", 0, &[125..=125]),
        relay("exec", 0, &[125..=125]),
        relay("container run", 0, &[125..=125]),
        relay("container exec", 0, &[125..=125]),
        relay("container start", 0, &[125..=125]),
        relay("container logs", 0, &[]),
        relay("container attach", 0, &[]),
        relay("compose run", 0, &[]),
        relay("compose exec", 0, &[]),
        relay("compose up", 0, &[]),
        relay("compose logs", 0, &[]),
        relay("compose attach", 0, &[]),
        relay("service logs", 0, &[]),
        relay("logs", 0, &[]),
        relay("attach", 0, &[]),
        relay("start", 0, &[125..=125]),
    ],
    terminal: Terminal::needed_but(&[
        needs("run").with(&[&["-t", "--tty", "-i", "--interactive"]]),
        free("run"),
        needs("exec").with(&[&["-t", "--tty", "-i", "--interactive"]]),
        free("exec"),
        needs("container run").with(&[&["-t", "--tty", "-i", "--interactive"]]),
        free("container run"),
        needs("container exec").with(&[&["-t", "--tty", "-i", "--interactive"]]),
        free("container exec"),
        needs("start").with(&[&["-a", "--attach", "-i", "--interactive"]]),
        free("start"),
        free("compose up").with(&[&["-d", "--detach", "--wait"]]),
        free("pull"),
        free("push"),
        free("build"),
        free("create"),
        free("images"),
        free("ps"),
        free("inspect"),
        free("info"),
        free("version"),
        free("search"),
        free("tag"),
        free("rm"),
        free("rmi"),
        free("kill"),
        free("stop"),
        free("restart"),
        free("wait"),
        free("logs"),
        free("load"),
        free("save"),
        free("import"),
        free("export"),
        free("cp"),
        free("image pull"),
        free("image push"),
        free("image build"),
        free("image ls"),
        free("image inspect"),
        free("image rm"),
        free("manifest"),
        free("buildx build"),
        free("buildx bake"),
        free("compose pull"),
        free("compose push"),
        free("compose build"),
        free("compose ps"),
        free("compose config"),
        free("compose logs"),
        free("compose down"),
        free("compose stop"),
        free("network create"),
        free("volume create"),
    ])
    .valued(
        "acefHhlmpuvw",
        &[
            "--ansi",
            "--context",
            "--host",
            "--log-level",
            "--config",
            "--file",
            "--project-name",
            "--profile",
            "--connection",
            "--root",
            "--runroot",
        ],
    ),
    ..PLAIN
};

/// A fatal message of skopeo, in a log line or on a terminal, or an error of crane.
macro_rules! skopeo {
    ($words:expr) => {
        concat!(r#"^(?:time="[^"]*" level=fatal msg="|FATA\[[0-9]+\] |Error: )(?:.*\b)?"#, $words)
    };
}

// "manifest unknown" and status 404 of a blob are no proof: the image may have been pushed a moment
// ago.
const OF_SKOPEO: &[Pattern] = &[
    http_status(skopeo!(r"received unexpected HTTP status: (40[025-9]|4[1-9][0-9]|5[0-9]{2}) ")),
    http_status(skopeo!(r"pinging container registry .* invalid status code from registry ([0-9]{3}) ")),
    http_status(skopeo!(r"invalid status code from registry (40[025-9]|4[1-9][0-9]|5[0-9]{2}) ")),
    http_status(skopeo!(r"unexpected status code (40[025-9]|4[1-9][0-9]|5[0-9]{2})\b")),
    fatal(skopeo!(r"reading manifest \S+ in \S+: name unknown\b"), "unknown repository name"),
    fatal(skopeo!(r"initiating layer upload to \S+ in \S+: unsupported\b"), "denied access"),
    fatal(skopeo!(r"invalid username/password"), "invalid username or password"),
    fatal(skopeo!(r"(?:NAME_UNKNOWN|NAME_INVALID|TAG_INVALID|UNSUPPORTED): "), "refused name"),
    fatal(skopeo!(x509!()), "x509"),
    fatal(skopeo!(r"first record does not look like a TLS handshake"), "HTTP response to HTTPS client"),
    fatal(skopeo!(r"server gave HTTP response to HTTPS client"), "HTTP response to HTTPS client"),
    fatal(skopeo!(r"invalid reference format"), "invalid reference format"),
    fatal(skopeo!(r"could not parse reference: "), "invalid reference format"),
    fatal(skopeo!(r"unknown transport\b"), "unknown transport"),
    fatal(skopeo!(r"unknown (?:shorthand )?flag: "), "unknown flag"),
    fatal(skopeo!(r"Unrecognized command "), "unknown command"),
    fatal(skopeo!(r"unknown command "), "unknown command"),
    fatal(skopeo!(r"(?:Exactly|At least) \w+ arguments? expected"), "wrong number of arguments"),
    fatal(skopeo!(r"(?:accepts|requires) .*\barg\(s\)"), "wrong number of arguments"),
    fatal(skopeo!(r"Invalid (?:source|destination) name "), "invalid image name"),
    fatal(skopeo!(r"(?:open|lstat) \S+: no such file or directory"), "no such file or directory"),
    retryable(r"\btoomanyrequests\b", "toomanyrequests"),
    retryable(skopeo!(r"(?:TOOMANYREQUESTS|UNAVAILABLE|UNKNOWN): "), "temporary error of the registry"),
    retryable(skopeo!(r"server closed idle connection"), "closed connection"),
    // https://github.com/podman-container-tools/skopeo/issues/1416
    retryable(skopeo!(r"(?:unauthorized|denied|UNAUTHORIZED|DENIED): "), "refusal by the registry").general(),
    retryable(skopeo!(r"manifest unknown"), "unknown manifest").general(),
    retryable(skopeo!(r"(?:MANIFEST|BLOB)_UNKNOWN: "), "unknown manifest").general(),
];

pub(super) const SKOPEO: Profile = Profile {
    name: "skopeo",
    programs: &["skopeo", "crane", "gcrane"],
    source: "skopeo's main.go; go-containerregistry's transport/error.go",
    statuses: &[ambiguous_status(1..=1, "error")],
    patterns: &joined::<{ OF_SKOPEO.len() + OF_GO.len() }>(OF_SKOPEO, OF_GO),
    terminal: Terminal::free_but(&[needs("login"), needs("auth"), needs("edit")]),
    ..PLAIN
};
