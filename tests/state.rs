//! The state that runs share: under a crowd of processes, after a crash, and if it cannot be used.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};

use crate::support::needs;
use crate::support::process;
use crate::support::records::Records;
use crate::support::retry::{BINARY, nice};
use crate::support::{Retry, Run, Scratch};

const SOON: Duration = Duration::from_secs(30);

/// Part of the message about shared state that a run cannot use.
const WITHOUT: &str = "continuing without";

/// A run with the shared options of these tests. Its command exits with `status`.
fn once(records: &Records, status: u8) -> Run {
    let options = ["-n1", "--breaker", "b", "--budget", "20%"];
    records.retry().args(options).sh(format!("exit {status}")).limit(SOON).run()
}

// Many processes at once.

/// Processes that all start before the test waits for any of them. They are plain children, because
/// two reader threads for each of so many runs would load the machine too much.
struct Crowd {
    children: Vec<Child>,
}

impl Crowd {
    fn new(records: &Records, n: usize, options: &[&str], script: &str) -> Self {
        let said =
            || OpenOptions::new().create(true).append(true).open(records.scratch.join("said")).unwrap();
        let start = |_| {
            nice()
                .args(options)
                .args(["--", "sh", "-c", script])
                .env("RETRY_STATE", records.directory())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(said())
                .spawn()
                .unwrap()
        };
        Self { children: (0..n).map(start).collect() }
    }

