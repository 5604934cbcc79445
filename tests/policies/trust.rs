//! A policy that names commands or files must be in the hands of its user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::unistd::{Gid, Uid, chown};

use super::{Home, shown};
use crate::support::*;

fn mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A policy that runs a command and would leave a mark.
fn armed(home: &Home, name: &str) -> std::path::PathBuf {
    home.policy(
        name,
        format!("# x\n-q\n--check=touch {}; false\n-n1\n-d0\n", shown(home.scratch.join("mark"))),
    )
}

/// Runs a policy. The first line of the error, or nothing if retry took the policy.
#[track_caller]
fn said(home: &Home, run: Retry) -> String {
    let run = run.args(["--policy", "p"]).sh("exit 0").run();
    let mark = home.scratch.join("mark").exists();
    let _ = fs::remove_file(home.scratch.join("mark"));
    if run.status.code() == Some(125) {
        assert!(!mark, "the command of the policy ran");
        return run.stderr;
    }
    run.code(0).silent();
    assert!(mark, "the command of the policy did not run");
    String::new()
}

#[test]
fn a_file_that_others_may_write_names_no_command() {
    let home = Home::new();
    let path = armed(&home, "p");
    for fine in [0o644, 0o600, 0o755, 0o400] {
        mode(&path, fine);
        assert_eq!(said(&home, home.retry()), "", "{fine:o}");
    }
    for bad in [0o664, 0o646, 0o666, 0o620] {
        mode(&path, bad);
        let path = shown(&path);
        assert_eq!(
            said(&home, home.retry()),
            format!(
                "retry: {path}:3: --check names a command, but other users may write {path}\n\
                 retry: hint: chmod go-w {path}\n"
            ),
            "{bad:o}"
        );
    }
}

#[test]
fn anybody_may_have_written_a_policy_of_numbers() {
    let home = Home::new();
    let path = home.policy("p", "-n7\n--breaker=b\n--label=x\n--report=-\n");
    mode(&path, 0o666);
    mode(home.path(""), 0o777);
    home.retry()
        .env("RETRY_STATE", home.scratch.join("s"))
        .args(["--policy", "p", "-q"])
        .arg("true")
        .run()
        .code(0);
}

#[test]
fn a_file_that_is_written_needs_trust_too() {
    let home = Home::new();
    for (option, name) in [
        ("--report={}", "--report"),
        ("--report=-\n--report={}.prom", "--report"),
        ("--idempotency-key=file:{}", "--idempotency-key"),
        ("--state={}\n--breaker=b", "--state"),
        ("--breaker={}", "--breaker"),
        ("--budget={}=20%", "--budget"),
    ] {
        let place = Scratch::new();
        let text = option.replace("{}", &shown(place.join("made")));
        let path = home.policy("p", format!("{text}\n-n1\n"));
        mode(&path, 0o666);
        let run = home.retry().args(["--policy", "p"]).sh("exit 7").run();
        run.code(125).stderr_contains(&format!(
            ": {name} names a place that retry writes to, but other users may write"
        ));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{option}");
        mode(&path, 0o644);
        home.retry().args(["--policy", "p"]).sh("exit 7").run().code(7);
        assert_ne!(fs::read_dir(place.path()).unwrap().count(), 0, "{option}");
    }
    let path = home.policy("p", "--on-retry=true\n");
    mode(&path, 0o666);
    let run = home.retry().args(["--policy", "p", "true"]).run();
    run.code(125).stderr_contains(":1: --on-retry names a command, but");
}

#[test]
fn a_directory_that_others_may_write_is_no_place_for_commands() {
    let home = Home::new();
    armed(&home, "p");
    let directory = shown(home.scratch.join("retry"));
    for bad in [0o775, 0o757] {
        mode(&directory, bad);
        let error = said(&home, home.retry());
        assert!(error.contains(&format!("but other users may write {directory}\n")), "{error}");
        assert!(error.ends_with(&format!("hint: chmod go-w {directory}\n")), "{error}");
    }
    mode(&directory, 0o755);
    mode(home.scratch.path(), 0o777);
    let error = said(&home, home.retry());
    assert!(error.contains(&format!("may write {}\n", shown(home.scratch.path()))), "{error}");
    // In a sticky directory, as /tmp is one, nobody can replace what belongs to another user.
    mode(home.scratch.path(), 0o1777);
    assert_eq!(said(&home, home.retry()), "");
}

#[test]
fn a_link_is_judged_by_where_it_leads_and_where_it_is() {
    let (home, other) = (Home::new(), Home::new());
    let target = shown(armed(&other, "target"));
    fs::write(other.path("target"), fs::read_to_string(armed(&home, "p")).unwrap()).unwrap();
    fs::remove_file(home.path("p")).unwrap();
    symlink("hop", home.path("p")).unwrap();
    symlink(other.path("target"), home.path("hop")).unwrap();
    assert_eq!(said(&home, home.retry()), "");
    mode(other.path("target"), 0o666);
    assert!(said(&home, home.retry()).contains(&format!("other users may write {target}\n")));
    mode(other.path("target"), 0o644);
    mode(other.path(""), 0o777);
    assert!(said(&home, home.retry()).contains("other users may write "));
    mode(other.path(""), 0o755);
    mode(home.path(""), 0o777);
    assert!(said(&home, home.retry()).contains("other users may write "));
    mode(home.path(""), 0o755);
    // A directory on the way may be a link too, and a path may go up.
    symlink(other.path(""), home.path("directory")).unwrap();
    fs::remove_file(home.path("hop")).unwrap();
    symlink("directory/../retry/target", home.path("hop")).unwrap();
    assert_eq!(said(&home, home.retry()), "");
    mode(other.scratch.path(), 0o777);
    assert!(said(&home, home.retry()).contains("other users may write "));
}

#[test]
fn a_file_of_another_user_names_no_command() {
    let binary = Scratch::new();
    let Some(nobody) = crate::unusable_state::nobody(&binary) else { return };
    let place = Home::new();
    let path = armed(&place, "p");
    let mark = place.scratch.join("mark");
    let owned = |path: &Path, id: u32| chown(path, Some(Uid::from_raw(id)), Some(Gid::from_raw(id))).unwrap();
    let run = || nobody().env("XDG_CONFIG_HOME", place.scratch.path());
    // The file is that of root.
    mode(place.scratch.path(), 0o1777);
    assert_eq!(said(&place, run()), "");
    owned(&path, 65534);
    assert_eq!(said(&place, run()), "");
    owned(&path, 4711);
    let error = said(&place, run());
    let shown = shown(&path);
    assert!(
        error.starts_with(&format!(
            "retry: {shown}:3: --check names a command, but {shown} belongs to user 4711\n"
        )),
        "{error}"
    );
    owned(&path, 65534);
    owned(&place.path(""), 4711);
    assert!(said(&place, run()).contains("/retry belongs to user 4711\n"));
    // Root does not run the commands of another user either.
    owned(&place.path(""), 0);
    assert!(said(&place, place.retry()).contains("belongs to user 65534\n"));
    assert!(!mark.exists());
}
