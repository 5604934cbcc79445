//! Fatal needs proof: a failure that may pass is retried, whatever else the program printed.
//!
//! Each case is a program of a known name that prints a text to stderr and exits with a status.

use crate::support::{Run, Scratch, retry};

/// Runs a program of this name at most twice. The second attempt succeeds.
fn run(words: &str, status: u8, text: &str) -> Run {
    let scratch = Scratch::new();
    let mut words = words.split(' ');
    let name = words.next().unwrap();
    let file = scratch.file("text", text).display().to_string();
    let script =
        format!("#!/bin/sh\n[ \"$RETRY_ATTEMPT\" = 1 ] || exit 0\ncat '{file}' >&2\nexit {status}\n");
    let program = scratch.script(name, script);
    retry().args(["-n", "2", "-d", "0", "--"]).arg(program).args(words).run()
}

#[track_caller]
fn is_retried(words: &str, status: u8, text: &str) {
    run(words, status, text).code(0);
}

#[track_caller]
fn is_fatal(words: &str, status: u8, text: &str) {
    let run = run(words, status, text);
    let said = run.messages().iter().any(|line| line.contains(": not retried: "));
    run.check(said, "a line that says why nothing is retried").code(i32::from(status));
}

#[test]
fn how_the_program_ended_outranks_an_earlier_response() {
    for status in [5, 6, 7, 18, 28, 35, 52, 55, 56, 92, 95, 96] {
        is_retried(
            "curl URL -v",
            status,
            "> GET / HTTP/1.1\n>\n< HTTP/1.1 401 Unauthorized\n<\ncurl: (x) y\n",
        );
    }
    is_retried(
        "curl A B -f",
        7,
        "curl: (22) The requested URL returned error: 404\ncurl: (7) Failed to connect to b port 80\n",
    );
    is_retried(
        "wget URL -r",
        4,
        "2026-01-01 00:00:00 ERROR 404: Not Found.\nRead error (Connection reset by peer) in headers.\n",
    );
    // The proxy's answer is how this transfer ended.
    is_fatal("curl URL", 56, "curl: (56) CONNECT tunnel failed, response 407\n");
    is_fatal("curl URL -f", 22, "curl: (22) The requested URL returned error: 404\n");
}

#[test]
fn a_status_that_transient_failures_share_is_retried() {
    for (words, status, text) in [
        (
            "pip install x",
            2,
            "pip._vendor.urllib3.exceptions.ProtocolError: (\"Connection broken: IncompleteRead(1)\", x)\n",
        ),
        ("pg_dump d", 1, "pg_dump: error: query failed: SSL connection has been closed unexpectedly\n"),
        ("terraform apply", 1, "Error: dial tcp 10.0.0.1:443: connect: connection timed out\n"),
        ("git push", 1, "remote: fatal error in commit_refs\n ! [remote rejected] main -> main (failure)\n"),
        ("psql d -c x", 1, "ERROR:  deadlock detected\n"),
    ] {
        is_retried(words, status, text);
    }
}

#[test]
fn a_failure_in_another_language_is_retried() {
    for text in [
        "pg_dump: Fehler: Verbindung zum Server auf »127.0.0.1«, Port 1 fehlgeschlagen: Verbindungsaufbau abgelehnt\n",
        "pg_dump: erreur : la connexion au serveur sur « 127.0.0.1 », port 1 a échoué : Connexion refusée\n",
        "pg_dump: エラー: \"127.0.0.1\"、ポート1のサーバーへの接続に失敗しました: 接続を拒否されました\n",
    ] {
        is_retried("pg_dump d", 1, text);
    }
}

#[test]
fn a_message_that_was_broken_into_lines_is_read_as_one_line() {
    for text in [
        "╷\n│ Error: x\n│ \n│ dial tcp: i/o\n│ timeout\n╵\n",
        "│ Error: Unsupported argument\n│ dial tcp 10.0.0.1:443: connection\n│ refused\n",
    ] {
        is_retried("terraform apply", 1, text);
    }
    is_fatal("terraform plan", 1, "╷\n│ Error: Unsupported\n│ argument\n│ \n│   on main.tf line 1:\n╵\n");
}

#[test]
fn neither_warnings_nor_relayed_output_decide() {
    is_retried(
        "apt-get update",
        100,
        "W: GPG error: http://other.example x: The following signatures couldn't be verified: NO_PUBKEY 1\n\
         E: Failed to fetch http://example.com/p  Hash Sum mismatch\n",
    );
    is_retried("docker run app", 1, "app: tls: failed to verify certificate: x509: unknown authority\n");
    is_retried("docker run app", 1, "Error response from daemon: pull access denied for x\n");
    is_fatal(
        "docker run app",
        125,
        "docker: Error response from daemon: pull access denied for app, repository does not exist.\n",
    );
    is_retried("kubectl exec p -- app", 1, "Error from server (NotFound): said the app\n");
    is_retried("ssh host deploy", 1, "Permission denied (publickey).\n");
    is_retried("ssh host scp a b", 1, "scp: a: No such file or directory\n");
}