    fn statuses(mut self) -> Vec<i32> {
        let mut statuses: Vec<i32> = Vec::new();
        for mut child in self.children.drain(..) {
            statuses.push(child.wait().unwrap().code().unwrap_or(-1));
        }
        statuses
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The number of runs that change one record at once. Each of them waits for the lock for several
/// others, so a larger crowd takes longer and shows the same.
const MANY: usize = 150;

#[test]
fn of_many_at_once_every_outcome_is_counted_and_every_grant() {
    let records = Records::new();
    let log = records.scratch.log("log");
    let script = format!("{}; exit 7", log.echo("$RETRY_ATTEMPT"));
    let options = ["-n2", "-d0", "--breaker", "b", "--breaker-failures", "999999", "--budget", "60/1d"];
    let statuses = Crowd::new(&records, MANY, &options, &script).statuses();
    assert_eq!(statuses, [7; MANY]);
    let said = fs::read_to_string(records.scratch.join("said")).unwrap();
    assert!(!said.contains(WITHOUT), "{said}");
    let lines = log.lines();
    let retries = lines.iter().filter(|line| *line == "2").count();
    assert_eq!((lines.len() - retries, retries), (MANY, 60));
    assert_eq!(records.failures("b"), 210);
    assert!(records.read("b")["budget"]["billionths"].as_u64().unwrap() < 1_000_000_000);
    assert_eq!(records.files(), ["b.json", "b.json.lock"]);
}

#[test]
fn of_many_at_once_exactly_one_probes() {
    let records = Records::new();
    once(&records, 7).code(7);
    records.retry().arg("--breaker-trip=b=1").run().code(0);
    records.age("b", Duration::from_secs(2));
    let (log, go) = (records.scratch.log("log"), records.scratch.join("go"));
    let script = format!("{}; until [ -e '{}' ]; do sleep 0.02; done", log.echo("probe"), go.display());
    let mut crowd = Crowd::new(&records, MANY, &["-n2", "--breaker", "b"], &script);
    process::wait_until("all but one were refused", || {
        let ended = |child: &mut Child| child.try_wait().unwrap().is_some();
        crowd.children.iter_mut().map(ended).filter(|ended| *ended).count() == MANY - 1
    });
    fs::write(&go, "").unwrap();
    let mut statuses = crowd.statuses();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (0, &[75; MANY - 1][..]));
    assert_eq!(log.lines(), ["probe"]);
    assert_eq!(records.state("b"), "closed");
}

// Crashes.

#[test]
fn whenever_it_is_killed_the_next_run_works() {
    let records = Records::new();
    // With these options the breaker opens, probes and closes all the time.
    let options = "-d0 --deadline 9 --breaker b --breaker-failures 2 --breaker-cooldown 0.002 --breaker-wait --budget 900%";
    let options: Vec<&str> = options.split(' ').collect();
    let lane = |seed: u64| {
        let mut random = seed;
        let mut draw = |below: u64| {
            // The generator and its constants are those of Knuth's MMIX.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut killed = 0;
        for _ in 0..150 {
            let script = format!("[ $RETRY_ATTEMPT -gt {} ]", draw(9));
            let mut crowd = Crowd::new(&records, 1, &options, &script);
            thread::sleep(Duration::from_micros(draw(16_000)));
            crowd.children[0].kill().unwrap();
            killed += i32::from(crowd.children[0].wait().unwrap().code().is_none());
            if records.path("b.json").exists() {
                // `read` fails if the record does not parse.
                let _ = records.read("b");
            }
        }
        killed
    };
    let lane = &lane;
    let killed: i32 = thread::scope(|scope| {
        let lanes: Vec<_> = (1..=4).map(|seed| scope.spawn(move || lane(seed))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    assert!(killed > 300, "only {killed} of 600 were killed before their end");
    let said = fs::read_to_string(records.scratch.join("said")).unwrap();
    assert!(!said.contains(WITHOUT) && !said.contains("damaged"), "{said}");
    // No lease is left, so the next run probes at once.
    records.age("b", SOON);
    once(&records, 0).code(0).silent();
    once(&records, 7).code(7);
    assert_eq!(records.files(), ["b.json", "b.json.lock"]);
}

#[test]
fn a_file_that_was_left_half_written_is_removed_at_the_next_write() {
    let records = Records::new();
    once(&records, 7).code(7);
    fs::write(records.path("b.json.retry-tmp"), "{ \"version\"").unwrap();
    // The next write also removes the file if it appears while a run has the lock file open.
    let script = format!("echo >{}; exit 7", records.path("b.json.retry-tmp").display());
    let run = records.retry().args(["-n1", "--breaker", "b"]).sh(&script).run();
    run.code(7).check_stderr(|text| !text.contains(WITHOUT));
    assert_eq!(records.files(), ["b.json", "b.json.lock"]);
    assert_eq!(records.failures("b"), 2);
}

// Files that are not records.

#[test]
fn what_is_no_record_is_set_aside_and_begun_anew() {
    let huge = [b"{\"version\": 1, \"x\": \"".to_vec(), vec![b'x'; 1 << 20], b"\"}".to_vec()].concat();
    let random: Vec<u8> = (0..999u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    for bytes in [&b""[..], b"{ \"version\": 1, \"clock\": {", b"null", &random, &huge] {
        let records = Records::new();
        once(&records, 7).code(7);
        fs::write(records.path("b.json"), bytes).unwrap();
        let run = once(&records, 7);
        run.code(7).says(&[
            "retry: sh: breaker and budget b: the file was damaged; retry renamed it to {*}/b.json.corrupt and no longer uses it",
            "retry: sh: gave up after 1 attempt in {T}: exited 7",
        ]);
        assert_eq!(fs::read(records.path("b.json.corrupt")).unwrap(), bytes);
        assert_eq!(records.failures("b"), 1);
        once(&records, 7).code(7).says(&["retry: sh: gave up after 1 attempt in {T}: exited 7"]);
        // A successful run stays a success, and it also reports the file that was set aside.
        fs::write(records.path("b.json"), bytes).unwrap();
        once(&records, 0).code(0).says(&["{*}renamed it to{*}"]);
    }
}

/// Makes a place unusable, and returns the path that the message names.
type Spoil = fn(&Records) -> PathBuf;

/// Ways to put something else in the place of a file.
const SPOILT: [(&str, Spoil); 11] = [
    ("the file is a directory", |records| made(records, "b.json", |path| fs::create_dir(path).unwrap())),
    ("the file is a fifo", |records| made(records, "b.json", |path| mkfifo(path, Mode::S_IRWXU).unwrap())),
    ("the file is a link", |records| made(records, "b.json", |path| link(records, path))),
    ("the file is a link to nothing", |records| {
        made(records, "b.json", |path| symlink(records.scratch.join("none"), path).unwrap())
    }),
    ("the lock is a directory", |records| made(records, "b.json.lock", |path| fs::create_dir(path).unwrap())),
    ("the lock is a fifo", |records| {
        made(records, "b.json.lock", |path| mkfifo(path, Mode::S_IRWXU).unwrap())
    }),
    ("the lock is a link", |records| made(records, "b.json.lock", |path| link(records, path))),
    ("the lock is a link to nothing", |records| {
        made(records, "b.json.lock", |path| symlink(records.scratch.join("none"), path).unwrap())
    }),
    ("what is written beside is a directory", |records| {
        made(records, "b.json.retry-tmp", |path| fs::create_dir(path).unwrap())
    }),
    ("it is of a newer version", |records| {
        made(records, "b.json", |path| fs::write(path, "{\"version\": 3, \"clock\": 0}").unwrap())
    }),
    ("the directory is a file", |records| {
        fs::write(records.directory(), "x").unwrap();
        records.directory()
    }),
];

fn made(records: &Records, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let _ = fs::create_dir(records.directory());
    let path = records.path(name);
    make(&path);
    path
}

/// Makes a link to a file outside of the directory. The outside file must stay unchanged.
fn link(records: &Records, path: &Path) {
    symlink(records.scratch.file("outside", "outside"), path).unwrap();
}

#[test]
fn where_it_cannot_be_used_the_command_runs_and_one_line_says_so() {
    for (what, spoil) in SPOILT {
        let records = Records::new();
        let path = spoil(&records);
        for status in [7, 0] {
            let run = once(&records, status);
            let line =
                format!("retry: sh: continuing without breaker and budget b: {{*}}{}{{*}}", path.display());
            match status {
                // A run learns only under the lock that it cannot write a file beside the record.
                0 if what.starts_with("what is written beside") => run.code(0).silent(),
                0 => run.code(0).says(&[&line]),
                _ => run.code(7).says(&[&line, "retry: sh: gave up after 1 attempt in {T}: exited 7"]),
            };
            run.check(run.took < SOON / 2, what);
        }
        // Several attempts print one line, and so does a quiet run.
        let run = records.retry().args(["-n3", "-d0", "--breaker", "b"]).sh("exit 7").run();
        assert_eq!(run.code(7).stderr.matches(WITHOUT).count(), 1, "{what}: {}", run.stderr);
        let run = records.retry().args(["-q", "-n3", "-d0", "--breaker", "b"]).sh("exit 7").run();
        assert_eq!(run.code(7).stderr.matches(WITHOUT).count(), 1, "{what}: {}", run.stderr);
        let run = records.retry().args(["-qq", "--breaker", "b"]).sh("exit 0").run();
        run.code(0).silent();
        // An explicit request about the breaker fails.
        records.retry().arg("--breaker-trip=b").run().code(125).stdout("");
        let none = records.scratch.join("none");
        assert!(!none.exists(), "{what}");
        let outside = records.scratch.join("outside");
        assert!(!outside.exists() || fs::read(outside).unwrap() == b"outside", "{what}");
    }
}

#[test]
fn what_is_in_trouble_is_left_out_alone() {
    let records = Records::new();
    let _ = SPOILT[9].1(&records);
    fs::rename(records.path("b.json"), records.path("c.json")).unwrap();
    let both = |budget: &str| {
        let options = ["-n9", "-d0", "--breaker", "a", "--breaker-failures", "99", "--budget", budget];
        records.retry().args(options).sh("exit 7").run()
    };
    // The budget cannot be used, but the breaker still counts.
    both("c=2/h")
        .code(7)
        .stderr_contains("continuing without budget c: ")
        .stderr_contains("after 9 attempts");
    assert_eq!(records.failures("a"), 9);
    // The breaker cannot be used, but the budget still counts.
    fs::rename(records.path("c.json"), records.path("a.json")).unwrap();
    both("d=2/h")
        .code(7)
        .stderr_contains("continuing without breaker a: ")
        .stderr_contains("budget d is spent");
}

#[test]
fn what_was_never_a_record_is_nobody_s_to_move() {
    let scratch = Scratch::new();
    for content in ["#!/bin/sh\necho deployed\n", "{\"version\": \"1.0.0\"}", "x"] {
        let path = scratch.file("deploy", content);
        let run =
            Retry::new(BINARY).args(["-n1", "--breaker", "./deploy"]).sh("exit 7").dir(scratch.path()).run();
        run.code(7).stderr_contains("continuing without breaker ./deploy: ");
        run.stderr_contains("/deploy is not a record of retry");
        for option in ["--breaker-reset=./deploy", "--breaker-trip=./deploy"] {
            Retry::new(BINARY).arg(option).dir(scratch.path()).run().code(125).stdout("");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
    // A lock file of another program does not carry the signature of retry.
    fs::remove_file(scratch.join("deploy")).unwrap();
    for content in ["mine", "d41d8cd98f00b204e9800998ecf8427e"] {
        let lock = scratch.file("deploy.lock", content);
        let run =
            Retry::new(BINARY).args(["-n1", "--breaker", "./deploy"]).sh("exit 7").dir(scratch.path()).run();
        run.code(7).stderr_contains("/deploy.lock is not a lock file of retry");
        assert_eq!(fs::read_to_string(lock).unwrap(), content);
    }
    // Each of several damaged files is kept.
    let records = Records::new();
    for n in 1..=12 {
        once(&records, 7).code(7);
        fs::write(records.path("b.json"), format!("damaged {n}")).unwrap();
    }
    let kept = records.files().iter().filter(|name| name.contains("corrupt")).count();
    assert_eq!(
        (kept, fs::read_to_string(records.path("b.json.corrupt")).unwrap().as_str()),
        (9, "damaged 1")
    );
}

#[test]
fn a_newer_version_is_left_alone_and_shown_as_unusable() {
    let records = Records::new();
    let path = SPOILT[9].1(&records);
    let _ = once(&records, 7);
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"version\": 3, \"clock\": 0}");
    let run = records.retry().arg("--breaker-status").run();
    run.code(0).stderr_contains("newer retry (format version 3)");
    assert!(String::from_utf8_lossy(&run.stdout).contains("b     unusable"));
    records
        .retry()
        .arg("--breaker-status=b")
        .run()
        .code(125)
        .stderr_contains("newer retry (format version 3)");
    records
        .retry()
        .arg("--breaker-reset=b")
        .run()
        .code(125)
        .stderr_contains("newer retry (format version 3)");
}

#[test]
fn a_lock_that_is_held_is_waited_for_for_a_second() {
    let records = Records::new();
    once(&records, 7).code(7);
    let lock = records.locked("b");
    let run = once(&records, 0);
    run.code(0).says(&["retry: sh: continuing without breaker and budget b: {*}/b.json.lock has been locked by process {*} for too long"]);
    assert!(run.took >= Duration::from_secs(1), "{:?}", run.took);
    // A run that waits for the lock gets it as soon as it is free.
    let records = &records;
    thread::scope(|scope| {
        let waiting = scope.spawn(|| once(records, 7));
        thread::sleep(Duration::from_millis(300));
        drop(lock);
        let run = waiting.join().unwrap();
        run.check(!run.stderr.contains(WITHOUT), "it got the lock");
    });
    assert_eq!(records.failures("b"), 2);
}

#[test]
fn where_nothing_can_be_written_the_command_runs() {
    let records = Records::new();
    once(&records, 7).code(7);
    let script = format!("ulimit -f 0; exec {BINARY} -n1 --breaker b -- sh -c 'exit 7'");
    let run = Retry::new("sh").args(["-c", &script]).env("RETRY_STATE", records.directory()).run();
    run.code(7).says(&[
        "retry: sh: continuing without breaker b: cannot write {*}/b.json.retry-tmp: File too large",
        "retry: sh: gave up after 1 attempt in {T}: exited 7",
    ]);
    // The earlier failure is still recorded, and no other file remains.
    assert_eq!(
        (records.failures("b"), records.files()),
        (1, vec!["b.json".to_owned(), "b.json.lock".to_owned()])
    );
}

#[test]
fn on_a_full_disk_the_command_runs() {
    let records = Records::new();
    let directory = records.directory();
    fs::create_dir(&directory).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=16k,nr_inodes=20 tmpfs {directory} || exit 99
         {BINARY} -n1 --breaker b -- sh -c 'exit 7'
         head -c 100000 /dev/zero >{directory}/full
         {BINARY} -n1 --breaker b -- sh -c 'exit 7'; echo $?
         {BINARY} -n1 --breaker b -- true; echo $?
         rm {directory}/full; ls {directory}
         {BINARY} -n1 --breaker b -- sh -c 'exit 7'
         cat {directory}/b.json",
        directory = directory.display()
    );
    let unshare = Retry::new("unshare").args(["--mount", "sh", "-c", &script]);
    let run = unshare.env("RETRY_STATE", &directory).run();
    let text = String::from_utf8_lossy(&run.stdout);
    if run.status.code() == Some(99) || run.stderr.contains("unshare") {
        needs::left_out("the right to mount a file system");
        return;
    }
    run.check(run.stderr.matches(WITHOUT).count() == 2, "two lines");
    run.stderr_contains("b.json.retry-tmp: No space left on device");
    run.check(text.starts_with("7\n0\nb.json\nb.json.lock\n"), "statuses, and no stray file");
    run.check(text.contains("\"failures\":2"), "what could be counted was");
}

#[test]
fn a_lock_that_is_held_turns_no_success_into_a_failure() {
    let records = Records::new();
    once(&records, 7).code(7);
    let _lock = records.locked("b");
    let options = ["--breaker", "b", "--deadline", "3", "-n1"];
    let run = records.retry().args(options).sh("exit 0").run();
    run.code(0).stderr_contains(WITHOUT);
    run.check(run.took < Duration::from_secs(3), "within the deadline");
}

#[test]
fn an_odd_umask_leaves_what_the_next_run_can_use() {
    for umask in ["0777", "0277", "000"] {
        let records = Records::new();
        let run = |umask: &str| {
            let script = format!("umask {umask}; exec {BINARY} -n1 --breaker b -- sh -c 'exit 7'");
            let shell = Retry::new("sh").args(["-c", &script]);
            shell
                .env("RETRY_STATE", records.path("deep/er"))
                .run()
                .code(7)
                .check_stderr(|text| !text.contains(WITHOUT));
        };
        run(umask);
        run("022");
        let mode = |name: &str| fs::metadata(records.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("deep"), mode("deep/er"), mode("deep/er/b.json")), (0o700, 0o700, 0o600), "{umask}");
    }
}

impl Run {
    #[track_caller]
    fn check_stderr(&self, holds: impl FnOnce(&str) -> bool) {
        self.check(holds(&self.stderr), "another stderr");
    }
}

// Other users.

/// The binary as run by a user without privileges, if root runs the test.
fn nobody(scratch: &Scratch) -> Option<impl Fn() -> Retry> {
    if !Uid::effective().is_root() {
        needs::left_out("the rights of root");
        return None;
    }
    let binary = scratch.join("retry");
    assert!(Command::new("install").args(["-m", "755", BINARY]).arg(&binary).status().unwrap().success());
    fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let run = move || {
        let who = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        Retry::new("setpriv").args(who).arg(&binary)
    };
    let runs = run().arg("--version").run().status.code() == Some(0);
    if !runs {
        needs::left_out("a temporary directory that every user may enter");
    }
    runs.then_some(run)
}

#[test]
fn another_user_s_directory_is_no_place_and_root_leaves_its_owner_in_charge() {
    let records = Records::new();
    let Some(nobody) = nobody(&records.scratch) else { return };
    let directory = records.directory();
    let run = || nobody().env("RETRY_STATE", &directory).args(["-n1", "--breaker", "b"]).sh("exit 7").run();
    // Root owns the directory.
    once(&records, 7).code(7);
    run()
        .code(7)
        .stderr_contains("continuing without breaker b: cannot ")
        .stderr_contains("Permission denied");
    // The user owns the directory, but it is read-only.
    fs::remove_dir_all(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    let owned = |path: &Path| chown(path, Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534))).unwrap();
    owned(&directory);
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o500)).unwrap();
    run()
        .code(7)
        .stderr_contains("continuing without breaker b: cannot ")
        .stderr_contains("Permission denied");
    assert!(records.files().is_empty());
    // Files that root creates belong to the directory's owner.
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
    let path = records.path("b.json");
    records.retry().arg("--breaker-trip").arg(&path).run().code(0);
    for name in records.files() {
        assert_eq!(fs::metadata(records.path(&name)).unwrap().uid(), 65534, "{name}");
    }
    run().code(75);
    records.retry().arg("--breaker-reset").arg(&path).run().code(0);
    run().code(7);
    assert_eq!(records.failures("b"), 1);
    // Directories that root creates in another user's home belong to that user, too.
    let home = records.scratch.join("home");
    fs::create_dir(&home).unwrap();
    owned(&home);
    let as_root = crate::support::retry().env("HOME", &home).args(["-n1", "--breaker", "b"]);
    as_root.sh("exit 7").run().code(7);
    for name in [".local", ".local/state", ".local/state/retry", ".local/state/retry/b.json"] {
        assert_eq!(fs::metadata(home.join(name)).unwrap().uid(), 65534, "{name}");
    }
    // The file cannot be read.
    fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    run().code(7).stderr_contains("continuing without breaker b: cannot read ");
}

// Changes of the clock.

#[test]
fn no_jump_of_a_clock_opens_it_for_longer_or_closes_it() {
    const YEAR: i64 = 365 * 86_400_000;
    let other = "00000000-0000-0000-0000-000000000000";
    for (boot, unix, most) in [
        // The wall clock was set back or forward within a boot.
        (None, 30 * YEAR, Some(30)),
        (None, -30 * YEAR, Some(30)),
        // There was a reboot.
        (Some(other), 0, Some(30)),
        // After a reboot the clock was set back by an hour, a day or thirty years.
        (Some(other), 3_600_000, Some(30)),
        (Some(other), 86_400_000, Some(30)),
        (Some(other), 30 * YEAR, Some(30)),
        // After a reboot the clock was set forward. The cooldown seems to be over, and one run
        // probes.
        (Some(other), -3_600_000, None),
        (Some(other), -30 * YEAR, None),
    ] {
        let records = Records::new();
        for _ in 0..5 {
            once(&records, 7).code(7);
        }
        let what = format!("{boot:?} {unix}");
        records.edit("b", |record| {
            let clock = &mut record["clock"];
            clock["unix_ms"] = (clock["unix_ms"].as_i64().unwrap() + unix).into();
            if let Some(boot) = boot {
                clock["boot_id"] = boot.into();
                // Before the reboot the machine was up for a year.
                for (part, name) in [("clock", "boot_ms"), ("breaker", "first_ms"), ("breaker", "since_ms")] {
                    record[part][name] = (record[part][name].as_i64().unwrap() + YEAR).into();
                }
            }
        });
        let run = records.retry().args(["--breaker-status=b", "--json"]).run();
        let seen: serde_json::Value = serde_json::from_slice(&run.code(0).stdout).unwrap();
        assert_eq!(seen["state"], "open", "{what}");
        let left = seen["next_probe_seconds"].as_f64().unwrap();
        if let Some(most) = most {
            assert!(left > 0.0 && left <= f64::from(most), "{what}: {left}");
            once(&records, 0).code(75);
            assert_eq!(records.state("b"), "open", "{what}");
        } else {
            assert!(left == 0.0, "{what}: {left}");
            // A failed probe opens the breaker again, which shows that the clock did not close it.
            once(&records, 7).code(7);
            assert_eq!(records.read("b")["breaker"]["length_ms"], 60_000, "{what}");
        }
    }
}

#[test]
fn after_a_reboot_with_the_clock_set_back_it_does_not_stick() {
    let records = Records::new();
    let options = ["-n1", "--breaker", "b", "--breaker-failures", "1", "--breaker-cooldown", "1"];
    records.retry().args(options).sh("exit 7").run().code(7);
    records.retry().args(["-n2", "-d0", "--budget", "b=1/1s"]).sh("exit 7").run().code(7);
    records.edit("b", |record| {
        record["clock"]["boot_id"] = "another".into();
        record["clock"]["unix_ms"] = (record["clock"]["unix_ms"].as_i64().unwrap() + 3_600_000).into();
    });
    // The look at the breaker records the remaining time, so that the remaining time becomes less.
    records.retry().args(options).sh("exit 0").run().code(75);
    process::wait_until("the cooldown is over", || {
        records.retry().args(options).sh("exit 0").run().status.code() == Some(0)
    });
    // The budget does not stick either: a token returns within a second.
    process::wait_until("there is a token", || {
        let run = records.retry().args(["-n2", "-d0", "--budget", "b=1/1s"]).sh("exit 7").run();
        run.stderr.contains("gave up after 2 attempts")
    });
}

#[test]
fn a_run_that_dies_with_its_signal_gives_the_lease_up() {
    let records = Records::new();
    records.retry().arg("--breaker-trip=b=1").run().code(0);
    records.age("b", SOON);
    let running = records.retry().args(["--breaker", "b"]).sh("exec sleep 300").limit(SOON).spawn();
    process::wait_until("it probes", || records.state("b") == "half-open");
    running.signal(Signal::SIGTERM);
    running.wait_bounded().signal(Signal::SIGTERM);
    assert_eq!(records.state("b"), "open");
    once(&records, 0).code(0);
}
