//! What a sandbox takes away or changes: a time namespace.

use crate::support::Retry;
use crate::support::records::Records;
use crate::support::retry::BINARY;

/// retry in a time namespace whose time since boot is ahead by so many seconds; none where that is not permitted.
fn in_time_namespace(records: &Records, ahead: &str) -> Option<Retry> {
    let unshare = || Retry::new("unshare").args(["--time", "--boottime", ahead, "--fork"]);
    (unshare().arg("true").run().status.code() == Some(0))
        .then(|| unshare().arg(BINARY).env("RETRY_STATE", records.directory()))
}

#[test]
fn runs_in_different_time_namespaces_share_a_record() {
    let options = ["-n1", "--breaker", "b", "--breaker-failures", "1", "--breaker-cooldown", "100"];
    for ahead in ["100000", "-3"] {
        for opened_there in [false, true] {
            let records = Records::new();
            let Some(there) = in_time_namespace(&records, ahead) else { return };
            let here = records.retry();
            let (first, second) = if opened_there { (there, here) } else { (here, there) };
            first.args(options).sh("exit 7").run().code(7);
            // No wall clock tells how long it is open.
            records.edit("b", |record| record["clock"]["unix_ms"] = 0.into());
            let opened = records.read("b");
            let run = second.args(["--breaker-status=b", "--json"]).run();
            let seen: serde_json::Value = serde_json::from_slice(&run.code(0).stdout).unwrap();
            let left = seen["next_probe_seconds"].as_f64().unwrap();
            assert!(left > 60.0 && left <= 100.0, "{ahead}: {seen}");
            let there = || in_time_namespace(&records, ahead).unwrap();
            let refused = if opened_there { records.retry() } else { there() };
            refused.args(options).sh("exit 0").run().code(75);
            assert_eq!(records.read("b"), opened, "{ahead}: its times were moved");
        }
    }
}
