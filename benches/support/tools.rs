//! The other tools, if they are installed.
//!
//! Several tools have the name `retry`. The benchmarks therefore look for each tool under its own
//! name in the directory of the variable PEERS. `benches/peers.sh` fills this directory.

use std::path::{Path, PathBuf};

/// A tool that repeats a command.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    /// Name of the tool in tables.
    pub(crate) name: &'static str,
    /// Path of the program, or None if the tool is not installed.
    pub(crate) path: Option<PathBuf>,
    /// Options before a command that runs once. `thousand` holds the options for a thousand
    /// attempts without a delay. It is empty if the tool cannot make them, or not in a reasonable
    /// time.
    once: &'static [&'static str],
    thousand: &'static [&'static str],
}

impl Tool {
    /// Command line of one run.
    pub(crate) fn once(&self, command: &[&str]) -> Option<Vec<String>> {
        self.words(self.once, command)
    }

    /// Command line of a run of a thousand attempts.
    pub(crate) fn thousand(&self, command: &[&str]) -> Option<Vec<String>> {
        self.words(self.thousand, command).filter(|_| !self.thousand.is_empty())
    }

    /// Command line of a run with these options.
    pub(crate) fn words(&self, options: &[&str], command: &[&str]) -> Option<Vec<String>> {
        let path = self.path.as_ref()?.to_str()?.to_owned();
        let rest = options.iter().chain(command).map(|word| (*word).to_owned());
        Some(std::iter::once(path).chain(rest).collect())
    }
}

/// Looks for a tool under `name` in `$PEERS`, and then under `on_path` on the PATH.
fn find(name: &str, on_path: Option<&str>) -> Option<PathBuf> {
    let peers = std::env::var_os("PEERS").map(PathBuf::from).into_iter();
    let peers = peers.map(|directory| directory.join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = on_path.into_iter().flat_map(|name| {
        std::env::split_paths(&path).map(|directory| directory.join(name)).collect::<Vec<_>>()
    });
    peers.chain(on_path).find(|path| path.is_file())
}

/// All tools. The program under test is the first.
pub(crate) fn all() -> Vec<Tool> {
    let peer = |name, on_path, once, thousand| Tool { name, path: find(name, on_path), once, thousand };
    vec![
        Tool {
            name: "retry (this)",
            path: Some(Path::new(super::RETRY).to_owned()),
            once: &["--"],
            thousand: &["-q", "-n", "1000", "-d", "0", "--"],
        },
        peer("retry-dynamic", None, &["--"], &["-q", "-n", "1000", "-d", "0", "--"]),
        peer("debian-retry", None, &["--"], &["-t", "1000", "-d", "0", "--"]),
        peer(
            "attempt",
            Some("attempt"),
            &["fixed", "-w", "0", "--"],
            &["fixed", "-w", "0", "-a", "1000", "--"],
        ),
        peer(
            "retry-cli",
            None,
            &["--"],
            &[
                "--attempts",
                "1000",
                "--min-duration",
                "0ms",
                "--max-duration",
                "0ms",
                "--jitter",
                "0.5",
                "--",
            ],
        ),
        peer("retry-cmd", None, &["-q", "--"], &["-q", "-m", "1000", "-i", "0", "--"]),
        // eb always waits between attempts.
        peer("eb", Some("eb"), &["-x", "5"], &[]),
        peer("recur", Some("recur"), &["-a", "5"], &["-a", "1000", "-d", "0"]),
        // A thousand attempts of npm-retry-cli would take minutes.
        peer("npm-retry-cli", None, &["--"], &[]),
    ]
}
