//! The rows of the profile table, tested with real failures of the programs themselves: against
//! scripted servers on loopback, and by wrong options.
//!
//! If a program is missing, its test ends early: see `support/needs.rs`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::needs;
use crate::support::process::wait_until;
use crate::support::{Log, RefusedPort, Reply, Run, Scratch, Server, refused_port, retry};

/// A program that is called through a script of the same name, away from its user's configuration.
/// The script counts the calls. It runs the program in the first attempt only, and lets the second
/// attempt succeed.
struct Program {
    name: &'static str,
    row: &'static str,
    scratch: Scratch,
    script: PathBuf,
    calls: Log,
    env: Vec<(&'static str, String)>,
}

impl Program {
    /// The program `name`, if this machine has it.
    #[track_caller]
    fn of(name: &'static str, row: &'static str) -> Option<Self> {
        needs::program(name).map(|found| Self::new(&found, name, row))
    }

    /// `sh` with the profile `row`.
    fn sh(row: &'static str) -> Self {
        Self::new(Path::new("/bin/sh"), "sh", row)
    }

    fn new(found: &Path, name: &'static str, row: &'static str) -> Self {
        let scratch = Scratch::new();
        let calls = scratch.log("calls");
        fs::create_dir(scratch.join("bin")).unwrap();
        let (count, found) = (calls.echo("$#"), found.display());
        let script = format!("#!/bin/sh\n{count}\n[ $RETRY_ATTEMPT = 1 ] || exit 0\nexec '{found}' \"$@\"\n");
        let script = scratch.script(&format!("bin/{name}"), script);
        Self { name, row, scratch, script, calls, env: Vec::new() }
    }

    fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Runs the program under retry, which makes at most two attempts.
    #[track_caller]
    fn run<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Failure<'_> {
        self.run_with(&[], args)
    }

    /// Runs the program with more options of retry.
    #[track_caller]
    fn run_with<A: AsRef<str>>(&self, options: &[&str], args: impl IntoIterator<Item = A>) -> Failure<'_> {
        fs::write(self.calls.path(), "").unwrap();
        let mut command = retry()
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.scratch.path())
            .env("LC_ALL", "C");
        for (name, value) in &self.env {
            command = command.env(name, value);
        }
        command = command.args(["-n", "2", "-d", "0"]).args(options).arg("--").arg(&self.script);
        for arg in args {
            command = command.arg(arg.as_ref());
        }
        Failure { program: self, run: command.dir(self.scratch.path()).run() }
    }
}

/// The reaction of retry to a failure.
struct Failure<'a> {
    program: &'a Program,
    run: Run,
}

impl Failure<'_> {
    /// Asserts that retry tried again because of `words`. `statuses` are the statuses of all
    /// versions of the program.
    #[track_caller]
    fn retryable(self, statuses: &[i32], words: &str) {
        let name = self.program.name;
        let first = self.run.messages().into_iter().next().unwrap_or_default();
        let known = statuses.iter().any(|status| first.contains(&format!(" exited {status} (")));
        self.run.check(known, &format!("a status among {statuses:?}"));
        self.run.code(0).says(&[
            &format!("retry: {name}: attempt 1 of 2 exited {{*}} ({{*}}{words}{{*}}); next in {{T}}"),
            &format!("retry: {name}: succeeded at attempt 2 of 2 in {{T}}"),
        ]);
        assert_eq!(self.program.calls.lines().len(), 2);
    }

    /// Asserts that retry tried again, because the failure says nothing about its cause.
    #[track_caller]
    fn ambiguous(self, status: i32) {
        let name = self.program.name;
        self.run.code(0).says(&[
            &format!("retry: {name}: attempt 1 of 2 exited {status}; next in {{T}}"),
            &format!("retry: {name}: succeeded at attempt 2 of 2 in {{T}}"),
        ]);
        assert_eq!(self.program.calls.lines().len(), 2);
    }

    /// Asserts that retry did not try again, because of `words` and the row.
    #[track_caller]
    fn fatal(self, statuses: &[i32], words: &str) {
        let (Program { name, row, .. }, status) = (self.program, self.run.status.code());
        let known = status.is_some_and(|status| statuses.contains(&status));
        self.run.check(known, &format!("a status among {statuses:?}"));
        let status = status.unwrap();
        self.run.says(&[&format!(
            "retry: {name}: not retried: exited {status} ({{*}}{words}{{*}}profile {row}{{*}})"
        )]);
        assert_eq!(self.program.calls.lines().len(), 1);
    }
}

/// A server that always answers with this status.
fn answers(status: u16) -> Server {
    Server::new([Reply::status(status)])
}

/// A server without a protocol: it sends a greeting, reads once, sends an answer, and closes.
struct Talker {
    port: u16,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Talker {
    fn new(greeting: impl Into<Vec<u8>>, answer: impl Into<Vec<u8>>) -> Self {
        let (greeting, answer) = (greeting.into(), answer.into());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                // A client that disconnects in the middle is not a failure.
                let _ = talk(stream, &greeting, &answer);
            }
        });
        Self { port, stopping, thread: Some(thread) }
    }
}