#[test]
fn not_there_yet_is_retried() {
    for (words, status, text) in [
        (
            "kubectl logs p",
            1,
            "Error from server (BadRequest): container \"c\" in pod \"p\" is waiting to start: ContainerCreating\n",
        ),
        (
            "kubectl create -f x",
            1,
            "Error from server (AlreadyExists): object is being deleted: namespaces \"n\" already exists\n",
        ),
        (
            "aws cloudformation update-stack",
            254,
            "\nAn error occurred (ValidationError) when calling the UpdateStack operation: Stack:x is in UPDATE_IN_PROGRESS state and can not be updated.\n",
        ),
        (
            "aws lambda create-function",
            254,
            "\nAn error occurred (InvalidParameterValueException) when calling the CreateFunction operation: The role defined for the function cannot be assumed by Lambda.\n",
        ),
        (
            "npm install x@1",
            1,
            "npm error code ETARGET\nnpm error notarget No matching version found for x@1.\n",
        ),
    ] {
        is_retried(words, status, text);
    }
}

#[test]
fn transient_evidence_outranks_permanent_evidence() {
    is_retried(
        "kubectl get pods",
        1,
        "Error from server (NotFound): pods \"x\" not found\nError from server (TooManyRequests): later\n",
    );
    is_retried(
        "apt-get update",
        100,
        "E: Failed to fetch http://a.example/p  404  Not Found\nE: Failed to fetch http://b.example/p  503  Service Unavailable\n",
    );
}

#[test]
fn a_word_of_a_transient_cause_raises_a_doubt() {
    for (words, status, text) in [
        ("docker exec c x", 126, "OCI runtime exec failed: exec failed: x: text file busy\n"),
        (
            "rsync a h:b",
            23,
            "rsync: [sender] link_stat \"/x\" failed: No such file or directory (2)\nrsync: y: Stale file handle (116)\n",
        ),
        ("terraform apply", 1, "Error: Invalid index\n\nError: timeout while waiting for state\n"),
        (
            "sudo x",
            1,
            "sudo: ldap_sasl_bind_s(): Can't contact LDAP server\nsudo: no valid sudoers sources found\n",
        ),
    ] {
        is_retried(words, status, text);
    }
    is_fatal("rsync a h:b", 23, "rsync: [sender] link_stat \"/x\" failed: No such file or directory (2)\n");
}

#[test]
fn a_refused_login_may_come_too_early() {
    for (words, status, text) in [
        ("ssh host", 255, "me@host: Permission denied (publickey).\n"),
        (
            "git clone URL",
            128,
            "fatal: could not read Username for 'https://github.com': terminal prompts disabled\n",
        ),
        ("docker pull i", 1, "Error response from daemon: Head \"https://r.example/i\": denied: denied\n"),
        (
            "mysql -u app",
            1,
            "ERROR 1045 (28000): Access denied for user 'app'@'localhost' (using password: YES)\n",
        ),
        (
            "psql app",
            2,
            "psql: error: connection to server failed: FATAL:  database \"app\" does not exist\n",
        ),
        (
            "aws s3 ls",
            254,
            "\nAn error occurred (InvalidClientTokenId) when calling the X operation: The security token is invalid.\n",
        ),
        (
            "kubectl get pods",
            1,
            "Error from server (Forbidden): pods is forbidden: User \"u\" cannot list resource \"pods\"\n",
        ),
        ("gh pr view 1", 1, "HTTP 401: Bad credentials (https://api.github.com/graphql)\n"),
    ] {
        is_retried(words, status, text);
    }
    is_fatal(
        "aws s3 ls",
        254,
        "\nAn error occurred (AccessDenied) when calling the X operation: u is not authorized with an explicit deny\n",
    );
    is_fatal(
        "docker pull i",
        1,
        "Error response from daemon: pull access denied for i, repository does not exist\n",
    );
    is_fatal("ssh host", 255, "Host key verification failed.\n");
}

#[test]
fn the_status_of_another_program_proves_nothing() {
    // An extension of gh has statuses of its own.
    is_retried("gh act deploy", 2, "error: the runner is gone\n");
    is_retried("gh act deploy", 4, "");
    is_fatal("gh run view", 4, "To get started with GitHub CLI, please run:  gh auth login\n");
    // A hook or a script prints git's words.
    is_retried("git push", 1, "fatal: not a git repository\nerror: failed to push some refs to 'r'\n");
    is_retried("git bisect run ./t", 128, "fatal: not a git repository\nerror: bisect run failed\n");
    is_fatal("git push", 128, "fatal: not a git repository\n");
}

#[test]
fn one_of_several_transfers_may_break_in_another_way() {
    is_retried(
        "curl A B -x p",
        56,
        "curl: (56) CONNECT tunnel failed, response 407\ncurl: (56) Recv failure: Connection reset by peer\n",
    );
    is_retried("scp a b h:x", 255, "scp: a: No such file or directory\nscp: Connection closed\n");
    is_fatal("scp a h:x", 1, "scp: a: No such file or directory\n");
    is_retried(
        "mysqldump d",
        2,
        "mysqldump: Couldn't execute 'SHOW CREATE TABLE `t`': Table 'd.t' doesn't exist (1146)\n",
    );
    is_fatal("mysql d", 1, "ERROR 1146 (42S02) at line 1: Table 'd.t' doesn't exist\n");
}
