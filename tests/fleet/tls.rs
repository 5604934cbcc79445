//! Encrypted connections, in a build with the feature `tls`.

use super::failures::{WARNING, goes_on, with};
use crate::support::needs::left_out;
use crate::support::redis::{Redis, free_port, program};
use crate::support::scratch::quoted;
use crate::support::*;

/// An authority, and a server whose certificate is for the address 127.0.0.1.
struct Encrypted {
    server: Redis,
    port: u16,
    files: Scratch,
}

impl Encrypted {
    fn start() -> Option<Self> {
        let (program, files) = (program()?, Scratch::new());
        let script = "set -e
            new='req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'
            for ca in ca other; do
                openssl $new -x509 -keyout $ca.key -out $ca.pem -subj /CN=$ca
            done
            openssl $new -keyout server.key -out server.csr -subj /CN=server
            echo 'subjectAltName = IP:127.0.0.1' >names
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem";
        let made = Retry::new("sh").arg("-c").arg(format!("cd {}; {script}", quoted(files.path()))).run();
        made.code(0);
        let path = |name: &str| files.join(name).to_str().unwrap().to_owned();
        let (key, certificate, authority) = (path("server.key"), path("server.pem"), path("ca.pem"));
        let port = free_port();
        let server = Redis::start(
            &program,
            &[
                ["--tls-port", &port.to_string()],
                ["--tls-key-file", &key],
                ["--tls-cert-file", &certificate],
                ["--tls-ca-cert-file", &authority],
                ["--tls-auth-clients", "no"],
            ]
            .concat(),
        );
        Some(Self { server, port, files })
    }

    fn url(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.port)
    }

    /// A run that trusts the authority in this file.
    fn trusting(&self, authority: &str, url: &str) -> Retry {
        with(url).env("SSL_CERT_FILE", self.files.join(authority)).env_remove("SSL_CERT_DIR")
    }
}

#[test]
fn a_server_with_a_certificate_of_a_trusted_authority_serves() {
    need!("openssl");
    if !cfg!(feature = "tls") {
        return left_out("the feature tls");
    }
    let Some(encrypted) = Encrypted::start() else { return };
    let url = encrypted.url("127.0.0.1");
    for failures in 1..=2 {
        let run = encrypted.trusting("ca.pem", &url).env("XDG_STATE_HOME", encrypted.files.path());
        let run = run.args(["-n1", "--breaker", "b"]).sh("exit 7").run();
        run.code(7).check(!run.stderr.contains(WARNING), "the server serves");
        assert_eq!(encrypted.server.failures("b"), failures);
    }
    // Another name, another authority, no authority.
    let named = encrypted.url("localhost");
    for (run, why) in [
        (encrypted.trusting("ca.pem", &named), "localhost"),
        (encrypted.trusting("other.pem", &url), "UnknownIssuer"),
        (encrypted.trusting("names", &url), "no certificates of authorities on this machine"),
    ] {
        let run = run.env("XDG_STATE_HOME", encrypted.files.path()).args(["-n1", "--breaker", "b"]);
        let run = run.sh("exit 7").run();
        run.code(7).stderr_contains(WARNING).stderr_contains(": no TLS: ").stderr_contains(why);
    }
    assert_eq!(encrypted.server.failures("b"), 2);
    // A server without TLS, and one that hangs.
    let plain = format!("rediss://127.0.0.1:{}", encrypted.server.port);
    let run = encrypted.trusting("ca.pem", &plain).env("XDG_STATE_HOME", encrypted.files.path());
    run.args(["-n1", "--breaker", "b"]).sh("exit 7").run().code(7).stderr_contains(WARNING);
    encrypted.server.signal(nix::sys::signal::Signal::SIGSTOP);
    goes_on(encrypted.trusting("ca.pem", &url), "no answer within 500 ms");
}

#[test]
fn a_build_without_tls_says_so() {
    if cfg!(feature = "tls") {
        return;
    }
    let url = "rediss://127.0.0.1:1";
    goes_on(with(url), &format!("cannot use {url}: no TLS in this build of retry (its feature tls is off)"));
}
