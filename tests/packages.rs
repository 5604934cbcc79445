//! The packages of a release: what is in them, and that a second build gives the same bytes.
//!
//! The tests pack a small stand-in for the executable. `packaging/check` packs the real one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const EPOCH: &str = "1700000000";

/// Runs `packaging/build` of the tree at `root` with a stand-in for the executable.
fn build(root: &Path, scratch: &Scratch, part: &str) -> Retry {
    let binary = scratch.script("stand-in", "#!/bin/sh\necho retry\n");
    Retry::new(root.join("packaging/build"))
        .arg("--binary")
        .arg(binary)
        .arg("--out")
        .arg(scratch.path())
        .arg(part)
        .env("SOURCE_DATE_EPOCH", EPOCH)
}

/// The only file in a directory with this ending.
#[track_caller]
fn only(directory: &Path, ending: &str) -> PathBuf {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = names.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    assert_eq!(found.len(), 1, "{ending}: {found:?}");
    found.remove(0)
}

/// Output of a program that must succeed.
#[track_caller]
fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("LC_ALL", "C").env("TZ", "UTC").output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The mode, owner and time of each path in a listing of tar.
fn listed(listing: &str) -> BTreeMap<String, String> {
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let entry = |fields: Vec<String>| {
        (fields[5].clone(), format!("{} {} {} {}", fields[0], fields[1], fields[3], fields[4]))
    };
    listing.lines().map(|line| entry(fields(line))).collect()
}

/// A copy of what `packaging/build` reads, at another place, with other times and other modes.
fn moved() -> Scratch {
    let copy = Scratch::new();
    let script = "umask 077 && cp -r \"$0\"/packaging \"$0\"/man \"$0\"/completions \"$0\"/docs . &&
        cp \"$0\"/*.md \"$0\"/LICENSE-* \"$0\"/Cargo.* .";
    let made = Command::new("sh").args(["-c", script, ROOT]).current_dir(copy.path()).status().unwrap();
    assert!(made.success());
    copy
}

#[test]
fn the_tarball_is_complete_and_the_same_wherever_it_is_built() {
    let (here, there, copy) = (Scratch::new(), Scratch::new(), moved());
    build(Path::new(ROOT), &here, "tarball").run().code(0);
    build(copy.path(), &there, "tarball").env("TZ", "Asia/Tokyo").env("LANG", "de_DE").run().code(0);

    let tarball = only(here.path(), ".tar.gz");
    assert_eq!(fs::read(&tarball).unwrap(), fs::read(only(there.path(), ".tar.gz")).unwrap());
    let name = tarball.file_name().unwrap().to_str().unwrap().trim_end_matches(".tar.gz").to_owned();
    assert!(name.starts_with(&format!("retry-{VERSION}-")), "{name}");

    let entries = listed(&output("tar", &["--list", "--verbose", "--file", tarball.to_str().unwrap()]));
    let file = "-rw-r--r-- 0/0 2023-11-14 22:13";
    for path in [
        "man/retry.1",
        "README.md",
        "LICENSE-MIT",
        "completions/_retry",
        "completions/retry.bash",
        "docs/guide.md",
        "policies/ci",
    ] {
        assert_eq!(entries[&format!("{name}/{path}")], file, "{path}");
    }
    assert_eq!(entries[&format!("{name}/retry")], "-rwxr-xr-x 0/0 2023-11-14 22:13");
    assert!(entries.keys().all(|path| path.starts_with(&name)), "{entries:?}");

    let sum = format!("cd {} && sha256sum --check --strict *.sha256", here.path().display());
    assert_eq!(output("sh", &["-c", &sum]), format!("{name}.tar.gz: OK\n"));
}

/// The files of the Debian package that matter, each with its mode.
const INSTALLED: [(&str, &str); 12] = [
    ("./usr/bin/retry", "-rwxr-xr-x"),
    ("./usr/share/man/man1/retry.1.gz", "-rw-r--r--"),
    ("./usr/share/bash-completion/completions/retry", "-rw-r--r--"),
    ("./usr/share/zsh/vendor-completions/_retry", "-rw-r--r--"),
    ("./usr/share/fish/vendor_completions.d/retry.fish", "-rw-r--r--"),
    ("./usr/share/doc/retry-command/copyright", "-rw-r--r--"),
    ("./usr/share/doc/retry-command/changelog.Debian.gz", "-rw-r--r--"),
    ("./usr/share/doc/retry-command/changelog.gz", "-rw-r--r--"),
    ("./usr/share/doc/retry-command/README.md", "-rw-r--r--"),
    ("./usr/share/doc/retry-command/docs/guide.md", "-rw-r--r--"),
    ("./usr/share/doc/retry-command/examples/policies/ci", "-rw-r--r--"),
    ("./usr/share/doc/retry-command/examples/policies/fleet", "-rw-r--r--"),
];

