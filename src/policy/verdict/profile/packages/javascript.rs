//! JavaScript: npm, yarn, pnpm.

use super::super::terminal::{Terminal, free};
use super::super::{
    PLAIN, Pattern, Profile, Relay, WatchStdout, ambiguous_status, fatal, http_status, relay, retryable,
};

/// An error code of npm. Before version 10 it follows `npm ERR!`.
macro_rules! npm {
    ($code:literal) => {
        concat!("^npm (?:error|ERR!) code ", $code, "$")
    };
}

/// Error codes of Node.js and its resolver for a transient failure.
macro_rules! broken {
    () => {
        "(?:ECONNREFUSED|ECONNRESET|ECONNABORTED|ESOCKETTIMEDOUT|ETIMEDOUT|EAI_AGAIN|ENOTFOUND|EPIPE|EHOSTUNREACH\
         |ENETUNREACH|ERR_SOCKET_TIMEOUT|ERR_STREAM_PREMATURE_CLOSE|UND_ERR_[A-Z_]+)"
    };
}

/// The statuses of npm itself in `npm run`: it has no package.json.
const OF_NPM: &[std::ops::RangeInclusive<u8>] = &[254..=254];

pub(in super::super) const NPM: Profile = Profile {
    name: "npm",
    programs: &["npm", "npx"],
    source: "npm's exit-handler.js and error-message.js",
    // 1 and most other statuses may come from a script. The line with `code` says more.
    statuses: &[ambiguous_status(1..=1, "error")],
    // Not a proof: E401 and E403 (see the page of this module); ENEEDAUTH, which also stands for a
    // failed exchange of tokens (https://github.com/keymanapp/keyman/issues/15408); ETARGET, ENOVERSIONS and E404, because the
    // version may be on its way through the registry; E409, which answers the second of two quick
    // publications; ENOENT, because npm may lose a file that it has just unpacked
    // (https://github.com/npm/cli/issues/694).
    patterns: &[
        http_status(npm!("E([1235][0-9]{2}|4(?:0[025-8]|[1-9][0-9]))")),
        fatal(npm!("ERESOLVE"), "ERESOLVE"),
        fatal(npm!("EUSAGE"), "EUSAGE"),
        fatal(npm!("EBADENGINE"), "EBADENGINE"),
        fatal(npm!("EBADPLATFORM"), "EBADPLATFORM"),
        fatal(r"^npm (?:error|ERR!) JSON\.parse Invalid package\.json", "invalid package.json"),
        fatal(r"^npm (?:error|ERR!) enoent Could not read package\.json", "missing package.json"),
        fatal(npm!("EACCES"), "EACCES"),
        fatal(npm!("ENOSPC"), "ENOSPC"),
        fatal(npm!("EROFS"), "EROFS"),
        fatal(npm!("EOTP"), "EOTP"),
        fatal(npm!("EPRIVATE"), "EPRIVATE"),
        fatal(r"^npm (?:error|ERR!) Missing script: ", "Missing script"),
        retryable(npm!("ECONNREFUSED"), "ECONNREFUSED"),
        retryable(npm!("ECONNRESET"), "ECONNRESET"),
        retryable(npm!("ETIMEDOUT"), "ETIMEDOUT"),
        retryable(npm!("ERR_SOCKET_TIMEOUT"), "ERR_SOCKET_TIMEOUT"),
        retryable(npm!("EAI_AGAIN"), "EAI_AGAIN"),
        retryable(npm!("ENOTFOUND"), "ENOTFOUND"),
        retryable(concat!("^npm (?:error|ERR!) code ", broken!(), "$"), "network error"),
        retryable(npm!("FETCH_ERROR"), "FETCH_ERROR").general(),
        // Usually the download was damaged, and the next one may be whole.
        retryable(npm!("EINTEGRITY"), "EINTEGRITY"),
        retryable(r"^npm (?:error|ERR!) network ", "network error").general(),
    ],
    relays: &[
        relay("run", 0, OF_NPM),
        relay("run-script", 0, OF_NPM),
        relay("test", 0, OF_NPM),
        relay("t", 0, OF_NPM),
        relay("start", 0, OF_NPM),
        relay("stop", 0, OF_NPM),
        relay("restart", 0, OF_NPM),
        relay("exec", 0, &[]),
        relay("x", 0, &[]),
        relay("", 1, &[]).of("npx"),
    ],
    terminal: Terminal::needed_but(&[
        free("install"),
        free("i"),
        free("ci"),
        free("update"),
        free("audit"),
        free("pack"),
        free("view"),
        free("outdated"),
        free("ping"),
        free("publish").with(&[&["--otp"]]),
    ])
    .valued("", &["--prefix", "--registry", "--loglevel", "--workspace", "--userconfig", "--cache"]),
    ..PLAIN
};