fn talk(mut stream: TcpStream, greeting: &[u8], answer: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(greeting)?;
    if !answer.is_empty() {
        let _ = stream.read(&mut [0; 4096])?;
        stream.write_all(answer)?;
    }
    stream.shutdown(Shutdown::Write)?;
    // The server reads to the end, because a close with unread bytes would be a reset.
    while stream.read(&mut [0; 4096])? > 0 {}
    Ok(())
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn curl_tells_a_status_that_passes_from_one_that_stays() {
    let Some(curl) = Program::of("curl", "curl") else { return };
    for status in [408, 425, 429, 500, 502, 503, 504, 522] {
        let server = answers(status);
        curl.run(["-q", "-fsS", &server.url("/")]).retryable(&[22], &format!("HTTP {status}"));
        assert_eq!(server.requests().len(), 1);
    }
    for status in [400, 401, 403, 404, 410, 422, 501, 505, 511] {
        let server = answers(status);
        curl.run(["-q", "-fsS", &server.url("/")]).fatal(&[22], &format!("HTTP {status}"));
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn curl_tells_the_status_of_a_proxy_and_of_headers_on_stdout() {
    let Some(curl) = Program::of("curl", "curl") else { return };
    for (status, words) in [(503, "HTTP 503"), (407, "HTTP 407")] {
        let proxy = answers(status);
        let failure = curl.run(["-q", "-sS", "-p", "-x", &proxy.url("/"), "https://nothing.invalid/"]);
        if status == 503 { failure.retryable(&[56], words) } else { failure.fatal(&[56], words) }
    }
    let server = answers(503);
    curl.run(["-q", "-fs", "-i", &server.url("/")]).retryable(&[22], "HTTP 503");
}

#[test]
fn wget_tells_a_status_that_passes_from_one_that_stays() {
    let Some(wget) = Program::of("wget", "wget") else { return };
    let args = ["--no-config", "--no-proxy", "--tries=1", "-nv", "-O", "-"];
    for (status, words) in [(503, "HTTP 503"), (429, "HTTP 429")] {
        let server = answers(status);
        wget.run(args.iter().copied().chain([&*server.url("/")])).retryable(&[8], words);
    }
    for (status, words) in [(404, "HTTP 404"), (403, "HTTP 403"), (501, "HTTP 501")] {
        let server = answers(status);
        wget.run(args.iter().copied().chain([&*server.url("/")])).fatal(&[8], words);
    }
    let nobody = refused_port();
    wget.run(args.iter().copied().chain([&*nobody.url("/")])).retryable(&[4], "failed connection");
    wget.run(["--no-such-option"]).fatal(&[2], "bad option");
    wget.run(args.iter().copied().chain(["nosuch://127.0.0.1/"])).fatal(&[1], "Unsupported scheme");
}

#[test]
fn any_programs_words_are_read_where_http_is_asked_for() {
    let sh = Program::sh("http");
    for (line, words) in [
        ("HTTP/1.1 503 Service Unavailable", "HTTP 503"),
        ("error: request failed (HTTP 429)", "HTTP 429"),
        ("x: HTTP error 500: oops", "HTTP 500"),
    ] {
        for stream in ["", " >&2"] {
            let script = format!("echo '{line}'{stream}; exit 3");
            sh.run_with(&["-p", "http"], ["-c", &script]).retryable(&[3], words);
        }
    }
    sh.run_with(&["-p", "http"], ["-c", "echo 'HTTP 404' >&2; exit 3"]).fatal(&[3], "HTTP 404");
}

#[test]
fn sysexits_are_read_where_they_are_asked_for() {
    let sh = Program::sh("sysexits");
    sh.run_with(&["-p", "sysexits"], ["-c", "exit 75"]).retryable(&[75], "temporary failure");
    sh.run_with(&["-p", "sysexits"], ["-c", "exit 64"]).fatal(&[64], "usage");
}

#[test]
fn httpie() {
    let Some(http) = Program::of("http", "httpie") else { return };
    let args = ["--ignore-stdin", "--check-status", "--timeout", "10"];
    let nobody = refused_port();
    http.run(args.iter().copied().chain([&*nobody.url("/")])).retryable(&[1], "refused connection");
    for (status, exit, words) in [(503, 5, "HTTP 503"), (429, 4, "HTTP 429")] {
        let server = answers(status);
        http.run(args.iter().copied().chain([&*server.url("/")])).retryable(&[exit], words);
    }
    for (status, exit, words) in [(404, 4, "HTTP 404"), (302, 3, "redirection")] {
        let server = answers(status);
        http.run(args.iter().copied().chain([&*server.url("/")])).fatal(&[exit], words);
    }
    http.run(["--no-such-option", "http://127.0.0.1/"]).fatal(&[1], "usage");
}

/// Options that keep ssh from its user's configuration and from questions.
const SSH: [&str; 9] = [
    "-F",
    "none",
    "-oBatchMode=yes",
    "-oIdentityAgent=none",
    "-oStrictHostKeyChecking=yes",
    "-oUserKnownHostsFile=/dev/null",
    "-oGlobalKnownHostsFile=/dev/null",
    "-oIdentitiesOnly=yes",
    // If an option has several values, ssh takes the first, so a test can override this value with
    // an earlier option.
    "-oConnectTimeout=30",
];

#[test]
fn ssh_and_scp_that_do_not_get_through() {
    let nobody = refused_port();
    let port = nobody.port().to_string();
    let Some(ssh) = Program::of("ssh", "ssh") else { return };
    ssh.run(SSH.iter().copied().chain(["-p", &port, "127.0.0.1", "true"]))
        .retryable(&[255], "refused connection");
    ssh.run(SSH.iter().copied().chain(["nothing.invalid", "true"])).retryable(&[255], "unresolved host name");
    let silent = Server::new([Reply::Stall]);
    let soon = ["-oConnectTimeout=1"].into_iter().chain(SSH);
    ssh.run(soon.chain(["-p", &silent.port().to_string(), "127.0.0.1", "true"]))
        .retryable(&[255], "connection timeout");
    let closing = Talker::new("", "");
    ssh.run(SSH.iter().copied().chain(["-p", &closing.port.to_string(), "127.0.0.1", "true"]))
        .retryable(&[255], "kex_exchange_identification");
    ssh.run(SSH.iter().copied().chain(["-oNoSuchOption=1", "127.0.0.1"]))
        .fatal(&[255], "Bad configuration option");
    let Some(scp) = Program::of("scp", "ssh") else { return };
    // scp exits with 1 if its ssh ends before scp has sent a request.
    scp.run(SSH.iter().copied().chain(["-P", &port, "127.0.0.1:/x", "y"]))
        .retryable(&[255, 1], "refused connection");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A running sshd, which ends on drop.
struct Sshd {
    child: Child,
    scratch: Scratch,
    port: u16,
}

impl Sshd {
    /// Starts an sshd with its own host key, if sshd is installed and may run. It lets nobody in.
    #[track_caller]
    fn start() -> Option<Self> {
        let sshd = needs::program("sshd")?;
        if !needs::all(&["ssh-keygen"]) {
            return None;
        }
        // As root sshd needs this directory, which its package creates at boot (sshd(8), FILES).
        if is_root() && !Path::new("/run/sshd").is_dir() {
            needs::left_out("the directory /run/sshd");
            return None;
        }
        let scratch = Scratch::new();
        for key in ["host", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(scratch.join(key))
                .stdin(Stdio::null())
                .status();
            assert!(made.unwrap().success());
        }
        // The port is free now. Another process could take it before sshd does.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let config = scratch.file(
            "config",
            format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nAuthorizedKeysFile none\n",
                scratch.join("host").display()
            ),
        );
        let public = fs::read_to_string(scratch.join("host.pub")).unwrap();
        scratch.file("known", format!("[127.0.0.1]:{port} {public}"));
        let child = Command::new(sshd)
            .args(["-D", "-f"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sshd = Self { child, scratch, port };
        wait_until("sshd listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        Some(sshd)
    }

    /// Options to reach this sshd with a key that it does not know.
    fn options(&self, known_hosts: &str) -> Vec<String> {
        let mut options: Vec<String> = SSH.iter().map(|&option| option.to_owned()).collect();
        options[5] = format!("-oUserKnownHostsFile={}", self.scratch.join(known_hosts).display());
        options.push(format!("-oIdentityFile={}", self.scratch.join("stranger").display()));
        options.push(format!("-oPort={}", self.port));
        options
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_login_that_ssh_refuses_may_come_too_early_and_an_unknown_host_does_not_pass() {
    let Some(ssh) = Program::of("ssh", "ssh") else { return };
    let Some(sshd) = Sshd::start() else { return };
    let options = sshd.options("known");
    ssh.run(options.iter().map(String::as_str).chain(["nobody@127.0.0.1", "true"]))
        .retryable(&[255], "denied permission");
    let options = sshd.options("none");
    let (command, words) = (format!("ssh {}", options.join(" ")), "unverified host key");
    ssh.run(options.iter().map(String::as_str).chain(["nobody@127.0.0.1", "true"])).fatal(&[255], words);
    if let Some(rsync) = Program::of("rsync", "rsync") {
        // rsync exits with 12 if it sees the end of the stream before the end of ssh.
        rsync.run(["-e", &command, "nobody@127.0.0.1:/x", "y"]).fatal(&[255, 12], words);
    }
    if let Some(git) = git() {
        let git = git.env("GIT_SSH_COMMAND", command);
        git.run(["ls-remote", "ssh://nobody@127.0.0.1/x.git"]).fatal(&[128], words);
    }
}

#[test]
fn rsync() {
    let nobody = refused_port();
    let Some(rsync) = Program::of("rsync", "rsync") else { return };
    rsync.run([&*format!("rsync://127.0.0.1:{}/m/x", nobody.port()), "y"]).retryable(&[10], "socket I/O");
    if needs::all(&["ssh"]) {
        let shell = format!("ssh {} -p {}", SSH.join(" "), nobody.port());
        rsync.run(["-e", &shell, "127.0.0.1:/x", "y"]).retryable(&[255, 12], "refused connection");
    }
    for (answer, words) in [
        ("@ERROR: auth failed on module m\n", "failed authentication"),
        ("@ERROR: Unknown module 'm'\n", "Unknown module"),
        ("@ERROR: max connections (2) reached -- try again later\n", "too many connections"),
    ] {
        let daemon = Talker::new("@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n", answer);
        let failure = rsync.run([&*format!("rsync://127.0.0.1:{}/m/x", daemon.port), "y"]);
        if answer.contains("max") { failure.retryable(&[5], words) } else { failure.fatal(&[5], words) }
    }
    rsync.run(["no-such-file", "y"]).fatal(&[23], "No such file or directory");
    rsync.run(["--no-such-option"]).fatal(&[1], "syntax or usage");
}

#[track_caller]
fn git() -> Option<Program> {
    let git = Program::of("git", "git")?;
    let git = git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    Some(git.env("GIT_TERMINAL_PROMPT", "0"))
}

#[test]
fn git_that_does_not_reach_its_server() {
    need!("ssh", "git");
    let Some(git) = git() else { return };
    let git = git.env("GIT_SSH_COMMAND", format!("ssh {}", SSH.join(" ")));
    let nobody = refused_port();
    git.run(["ls-remote", &nobody.url("/x.git")]).retryable(&[128], "failed connection");
    git.run(["ls-remote", "http://nothing.invalid/x.git"]).retryable(&[128], "unresolved host name");
    git.run(["ls-remote", &format!("git://127.0.0.1:{}/x.git", nobody.port())])
        .retryable(&[128], "failed connection");
    git.run(["ls-remote", &format!("ssh://127.0.0.1:{}/x.git", nobody.port())])
        .retryable(&[128], "refused connection");
    for (reply, words) in [(Reply::Reset, "reset connection"), (Reply::Close, "Empty reply from server")] {
        let server = Server::new([reply]);
        git.run(["ls-remote", &server.url("/x.git")]).retryable(&[128], words);
    }
}

#[test]
fn git_tells_a_status_that_passes_from_one_that_stays() {
    let Some(git) = git() else { return };
    for (status, words) in [(503, "HTTP 503"), (429, "HTTP 429"), (500, "HTTP 500")] {
        let server = answers(status);
        git.run(["clone", &server.url("/x.git"), "x"]).retryable(&[128], words);
    }
    for (reply, words) in [(Reply::status(403), "HTTP 403"), (Reply::status(404), "missing repository")] {
        let server = Server::new([reply]);
        git.run(["clone", &server.url("/x.git"), "x"]).fatal(&[128], words);
        assert_eq!(server.requests().len(), 1);
    }
    let server = Server::new([Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\"")]);
    let url = server.url("/x.git").replace("http://", "http://user:wrong@");
    git.run(["clone", &url, "x"]).retryable(&[128], "failed authentication");
    let server = Server::new([Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\"")]);
    git.run(["clone", &server.url("/x.git"), "x"]).retryable(&[128], "missing user name or password");
}

#[test]
fn git_that_is_asked_for_what_is_not_there() {
    need!("git");
    let git = git().unwrap().env("GIT_CEILING_DIRECTORIES", "/");
    git.run(["-C", "/", "status"]).fatal(&[128], "missing git repository");
    git.run(["ls-remote", "no-such-repository"]).fatal(&[128], "missing git repository");
    git.run(["clone", "--no-such-option"]).fatal(&[129], "usage");
    git.run(["no-such-command"]).fatal(&[1], "unknown git command");
    Command::new("git").args(["init", "-q"]).arg(git.scratch.join("r")).status().unwrap();
    git.run(["-C", "r", "rev-parse", "no-such-ref"]).fatal(&[128], "unknown revision or path");
    git.scratch.file("r/.git/index.lock", "");
    git.scratch.file("r/file", "");
    git.run(["-C", "r", "add", "file"]).retryable(&[128], "existing lock file");
}

/// An apt-get whose only source is `source`.
fn apt(source: &str) -> Program {
    let apt = Program::of("apt-get", "apt").unwrap();
    let at = |name: &str| apt.scratch.join(name).display().to_string();
    for directory in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    apt.scratch.file("status", "");
    apt.scratch.file("sources", format!("deb {source} stable main\n"));
    let settings = [
        ("Dir::State::lists", at("lists")),
        ("Dir::State::status", at("status")),
        ("Dir::Cache", at("cache")),
        ("Dir::Etc::main", at("none")),
        ("Dir::Etc::parts", at("none")),
        ("Dir::Etc::sourcelist", at("sources")),
        ("Dir::Etc::sourceparts", at("none")),
        ("Dir::Etc::trusted", at("none")),
        ("Dir::Etc::trustedparts", at("none")),
        ("APT::Sandbox::User", "root".to_owned()),
        ("APT::Update::Error-Mode", "any".to_owned()),
        ("Acquire::Retries", "0".to_owned()),
    ];
    let mut config = String::new();
    for (name, value) in settings {
        config.push_str(&format!("{name} \"{value}\";\n"));
    }
    let config = apt.scratch.file("config", config).display().to_string();
    apt.env("APT_CONFIG", config)
}

#[test]
fn apt_get() {
    need!("apt-get");
    for (status, words) in [(503, "HTTP 503"), (429, "HTTP 429")] {
        let server = answers(status);
        apt(&server.url("")).run(["update"]).retryable(&[100], words);
    }
    let gone = answers(410);
    apt(&gone.url("")).run(["update"]).fatal(&[100], "HTTP 410");
    let nobody = refused_port();
    apt(&nobody.url("")).run(["update"]).retryable(&[100], "no connection");
    apt("http://nothing.invalid").run(["update"]).retryable(&[100], "unresolved host name");
    let broken = Server::new([Reply::Close]);
    apt(&broken.url("")).run(["update"]).retryable(&[100], "failed connection");

    let nothing = apt(&nobody.url(""));
    nothing.run(["install", "no-such-package"]).ambiguous(100);
    nothing.run(["no-such-operation"]).fatal(&[100], "Invalid operation");
    nothing.run(["--no-such-option", "update"]).fatal(&[100], "invalid command line option");
    nothing.scratch.file("sources", "no source\n");
    nothing.run(["update"]).fatal(&[100], "unreadable list of sources");
}

#[test]
fn pip() {
    // The recorded failures have more causes. pip takes long to start.
    let Some(pip) = Program::of("pip", "pip") else { return };
    let pip = pip.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let install = |url: &str, retries: &str, package: &str| {
        let index = format!("{url}simple");
        let args = ["install", "--no-input", "--no-cache-dir", "--target", "t", "--timeout", "10"];
        pip.run(args.into_iter().chain(["--retries", retries, "--index-url", &index, package]))
    };
    let page = || {
        Reply::status(200)
            .header("Content-Type", "text/html")
            .body("<!DOCTYPE html><a href='/x-1.0-py3-none-any.whl'>x-1.0-py3-none-any.whl</a>")
    };
    let nobody = refused_port();
    install(&nobody.url("/"), "1", "x").retryable(&[1], "broken connection");
    let server = Server::new([page(), Reply::status(503)]);
    install(&server.url("/"), "0", "x").retryable(&[1], "HTTP 503");
    let server = Server::new([page(), Reply::status(410)]);
    install(&server.url("/"), "0", "x").fatal(&[1], "HTTP 410");
    // A file or a version may be on its way through the index.
    let server = Server::new([page(), Reply::status(404)]);
    install(&server.url("/"), "0", "x").ambiguous(1);
    let server = Server::new([page()]);
    install(&server.url("/"), "0", "x==2.0").ambiguous(1);
    pip.run(["install", "--no-such-option"]).fatal(&[2], "usage");
    pip.run(["install", "--target", "t", "-r", "no-such-file"]).fatal(&[1], "unreadable requirements file");
}

#[test]
fn npm() {
    // The recorded failures have more causes. npm takes long to start.
    let Some(npm) = Program::of("npm", "npm") else { return };
    let config = npm.scratch.file("npmrc", "fetch-retries=0\nupdate-notifier=false\n");
    let npm = npm.env("npm_config_userconfig", config.display().to_string());
    let view = |url: String| npm.run(["view", "no-such-package", "--registry", &url]);
    let nobody = refused_port();
    view(nobody.url("/")).retryable(&[1], "ECONNREFUSED");
    let server = answers(503);
    view(server.url("/")).retryable(&[1], "HTTP 503");
    let server = answers(410);
    view(server.url("/")).fatal(&[1], "HTTP 410");
    // The package may be on its way through the registry.
    let server = answers(404);
    view(server.url("/")).ambiguous(1);
    npm.run(["ci"]).fatal(&[1], "EUSAGE");
}

#[test]
fn docker() {
    let Some(docker) = Program::of("docker", "docker") else { return };
    let nobody = refused_port();
    let host = |port: u16| format!("tcp://127.0.0.1:{port}");
    docker
        .run(["-H", &host(nobody.port()), "pull", "x"])
        .retryable(&[1], "no connection to the Docker daemon");
    docker
        .run(["-H", &host(nobody.port()), "run", "x"])
        .retryable(&[125], "no connection to the Docker daemon");
    let daemon = |status: u16, message: &str| {
        let ping = Reply::status(200).header("Api-Version", "1.41").header("Ostype", "linux").body("OK");
        let answer = Reply::status(status)
            .header("Content-Type", "application/json")
            .body(format!("{{\"message\":\"{message}\"}}"));
        Server::new([ping.clone(), answer.clone(), ping, answer])
    };
    let limited = daemon(500, "toomanyrequests: You have reached your pull rate limit.");
    docker.run(["-H", &host(limited.port()), "pull", "x"]).retryable(&[1], "toomanyrequests");
    let slow = daemon(500, "Get \\\"https://registry.invalid/v2/\\\": net/http: TLS handshake timeout");
    docker.run(["-H", &host(slow.port()), "pull", "x"]).retryable(&[1], "TLS handshake timeout");
    let unknown = daemon(404, "manifest for x:latest not found: manifest unknown: manifest unknown");
    docker.run(["-H", &host(unknown.port()), "pull", "x"]).retryable(&[1], "unknown manifest");
    let denied = daemon(404, "pull access denied for x, repository does not exist or may require login");
    docker.run(["-H", &host(denied.port()), "pull", "x"]).fatal(&[1], "denied pull access");
    docker.run(["run", "--no-such-option", "x"]).fatal(&[125], "unknown flag");
    docker.run(["pull", "X:Y:Z"]).fatal(&[1], "invalid reference format");
}

#[test]
fn kubectl() {
    let Some(kubectl) = Program::of("kubectl", "kubectl") else { return };
    let get = |url: &str| {
        kubectl.run([
            "--kubeconfig",
            "/dev/null",
            "--request-timeout",
            "10s",
            "--server",
            url,
            "get",
            "--raw",
            "/x",
        ])
    };
    let nobody = refused_port();
    get(&nobody.url("")).retryable(&[1], "refused connection");
    let answer = |code: u16, reason: &str| {
        let body = format!(
            "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"m\",\
             \"reason\":\"{reason}\",\"code\":{code}}}"
        );
        Server::new([Reply::status(code).header("Content-Type", "application/json").body(body)])
    };
    for (code, reason) in [
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
        (429, "TooManyRequests"),
        (409, "Conflict"),
    ] {
        get(&answer(code, reason).url("")).retryable(&[1], reason);
    }
    get(&answer(401, "Unauthorized").url("")).retryable(&[1], "missing login");
    get(&answer(404, "NotFound").url("")).retryable(&[1], "NotFound");
    get(&answer(422, "Invalid").url("")).fatal(&[1], "invalid request");
    get(&answer(409, "AlreadyExists").url("")).retryable(&[1], "AlreadyExists");
    kubectl.run(["get", "--no-such-option"]).fatal(&[1], "unknown flag");
}

#[test]
fn aws() {
    let Some(aws) = Program::of("aws", "aws") else { return };
    let aws = aws
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_MAX_ATTEMPTS", "1");
    let call = |url: &str| aws.run(["--endpoint-url", url, "sts", "get-caller-identity"]);
    let answer = |status: u16, code: &str| {
        let body =
            format!("<ErrorResponse><Error><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>");
        Server::new([Reply::status(status).header("Content-Type", "text/xml").body(body)])
    };
    let nobody = refused_port();
    call(&nobody.url("/")).retryable(&[255], "no connection to the endpoint URL");
    // The recorded failures have more codes. aws takes long to start.
    call(&answer(400, "Throttling").url("/")).retryable(&[254, 255], "Throttling");
    let bare = answers(503);
    call(&bare.url("/")).retryable(&[254, 255], "HTTP 503");
    call(&answer(403, "AccessDenied").url("/")).retryable(&[254, 255], "AccessDenied");
    call(&answer(403, "ExpiredToken").url("/")).fatal(&[254, 255], "ExpiredToken");
    aws.run(["--no-such-option", "sts", "get-caller-identity"]).fatal(&[252, 255], "Unknown options");
}

/// A server that refuses a session of the PostgreSQL protocol, version 3, with this error.
fn postgresql(sqlstate: &str, message: &str) -> Talker {
    let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0");
    let mut packet = vec![b'E'];
    packet.extend(u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
    packet.extend(fields.bytes());
    Talker::new("", packet)
}

#[track_caller]
fn postgresql_client(name: &'static str, row: &'static str) -> Option<Program> {
    let mut client = Program::of(name, row)?;
    for (name, value) in [
        ("PGSSLMODE", "disable"),
        ("PGGSSENCMODE", "disable"),
        ("PGCONNECT_TIMEOUT", "10"),
        ("PGPASSFILE", "/dev/null"),
        ("PGUSER", "u"),
        ("PGDATABASE", "d"),
    ] {
        client = client.env(name, value);
    }
    Some(client)
}

const PASSING: [(&str, &str, &str); 5] = [
    ("57P03", "the database system is starting up", "database startup"),
    ("57P03", "the database system is shutting down", "database shutdown"),
    ("53300", "sorry, too many clients already", "too many clients"),
    ("28P01", "password authentication failed for user \"u\"", "failed password authentication"),
    ("3D000", "database \"d\" does not exist", "missing role or database"),
];
const STAYING: (&str, &str, &str) = (
    "28000",
    "no pg_hba.conf entry for host \"127.0.0.1\", user \"u\", database \"d\"",
    "no pg_hba.conf entry",
);

#[test]
fn psql() {
    let Some(psql) = postgresql_client("psql", "psql") else { return };
    let connect =
        |port: u16| psql.run(["-X", "-w", "-h", "127.0.0.1", "-p", &port.to_string(), "-c", "select 1"]);
    let nobody = refused_port();
    connect(nobody.port()).retryable(&[2], "refused connection");
    connect(Talker::new("", "").port).retryable(&[2], "closed connection");
    for (sqlstate, message, words) in PASSING {
        connect(postgresql(sqlstate, message).port).retryable(&[2], words);
    }
    let (sqlstate, message, words) = STAYING;
    connect(postgresql(sqlstate, message).port).fatal(&[2], words);
    psql.run(["-X", "-w", "-h", "nothing.invalid"]).retryable(&[2], "unresolved host name");
    psql.run(["--no-such-option"]).fatal(&[1], "usage");
}

#[test]
fn pg_isready() {
    let Some(ready) = postgresql_client("pg_isready", "pg_isready") else { return };
    let ask = |port: u16| ready.run(["-h", "127.0.0.1", "-p", &port.to_string()]);
    let nobody = refused_port();
    ask(nobody.port()).retryable(&[2], "no response");
    let starting = postgresql("57P03", "the database system is starting up");
    ask(starting.port).retryable(&[1], "rejected connection");
    ready.run(["--no-such-option"]).fatal(&[3], "invalid parameters");
}

#[test]
fn pg_dump_and_its_kin() {
    let nobody = refused_port();
    for name in ["pg_dump", "pg_dumpall", "createdb"] {
        let Some(program) = postgresql_client(name, "pg_dump") else { continue };
        let connect = |port: u16| program.run(["-w", "-h", "127.0.0.1", "-p", &port.to_string()]);
        connect(nobody.port()).retryable(&[1], "refused connection");
        let (sqlstate, message, words) = PASSING[0];
        connect(postgresql(sqlstate, message).port).retryable(&[1], words);
        let (sqlstate, message, words) = STAYING;
        connect(postgresql(sqlstate, message).port).fatal(&[1], words);
        program.run(["--no-such-option"]).fatal(&[1], "usage");
    }
}

#[test]
fn mysql() {
    let nobody = refused_port();
    let Some(client) = Program::of("mariadb", "mysql") else { return };
    let connect = |port: u16| {
        let args = ["--no-defaults", "-h", "127.0.0.1", "-P", &port.to_string(), "-u", "u"];
        client.run(args.into_iter().chain(["--connect-timeout", "10", "-e", "select 1"]))
    };
    connect(nobody.port()).retryable(&[1], "no connection");
    // The packet is an error instead of a handshake: length, number, 0xff, code, SQLSTATE, message.
    let packet = |code: u16, text: &str| {
        let mut packet = vec![u8::try_from(text.len() + 3).unwrap(), 0, 0, 0, 0xff];
        packet.extend(code.to_le_bytes());
        packet.extend(text.bytes());
        Talker::new(packet, "")
    };
    connect(packet(1040, "#08004Too many connections").port).retryable(&[1], "Too many connections");
    let blocked = packet(1129, "Host '127.0.0.1' is blocked because of many connection errors");
    connect(blocked.port).fatal(&[1], "blocked host");
    connect(Talker::new("", "").port).retryable(&[1], "Lost connection");
    client.run(["--no-defaults", "--no-such-option"]).fatal(&[2], "unknown option");
}

#[test]
fn redis_cli() {
    let Some(redis) = Program::of("redis-cli", "redis-cli") else { return };
    let get = |port: u16| redis.run(["-e", "-h", "127.0.0.1", "-p", &port.to_string(), "get", "x"]);
    let nobody = refused_port();
    get(nobody.port()).retryable(&[1], "no connection");
    for (reply, words) in
        [("-LOADING Redis is loading the dataset in memory\r\n", "LOADING"), ("-BUSY x\r\n", "BUSY")]
    {
        get(Talker::new("", reply).port).retryable(&[1], words);
    }
    get(Talker::new("", "-NOAUTH Authentication required.\r\n").port).fatal(&[1], "NOAUTH");
    redis.run(["--no-such-option"]).fatal(&[1], "Unrecognized option");
}

#[test]
fn restic() {
    let Some(restic) = Program::of("restic", "restic") else { return };
    let restic = restic.env("RESTIC_PASSWORD", "x");
    let snapshots = |repository: &str| restic.run(["--no-cache", "-r", repository, "snapshots"]);
    let nobody = refused_port();
    snapshots(&format!("rest:{}", nobody.url("/"))).retryable(&[1], "refused connection");
    let busy = answers(503);
    snapshots(&format!("rest:{}", busy.url("/"))).retryable(&[1], "HTTP 503");
    let forbidden = answers(403);
    snapshots(&format!("rest:{}", forbidden.url("/"))).fatal(&[1], "HTTP 403");
    // restic exits with 10 since version 0.17.
    snapshots("no-such-repository").run.code(0);
    restic.run(["--no-such-option"]).fatal(&[1], "unknown flag");
}

#[test]
fn rclone() {
    let Some(rclone) = Program::of("rclone", "rclone") else { return };
    let once = ["--config", "/dev/null", "--retries", "1", "--low-level-retries", "1"];
    let copy = |url: &str| rclone.run(once.iter().copied().chain(["copyurl", url, "x"]));
    let nobody = refused_port();
    copy(&nobody.url("/x")).retryable(&[1, 5], "refused connection");
    for (status, words) in [(503, "HTTP 503"), (429, "HTTP 429")] {
        let server = answers(status);
        copy(&server.url("/x")).retryable(&[1], words);
    }
    let missing = answers(404);
    copy(&missing.url("/x")).fatal(&[1], "HTTP 404");
    rclone
        .run(once.iter().copied().chain(["copy", "no-such-directory", "x"]))
        .fatal(&[3], "missing directory");
}

#[test]
fn gh() {
    let Some(gh) = Program::of("gh", "gh") else { return };
    let gh = gh.env("GH_TOKEN", "x").env("GH_NO_UPDATE_NOTIFIER", "1").env("GH_PROMPT_DISABLED", "1");
    let nobody = refused_port();
    gh.run(["api", &nobody.url("/x")]).retryable(&[1], "refused connection");
    let answer = |status: u16, message: &str| {
        let body = format!("{{\"message\":\"{message}\"}}");
        Server::new([Reply::status(status).header("Content-Type", "application/json").body(body)])
    };
    for (status, message, words) in [
        (503, "m", "HTTP 503"),
        (429, "m", "HTTP 429"),
        (403, "API rate limit exceeded for user ID 1.", "rate limit"),
    ] {
        gh.run(["api", &answer(status, message).url("/x")]).retryable(&[1], words);
    }
    gh.run(["api", &answer(401, "Bad credentials").url("/x")]).retryable(&[1], "Bad credentials");
    for (status, message, words) in
        [(410, "Gone", "HTTP 410"), (403, "Resource not accessible by integration", "inaccessible resource")]
    {
        gh.run(["api", &answer(status, message).url("/x")]).fatal(&[1], words);
    }
    gh.run(["--no-such-option"]).fatal(&[1], "unknown flag");
}

#[test]
fn terraform() {
    let Some(terraform) = Program::of("terraform", "terraform") else { return };
    let terraform = terraform.env("CHECKPOINT_DISABLE", "1").env("TF_CLI_CONFIG_FILE", "/dev/null");
    let init = |text: &str| {
        terraform.scratch.file("main.tf", text);
        terraform.run(["init", "-no-color", "-input=false"])
    };
    let module = |url: &str| format!("module \"m\" {{\n  source = \"{url}\"\n}}\n");
    let nobody = refused_port();
    init(&module(&nobody.url("/m.zip"))).retryable(&[1], "refused connection");
    let busy = answers(503);
    init(&module(&busy.url("/m.zip"))).retryable(&[1], "HTTP 503");
    let missing = answers(404);
    init(&module(&missing.url("/m.zip"))).fatal(&[1], "HTTP 404");
    init("resource \"x\" {\n").fatal(&[1], "invalid configuration");
}

#[test]
fn ansible() {
    need!("ssh", "ansible");
    let Some(ansible) = Program::of("ansible", "ansible") else { return };
    let config = ansible.scratch.file("ansible.cfg", "").display().to_string();
    let ansible = ansible
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_CONFIG", config)
        .env("ANSIBLE_LOCALHOST_WARNING", "False")
        .env("ANSIBLE_PYTHON_INTERPRETER", "auto_silent");
    let nobody: RefusedPort = refused_port();
    let port = format!("ansible_port={}", nobody.port());
    let through = format!("--ssh-common-args={}", SSH.join(" "));
    ansible
        .run(["all", "-i", "127.0.0.1,", "-e", &port, &through, "-m", "ping"])
        .retryable(&[4], "connection error");
    ansible
        .run(["all", "-i", "localhost,", "-c", "local", "-m", "no_such_module"])
        .fatal(&[2], "unknown module");
    ansible.run(["--no-such-option"]).fatal(&[2], "usage");
    if let Some(sshd) = Sshd::start() {
        let through = format!("--ssh-common-args={}", sshd.options("known").join(" "));
        ansible
            .run(["all", "-i", "nobody@127.0.0.1,", &through, "-m", "ping"])
            .retryable(&[4], "UNREACHABLE");
    }
}
