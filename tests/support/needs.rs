//! Programs that a test needs and that a machine may lack.
//!
//! A base system has `sh`, `bash` and the programs of coreutils, util-linux, grep, sed and awk. A
//! test that runs another program begins with [`need!`]. If the program is missing, the test ends
//! there, and the run of all tests lists the test on stderr at its end. With `RETRY_TEST_ALL=1`,
//! which `.ci/run` sets, the test fails instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// If this variable is `1`, a missing program is a failure.
const ALL: &str = "RETRY_TEST_ALL";

/// The optional programs, each with its Debian package. `.ci/run` installs the packages. A program
/// without a package is not in Debian, or is too large for CI. If such a program is missing, no
/// test fails.
pub(crate) const PROGRAMS: [(&str, Option<&str>); 47] = [
    ("ansible", Some("ansible-core")),
    ("apt-get", Some("apt")),
    ("aws", None),
    ("bash", Some("bash")),
    ("cargo-deb", None),
    ("createdb", Some("postgresql-client")),
    ("curl", Some("curl")),
    ("dash", Some("dash")),
    ("docker", None),
    ("dpkg-deb", Some("dpkg")),
    ("fish", Some("fish")),
    ("gdb", Some("gdb")),
    ("gh", Some("gh")),
    ("git", Some("git")),
    ("http", Some("httpie")),
    ("jsonschema", Some("python3-jsonschema")),
    ("kubectl", None),
    ("less", Some("less")),
    ("mandoc", Some("mandoc")),
    ("mariadb", Some("mariadb-client-core")),
    ("npm", None),
    ("openssl", Some("openssl")),
    ("perl", Some("perl")),
    ("pg_dump", Some("postgresql-client")),
    ("pg_dumpall", Some("postgresql-client")),
    ("pg_isready", Some("postgresql-client")),
    ("pip", Some("python3-pip")),
    ("promtool", Some("prometheus")),
    ("ps", Some("procps")),
    ("psql", Some("postgresql-client")),
    ("python3", Some("python3")),
    ("rclone", Some("rclone")),
    ("redis-cli", Some("redis-tools")),
    ("redis-server", Some("redis-server")),
    ("restic", Some("restic")),
    ("rsync", Some("rsync")),
    ("scp", Some("openssh-client")),
    ("shellcheck", Some("shellcheck")),
    ("ssh", Some("openssh-client")),
    ("ssh-keygen", Some("openssh-client")),
    ("sshd", Some("openssh-server")),
    ("strace", Some("strace")),
    ("terraform", None),
    ("tmux", Some("tmux")),
    ("valkey-server", None),
    ("wget", Some("wget")),
    ("zsh", Some("zsh")),
];

/// Directories of daemons, which few users have on their PATH.
const DAEMONS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Ends the test here unless this machine has all of these programs: `need!("strace", "python3");`
macro_rules! need {
    ($($program:expr),+ $(,)?) => {
        if !$crate::support::needs::all(&[$($program),+]) {
            return;
        }
    };
}

/// Tells whether this machine has all of these programs. Lists the test under each missing program.
#[track_caller]
pub(crate) fn all(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|name| program(name).is_none()).collect();
    missing.is_empty()
}

/// The path of a program of [`PROGRAMS`]. If the program is missing, lists the test or fails; see
/// the page of this module.
#[track_caller]
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let known = PROGRAMS.iter().find(|(known, _)| *known == name);
    let (_, package) = known.unwrap_or_else(|| panic!("{name} is missing in PROGRAMS of {}", file!()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(DAEMONS.map(PathBuf::from));
    // A shim of a version manager may take ten times as long to start as the program itself.
    let (shims, others): (Vec<_>, Vec<_>) = directories.partition(|directory| directory.ends_with("shims"));
    let files = others.iter().chain(&shims).map(|directory| directory.join(name));
    let found = files.into_iter().find(|file| {
        let metadata = file.metadata();
        metadata.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    });
    if found.is_none() {
        match package {
            Some(package) => {
                let required = std::env::var_os(ALL).is_some_and(|value| value == "1");
                assert!(!required, "there is no {name} ({ALL}=1): apt-get install {package}");
                left_out(&format!("{name} (package {package})"));
            }
            None => left_out(name),
        }
    }
    found
}

/// Lists the running test under `what`, a program or a permission that this machine lacks.
pub(crate) fn left_out(what: &str) {
    // libtest names a thread after its test.
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let mut list = list();
    if list.is_empty() {
        // SAFETY: atexit(3) keeps the address of a function that exists until the process ends.
        let registered = unsafe { libc::atexit(print) };
        assert_eq!(registered, 0, "atexit(3) takes no function more");
    }
    list.entry(what.to_owned()).or_default().insert(test);
}

/// The tests that left something out, by the program or permission that they lacked.
type List = BTreeMap<String, BTreeSet<String>>;

fn list() -> MutexGuard<'static, List> {
    static LIST: Mutex<List> = Mutex::new(BTreeMap::new());
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the list to descriptor 2, because libtest captures everything that macros print.
extern "C" fn print() {
    let mut text = String::from("\nLEFT OUT: this machine lacks what some tests need.\n");
    for (what, tests) in &*list() {
        let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
        let _ = writeln!(text, "    {what}: {}", tests.join(", "));
    }
    let _ = writeln!(text, "With {ALL}=1 a missing program that has a package is a failure.\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
}

mod tests {
    use std::fs;

    use super::*;
    use crate::support::{Retry, Run, Scratch};

    /// A test that needs a program.
    const TEST: &str = "generated::mandoc_finds_nothing_above_style";

    /// Runs [`TEST`] on a machine without any program.
    fn without_programs(threads: &str, all: &str) -> Run {
        let nothing = Scratch::new();
        Retry::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--test-threads", threads])
            .env("PATH", nothing.path())
            .env(ALL, all)
            .run()
    }

    #[test]
    fn what_is_left_out_is_listed_at_the_end() {
        for threads in ["1", "2"] {
            let run = without_programs(threads, "0");
            run.code(0).stderr(&format!(
                "\nLEFT OUT: this machine lacks what some tests need.\n    mandoc (package mandoc): {TEST}\n\
                 With RETRY_TEST_ALL=1 a missing program that has a package is a failure.\n\n"
            ));
        }
    }

    #[test]
    fn where_all_is_wanted_what_is_missing_is_a_failure() {
        let run = without_programs("2", "1");
        run.code(101).silent();
        let text = String::from_utf8_lossy(&run.stdout);
        assert!(text.contains("there is no mandoc (RETRY_TEST_ALL=1): apt-get install mandoc"), "{text}");
    }

    #[test]
    fn ci_wants_all_and_installs_it() {
        let ci = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/run");
        // A published package has no CI.
        let Ok(ci) = fs::read_to_string(ci) else { return };
        assert!(ci.contains(&format!("export {ALL}=1\n")));
        let (_, packages) = ci.split_once("packages=(").unwrap();
        let (packages, _) = packages.split_once(')').unwrap();
        for (program, package) in PROGRAMS {
            // The script itself runs under bash and calls apt-get, so it does not install these
            // two, nor dpkg, which apt needs.
            let installed = |package| packages.split_whitespace().any(|word| word == package);
            assert!(
                package
                    .is_none_or(|package| ["apt", "bash", "dpkg"].contains(&package) || installed(package)),
                "{program}"
            );
        }
    }
}
