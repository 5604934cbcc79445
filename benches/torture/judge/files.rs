//! The files that a run may leave.

use std::path::Path;

use super::Trial;

impl Trial<'_> {
    /// Checks the files that the run left.
    pub(super) fn files(&self) -> Option<String> {
        let (breaker, budget) = (self.plan.has("--breaker"), self.plan.has("--budget"));
        let keeps = self.plan.value("--idempotency-key").is_some_and(|key| key.starts_with("file:"));
        let mut records = Vec::new();
        if breaker || self.plan.company {
            records.extend(["state/b.json", "state/b.json.lock"]);
        }
        if budget || self.plan.company {
            records.extend(["state/c.json", "state/c.json.lock"]);
        }
        if keeps {
            records.push("key");
        }
        if self.plan.has("--report") {
            records.push("report");
        }
        let kept = |path: &Path| {
            let name = path.to_str().unwrap_or_default();
            // A file that retry was writing when it was killed may be left.
            let cut = self.was_killed() && (name.starts_with("state/") || name.starts_with("key"));
            records.contains(&name) || cut
        };
        let strays: Vec<_> = self.seen.files.iter().filter(|path| !kept(path)).collect();
        if !strays.is_empty() {
            return Some(format!("files are left: {strays:?}"));
        }
        let there = self.seen.files.iter().any(|path| path == Path::new("key"));
        let tried = !self.log.begun.is_empty();
        if !keeps || self.was_killed() {
            None
        } else if there && self.is_success() {
            Some("the key is there after a success".to_owned())
        } else if !there && tried && !self.is_success() {
            Some("the key is gone after a failure".to_owned())
        } else {
            None
        }
    }
}