const EVERY: &[std::ops::RangeInclusive<u8>] = &[0..=255];

/// A command of yarn or pnpm itself. The first that fits counts.
const fn own(command: &'static str) -> Relay {
    relay(command, 0, EVERY)
}

/// Every other word is the name of a script.
const SCRIPT: Relay = relay("", 1, &[]);

/// A message of yarn 2 and later: its code, and its text.
macro_rules! berry {
    ($message:literal) => {
        concat!("^➤ ", $message)
    };
}

/// Messages of yarn 1 begin with `error `, those of later versions with a code.
const YARN_PATTERNS: &[Pattern] = &[
    answer!(r#"^error (?:An unexpected error occurred: "|Error: ).*(?:Request failed \\?"|returned a )"#, ""),
    answer!(r#"^ResponseError: Request failed ""#, " "),
    answer!(berry!("YN0035: │ +Response Code: "), " "),
    fatal(r"^error Your lockfile needs to be updated, but yarn was run with ", "outdated lockfile"),
    fatal(r"^error Couldn't find a package\.json file in ", "missing package.json"),
    fatal(r"^error Found incompatible module", "incompatible module"),
    fatal(r"^error .*/package\.json: Unexpected token", "invalid package.json"),
    fatal(berry!("YN0028: │ The lockfile would have been modified by this install"), "outdated lockfile"),
    fatal(berry!("YN0041: "), "YN0041"),
    fatal(berry!("YN0080: "), "YN0080"),
    fatal(
        r"^Internal Error: .*: This package doesn't seem to be present in your lockfile",
        "outdated lockfile",
    ),
    fatal(r"^Syntax Error: .*\(when parsing .*package\.json\)", "invalid package.json"),
    fatal(r"^Unknown Syntax Error: ", "usage"),
    retryable(
        concat!(
            r#"^error (?:An unexpected error occurred: "|Error: ).*(?:\b"#,
            broken!(),
            "|socket hang up|: aborted$|tunneling socket could not be established)"
        ),
        "network error",
    ),
    retryable(r"^error Error: (?:aborted|unexpected end of file)$", "broken connection"),
    retryable(r"^info There appears to be trouble with your network connection", "network trouble").general(),
    retryable(
        concat!("^➤ YN0001: │ RequestError: (?:.*", broken!(), "|socket hang up|Timeout awaiting )"),
        "network error",
    ),
    retryable(berry!("YN0001: │ (?:ReadError|ZlibError): "), "broken connection"),
    retryable(berry!("YN0001: │ RequestError: "), "failed request").general(),
];

pub(in super::super) const YARN: Profile = Profile {
    name: "yarn",
    programs: &["yarn", "yarnpkg"],
    source: "yarn 1.22, src/cli/index.js; yarn 4, MessageName.ts and httpUtils.ts",
    // 1 and most other statuses may come from a script. A version that the registry does not list
    // yet (`Couldn't find any versions`, YN0016, YN0082) is not a proof.
    statuses: &[ambiguous_status(1..=1, "error")],
    patterns: YARN_PATTERNS,
    relays: &[
        own("install"),
        own("add"),
        own("up"),
        own("upgrade"),
        own("remove"),
        own("info"),
        own("npm"),
        own("publish"),
        own("audit"),
        SCRIPT,
    ],
    stdout: WatchStdout::Always,
    terminal: Terminal::needed_but(&[
        free("install"),
        free("add"),
        free("up"),
        free("upgrade"),
        free("info"),
        free("audit"),
    ])
    .valued("", &["--cwd", "--registry", "--network-timeout", "--cache-folder"]),
    ..PLAIN
};

/// A code of pnpm, between thin spaces (U+2009) or in brackets.
macro_rules! pnpm {
    ($code:literal) => {
        concat!("^[^A-Za-z]{0,5}", $code, "[^A-Z_]")
    };
}

pub(in super::super) const PNPM: Profile = Profile {
    name: "pnpm",
    programs: &["pnpm"],
    source: "https://pnpm.io/errors; pnpm's default-reporter (reportError.ts)",
    // 1 and most other statuses may come from a script. ERR_PNPM_NO_MATCHING_VERSION is not a
    // proof: the registry may not list a new version yet.
    statuses: &[ambiguous_status(1..=1, "error")],
    patterns: &[
        answer!("^[^A-Za-z]{0,5}ERR_PNPM_FETCH_", "[^A-Z_]"),
        fatal(pnpm!("ERR_PNPM_PEER_DEP_ISSUES"), "ERR_PNPM_PEER_DEP_ISSUES"),
        fatal(pnpm!("ERR_PNPM_UNSUPPORTED_ENGINE"), "ERR_PNPM_UNSUPPORTED_ENGINE"),
        fatal(pnpm!("ERR_PNPM_UNSUPPORTED_PLATFORM"), "ERR_PNPM_UNSUPPORTED_PLATFORM"),
        fatal(pnpm!("ERR_PNPM_NO_IMPORTER_MANIFEST_FOUND"), "ERR_PNPM_NO_IMPORTER_MANIFEST_FOUND"),
        fatal(pnpm!("ERR_PNPM_NO_PKG_MANIFEST"), "ERR_PNPM_NO_PKG_MANIFEST"),
        fatal(pnpm!("ERR_PNPM_NO_LOCKFILE"), "ERR_PNPM_NO_LOCKFILE"),
        fatal(pnpm!("ERR_PNPM_OUTDATED_LOCKFILE"), "ERR_PNPM_OUTDATED_LOCKFILE"),
        fatal(pnpm!("ERR_PNPM_LOCKFILE_BREAKING_CHANGE"), "ERR_PNPM_LOCKFILE_BREAKING_CHANGE"),
        fatal("^[^A-Za-z]{0,5}ERROR[^A-Za-z]+Unknown option: ", "usage"),
        fatal(
            r"^[^A-Za-z]{0,5}ERROR[^A-Za-z]+.* is not valid JSON while parsing .* in .*/package\.json$",
            "invalid package.json",
        ),
        retryable(concat!("^[^A-Za-z]{0,5}", broken!(), "[^A-Z_]"), "network error"),
        retryable(
            concat!(pnpm!("ERR_PNPM_META_FETCH_FAIL"), ".*(?:", broken!(), "|socket hang up|Socket timeout)"),
            "network error",
        ),
        retryable(pnpm!("ERR_PNPM_META_FETCH_FAIL"), "ERR_PNPM_META_FETCH_FAIL").general(),
        // Usually the download was damaged, and the next one may be whole.
        retryable(pnpm!("ERR_PNPM_(?:TARBALL_INTEGRITY|BAD_TARBALL_SIZE)"), "damaged archive"),
        retryable(r"^[^A-Za-z]{0,5}WARN[^A-Za-z]+(?:GET|HEAD) .* error \(", "failed request").general(),
    ],
    relays: &[
        own("install"),
        own("i"),
        own("add"),
        own("update"),
        own("up"),
        own("remove"),
        own("fetch"),
        own("audit"),
        own("outdated"),
        SCRIPT,
    ],
    stdout: WatchStdout::Always,
    terminal: Terminal::needed_but(&[
        free("install"),
        free("i"),
        free("add"),
        free("fetch"),
        free("audit"),
        free("outdated"),
    ])
    .valued("C", &["--dir", "--filter", "--registry", "--store-dir", "--loglevel", "--reporter"]),
    ..PLAIN
};
