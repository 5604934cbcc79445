//! A key file that retry could not remove after a success. The next request would repeat its key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, chown};

use crate::support::{Scratch, retry};
use crate::unusable_state::nobody;

const NOBODY: u32 = 65534;

/// Gives a file or a directory to a user.
fn give(path: &Path, user: u32) {
    chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(user))).unwrap();
}

#[test]
fn a_key_file_that_cannot_be_removed_is_refused_before_the_first_attempt() {
    let scratch = Scratch::new();
    let Some(nobody) = nobody(&scratch) else { return };
    let (directory, marks) = (scratch.join("keys"), scratch.join("marks"));
    fs::create_dir(&directory).unwrap();
    fs::create_dir(&marks).unwrap();
    give(&marks, NOBODY);
    let (path, ran) = (directory.join("key"), marks.join("ran"));
    let script = format!("echo >{}", ran.display());
    let option = format!("file:{}", path.display());
    // The owner and the mode of the directory, the owner of the file, and whether nobody can remove
    // it.
    for (above, mode, owner, removable) in [
        (0, 0o755, NOBODY, false),
        (NOBODY, 0o555, NOBODY, false),
        (0, 0o1777, 0, false),
        (0, 0o1777, NOBODY, true),
        (0, 0o777, 0, true),
        (NOBODY, 0o1755, 0, true),
        (NOBODY, 0o700, NOBODY, true),
    ] {
        let case = format!("{above} {mode:o} {owner}");
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(&path, "k\n").unwrap();
        // The file is readable but not writable, so that only the directory matters.
        fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
        give(&path, owner);
        give(&directory, above);
        fs::set_permissions(&directory, PermissionsExt::from_mode(mode)).unwrap();
        let run = nobody().args(["--check", &format!("{script}; false"), "--idempotency-key", &option]);
        let run = run.sh(&script).run();
        if removable {
            run.code(0);
            assert!(ran.exists() && !path.exists(), "{case}");
            fs::remove_file(&ran).unwrap();
        } else {
            run.code(125).stdout("").stderr_contains("the key file ").stderr_contains("\nretry: hint: ");
            assert!(!ran.exists() && path.exists(), "{case}");
        }
    }
    // Root may remove the file anywhere.
    fs::write(&path, "k\n").unwrap();
    give(&path, NOBODY);
    give(&directory, NOBODY);
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o1555)).unwrap();
    retry().args(["--idempotency-key", &option, "true"]).run().code(0);
    assert!(!path.exists());
}