#[test]
fn the_debian_package_is_complete() {
    need!("cargo-deb", "dpkg-deb");
    let (scratch, copy) = (Scratch::new(), moved());
    // cargo-deb looks for the sources of all targets.
    let sources = "cp -r \"$0\"/src \"$0\"/tests \"$0\"/benches .";
    let copied = Command::new("sh").args(["-c", sources, ROOT]).current_dir(copy.path()).status().unwrap();
    assert!(copied.success());
    build(copy.path(), &scratch, "deb").run().code(0);

    let package = only(scratch.path(), ".deb");
    let package = package.to_str().unwrap();
    for (field, value) in [
        ("Package", "retry-command"),
        ("Version", &format!("{VERSION}-1")),
        ("Conflicts", "retry"),
        ("Section", "utils"),
        ("Priority", "optional"),
        // Empty: the executable is static.
        ("Depends", ""),
        ("Provides", ""),
    ] {
        assert_eq!(output("dpkg-deb", &["--field", package, field]).trim_end(), value, "{field}");
    }
    let entries = listed(&output("dpkg-deb", &["--contents", package]));
    for (path, mode) in INSTALLED {
        let entry = entries.get(path).unwrap_or_else(|| panic!("{path}: {entries:?}"));
        let owners = ["0/0", "root/root"];
        assert!(owners.iter().any(|owner| entry.starts_with(&format!("{mode} {owner} "))), "{path}: {entry}");
    }
    // apt shows the first line alone (Debian Policy, section 3.4.1).
    let description = output("dpkg-deb", &["--field", package, "Description"]);
    let mut lines = description.lines();
    assert_eq!(lines.next(), Some(env!("CARGO_PKG_DESCRIPTION")), "{description}");
    assert!(lines.next().is_some_and(|line| line.starts_with(" retry runs ")), "{description}");
    // A package that configures nothing has no scripts to go wrong.
    let control = output("dpkg-deb", &["--info", package]);
    assert!(!control.contains("postinst") && !control.contains("conffiles"), "{control}");
    // The stand-in weighs nothing: what remains is text.
    assert!(fs::metadata(package).unwrap().len() < 200 << 10);
}

/// The file is an instruction for the engine, or a comment, in each line.
#[test]
fn the_image_has_one_file() {
    let text = fs::read_to_string(format!("{ROOT}/packaging/Containerfile")).unwrap();
    let instructions: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(instructions, ["FROM scratch", "COPY retry /retry", "ENTRYPOINT [\"/retry\"]"]);
}

#[test]
fn binstall_finds_the_tarball() {
    let manifest = fs::read_to_string(format!("{ROOT}/Cargo.toml")).unwrap();
    let scratch = Scratch::new();
    build(Path::new(ROOT), &scratch, "tarball").run().code(0);
    let tarball = only(scratch.path(), ".tar.gz").file_name().unwrap().to_str().unwrap().to_owned();
    let target = tarball.trim_start_matches(&format!("retry-{VERSION}-")).trim_end_matches(".tar.gz");
    let value = |key: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = \""))).unwrap();
        let line = line.trim_end_matches('"').replace("{ version }", VERSION).replace("{ target }", target);
        line.replace("{ bin }", "retry").replace("{ binary-ext }", "")
    };
    assert_eq!(value("pkg-url"), format!("{{ repo }}/releases/download/v{VERSION}/{tarball}"));
    let listing = output("tar", &["--list", "--file", scratch.join(&tarball).to_str().unwrap()]);
    assert!(listing.lines().any(|path| path == value("bin-dir")), "{listing}");
}

#[test]
fn an_error_of_the_build_names_its_cause() {
    let scratch = Scratch::new();
    build(Path::new(ROOT), &scratch, "rpm").run().code(1).stderr("packaging/build: unknown part rpm\n");
    let run = Retry::new(format!("{ROOT}/packaging/build")).arg("--fast").run();
    run.code(1).stderr("packaging/build: --fast needs a value\n");
}

/// The shell scripts of this directory and of CI.
fn scripts() -> Vec<String> {
    let find = format!("cd {ROOT} && grep -rlE '^#!.*\\b(ba)?sh$' packaging .ci");
    output("sh", &["-c", &find]).lines().map(|path| format!("{ROOT}/{path}")).collect()
}

#[test]
fn bash_reads_all_scripts() {
    assert!(scripts().len() >= 2);
    for script in scripts() {
        Retry::new("bash").args(["-n", &script]).run().code(0).silent();
    }
}

#[test]
fn shellcheck_finds_nothing() {
    need!("shellcheck");
    Retry::new("shellcheck").args(scripts()).run().code(0).stdout("");
}
