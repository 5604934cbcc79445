//! Scripting languages: gem and bundle for Ruby, composer for PHP.

use super::super::terminal::{Terminal, free};
use super::super::{PLAIN, Profile, Relay, ambiguous_status, fatal, relay, retryable};

pub(in super::super) const GEM: Profile = Profile {
    name: "gem",
    programs: &["gem", "bundle", "bundler"],
    source: "rubygems/remote_fetcher.rb and bundler/errors.rb",
    // gem ends with 1 or 2, bundler with the status of an error class. `bundle exec` ends with the
    // status of its program, so none of them is a proof.
    statuses: &[
        ambiguous_status(1..=1, "error"),
        ambiguous_status(2..=2, "error"),
        ambiguous_status(5..=5, "failed installation"),
        ambiguous_status(7..=7, "unknown gem"),
        ambiguous_status(17..=17, "failed request"),
    ],
    // Not a proof: an unknown gem or version, because the index may not list it yet; a failed
    // extension, whose build may download.
    patterns: &[
        answer!(r"^(?:Could not |Bundler::HTTPError: Could not |Retrying ).*<bad response [^>]* ", r" \("),
        answer!(r"^ERROR:  (?:Could not find|While executing gem) .* bad response \D* ", r" \("),
        answer!(r"^    bad response \D* ", r" \(https?:"),
        // It names the host after 401, and the address after 403.
        fatal(r"^Authentication is required for [^/ ]+\.(?: |$)", "missing authentication"),
        fatal(r"^Bad username or password for ", "wrong password"),
        fatal(r"^\[!\] There was an error (?:parsing|while loading) `Gemfile", "invalid Gemfile"),
        fatal(r"^Could not locate Gemfile", "missing Gemfile"),
        fatal(r"^(?:Unknown switches |Could not find command )", "usage"),
        fatal(r"^The path `.*` does not exist\.$", "missing path"),
        fatal(r"^The deployment setting requires a ", "missing lockfile"),
        fatal(r"^You are trying to install in deployment mode after changing", "outdated lockfile"),
        fatal(
            r"^ERROR:  While executing gem \.\.\. \(Gem::(?:OptionParser::\w+|UnknownCommandError|CommandLineError)\)",
            "usage",
        ),
        fatal(r"^ERROR:  While executing gem \.\.\. \(Gem::FilePermissionError\)", "denied permission"),
        fatal(
            r"^ERROR:  Error installing \S+: \S+ requires Ruby version ",
            "requirement of a different Ruby",
        ),
        fatal(r"^ERROR:  Couldn't find a gemspec file matching ", "missing gemspec"),
        retryable(
            r"^(?:ERROR: |Could not |Bundler::|Retrying ).*Errno::ECONNREFUSED[:)]",
            "refused connection",
        )
        .unsent(),
        retryable(r"^(?:Could not reach host |ERROR: .*SocketError: )", "unresolved host name").unsent(),
        retryable(
            r"^(?:ERROR: |Could not |Bundler::|Retrying ).*(?:too many connection resets|Errno::ECONNRESET|EOFError)",
            "broken connection",
        ),
        retryable(
            r"^(?:ERROR: |Could not |Bundler::|Retrying |Net::).*(?:Net::(?:Open|Read)Timeout|Errno::ETIMEDOUT)",
            "timeout",
        ),
        retryable(
            r"^(?:Bundler::HTTPError: )?Could not (?:fetch specs|download gem) from ",
            "failed request",
        )
        .general(),
        retryable(
            r"^ERROR:  While executing gem \.\.\. \(Gem::RemoteFetcher::FetchError\)",
            "failed request",
        )
        .general(),
        retryable(r"(?:Gem::Package::FormatError|Exception while verifying )", "damaged archive").general(),
    ],
    wraps: true,
    relays: &[relay("exec", 0, &[])],
    terminal: Terminal::needed_but(&[
        free("install"),
        free("update"),
        free("lock"),
        free("check"),
        free("outdated"),
        free("fetch"),
        free("build"),
        free("push").with(&[&["--otp"]]),
    ])
    .valued("", &["--gemfile", "--path", "--source"]),
    ..PLAIN
};

const EVERY: &[std::ops::RangeInclusive<u8>] = &[0..=255];

/// A subcommand of composer itself. The first that fits counts.
const fn own(command: &'static str) -> Relay {
    relay(command, 0, EVERY)
}

pub(in super::super) const COMPOSER: Profile = Profile {
    name: "composer",
    programs: &["composer", "composer.phar"],
    source: "composer's Util/Http/CurlDownloader.php and Console/Application.php",
    // 2 means that the solver found no set of packages: a new version may not be listed yet. 255
    // is what is left of an HTTP status, 1 the rest.
    statuses: &[
        ambiguous_status(1..=1, "error"),
        ambiguous_status(2..=2, "no solution"),
        ambiguous_status(255..=255, "HTTP status"),
    ],
    patterns: &[
        answer!(r#"^The "[^"]*" file could not be downloaded \(HTTP/[0-9.]+ "#, r"\b"),
        answer!(r"^The '[^']*' URL (?:required authentication|could not be accessed) \(HTTP ", r"\)"),
        fatal(r#"^ *Command "[^"]*" is not defined"#, "unknown command"),
        fatal(r#"^ *The "[^"]*" option does not exist"#, "usage"),
        fatal(r"^ *Could not parse version constraint ", "invalid version constraint"),
        fatal(r"^Composer could not find a composer\.json file in ", "missing composer.json"),
        fatal(r#"^ *"\./composer\.json" does not contain valid JSON"#, "invalid composer.json"),
        retryable(
            r"^ *curl error (?:5|6|7|16|18|28|35|52|55|56|92|95|96) while downloading(?: |$)",
            "failed transfer",
        ),
        retryable(
            r#"^ *The "[^"]*" file could not be downloaded.*(?:Connection (?:refused|reset|timed out)|getaddrinfo)"#,
            "failed connection",
        ),
        retryable(r#"^ *The "[^"]*" file could not be downloaded"#, "failed download").general(),
        retryable(r"^https?://\S+ could not be fully loaded \(", "failed download").general(),
        retryable(r"^ *The checksum verification of the file failed", "damaged archive"),
    ],
    wraps: true,
    relays: &[
        own("install"),
        own("i"),
        own("update"),
        own("u"),
        own("require"),
        own("remove"),
        own("create-project"),
        own("outdated"),
        own("audit"),
        own("global require"),
        own("validate"),
        relay("", 1, &[]),
    ],
    terminal: Terminal::needed_but(&[
        free("install"),
        free("update"),
        free("create-project"),
        free("outdated"),
        free("audit"),
        free("validate"),
    ])
    .valued("d", &["--working-dir"]),
    ..PLAIN
};
