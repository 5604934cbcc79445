//! What happens between attempts, and what a report says, against the log of the attempts.

use serde_json::Value;

use super::Trial;
use crate::seen::End;

impl Trial<'_> {
    /// Whether nothing from outside has changed the end of this attempt: no signal, no key, and no
    /// limit near its end.
    fn is_plain(&self, number: u64) -> bool {
        let limit = self.log.began(number).map(|began| self.limit(began));
        self.seen.sent.is_empty() && limit.is_some_and(|limit| !self.log.is_near(number, limit))
    }

    /// Whether this status is a success.
    fn succeeds(&self, status: i32) -> bool {
        (status == 0 && !self.plan.has("--until"))
            || (status == 7 && self.plan.has("--success-on"))
            || (status != 0 && self.plan.has("--until"))
    }

    /// Checks that `--on-retry` ran at most once before each attempt, right before it, and not after
    /// a success.
    pub(super) fn hooks(&self) -> Option<String> {
        let hooks = &self.log.hooks;
        if hooks.windows(2).any(|two| two[0].number >= two[1].number) {
            return Some(format!("hooks out of order: {hooks:?}"));
        }
        let mut known = hooks.iter().filter(|hook| self.log.ended.contains_key(&(hook.number - 1)));
        known.find_map(|hook| {
            let before = hook.number - 1;
            let (status, _) = self.log.ended.get(&before)?;
            // The log has as many beginnings as there were attempts before.
            let begun = self.log.begun.iter().take(hook.after).any(|(number, ..)| *number == before);
            let later = self.log.begun.iter().take(hook.after).any(|(number, ..)| *number > before);
            let wrong_status = self.is_plain(before) && hook.last_status != *status;
            let after_success = self.is_plain(before) && self.succeeds(*status) && !self.may_forbid();
            (!begun || later || wrong_status || after_success)
                .then(|| format!("{hook:?} came after an attempt with {status}"))
        })
    }

    /// Checks that `--on-retry` ran before each attempt that followed a failure. A limit may end it
    /// before it writes its line.
    pub(super) fn unhooked(&self) -> Option<String> {
        if !self.plan.has("--on-retry") || !self.seen.sent.is_empty() {
            return None;
        }
        let ran = |number: u64| self.log.hooks.iter().any(|hook| hook.number == number);
        let follows_failure =
            |number: u64| self.log.ended.get(&(number - 1)).is_none_or(|(status, _)| !self.succeeds(*status));
        let mut later = self.log.begun.iter().map(|(number, ..)| *number).filter(|number| *number > 1);
        later
            .find(|number| follows_failure(*number) && !ran(*number))
            .map(|number| format!("no hook ran before attempt {number}"))
    }

    /// Checks that with `--successes 2` the last two attempts of a run that succeeds have succeeded.
    pub(super) fn successes(&self) -> Option<String> {
        let asks_check = self.plan.has("--check");
        if !self.plan.has("--successes") || !self.is_success() || asks_check {
            return None;
        }
        let last: Vec<_> = self.log.begun.iter().rev().take(2).map(|(number, ..)| *number).collect();
        let good =
            |number: &u64| self.log.ended.get(number).is_some_and(|(status, _)| self.succeeds(*status));
        let in_row = last.len() == 2 && last[0] == last[1] + 1 && last.iter().all(good);
        (!in_row).then(|| "fewer than two attempts in a row have succeeded".to_owned())
    }

    /// Checks the lines of the report, the annotation and the summary.
    pub(super) fn report(&self) -> Option<String> {
        let lines = match self.seen.report.as_ref()? {
            Ok(lines) => lines,
            Err(what) => return Some(what.clone()),
        };
        // A signal may have killed retry before it had its handlers.
        let early = !self.seen.sent.is_empty() && self.log.begun.is_empty() && lines.is_empty();
        if self.was_killed() || early {
            return None;
        }
        let Some((run, attempts)) = lines.split_last().filter(|(run, _)| run["event"] == "run") else {
            return Some("the report does not end with the run".to_owned());
        };
        if attempts.iter().any(|line| line["event"] != "attempt" || line["run"] != run["run"]) {
            return Some("the report has other lines than those of this run".to_owned());
        }
        let wrong = self.report_of_attempts(attempts).or_else(|| self.report_of_run(run, attempts));
        wrong.or_else(|| self.annotation(run)).or_else(|| self.summary(run))
    }

    fn report_of_attempts(&self, attempts: &[Value]) -> Option<String> {
        let numbers: Vec<u64> = attempts.iter().filter_map(|line| line["attempt"].as_u64()).collect();
        if !numbers.iter().copied().eq(1..=attempts.len() as u64) {
            return Some(format!("the report has attempts {numbers:?}"));
        }
        let line = |number: u64| attempts.get(usize::try_from(number).unwrap_or(0).wrapping_sub(1));
        for (number, ..) in &self.log.begun {
            let Some(line) = line(*number).filter(|line| line["by"] != "check") else {
                return Some(format!("the report does not have attempt {number}"));
            };
            let Some((status, _)) = self.log.ended.get(number).filter(|_| self.is_plain(*number)) else {
                continue;
            };
            let outcome = &line["outcome"];
            let as_logged = outcome["exited"] == *status || (outcome["killed"] == "KILL" && *status == 137);
            if !as_logged && self.plan.reader_leaves.is_none() {
                return Some(format!("attempt {number} ended with {status}, and the report has {outcome}"));
            }
        }
        let begun = |line: &&Value| self.log.begun.iter().any(|(number, ..)| line["attempt"] == *number);
        let made = |line: &&Value| line["outcome"]["exited"].is_u64() && line["by"] != "check";
        let mut unmade = attempts.iter().filter(made).filter(|line| !begun(line));
        let meddled = !self.seen.sent.is_empty() || self.plan.job.instead.is_some();
        unmade.next().filter(|_| !meddled).map(|line| format!("nobody made the attempt of {line}"))
    }

    fn report_of_run(&self, run: &Value, attempts: &[Value]) -> Option<String> {
        let status = match self.end {
            End::Status(status) => status,
            End::Signal(signal) => 128 + signal,
        };
        let failed = |line: &&Value| line["verdict"] != "success";
        let before = &attempts[..attempts.len().saturating_sub(1)];
        let succeeded = run["result"] == "succeeded" || run["result"] == "done";
        let rules: [(&str, bool); 5] = [
            ("status", run["status"] == status),
            ("number of attempts", run["attempts"] == attempts.len()),
            ("number of retries", run["retries"] == before.iter().filter(failed).count()),
            ("result", !succeeded || attempts.last().is_some_and(|line| !failed(&line))),
            ("success", succeeded || status != 0),
        ];
        rules.iter().find(|(_, holds)| !holds).map(|(what, _)| format!("the {what} of the run is wrong"))
    }

    /// Checks that GitHub gets one annotation for a flaky run and for a failed run.
    fn annotation(&self, run: &Value) -> Option<String> {
        let said = self.seen.terminal.as_ref().or(self.seen.errors.as_ref())?;
        let said = String::from_utf8_lossy(said);
        let count = |level: &str| said.matches(&format!("::{level} title=")).count();
        let is_quiet = self.plan.has("-q") || self.plan.has("-qq");
        let hears = self.plan.has("--ci") && !is_quiet;
        let right = match run["result"].as_str() {
            _ if !hears => (0, 0),
            Some("succeeded" | "done") => (usize::from(run["flaky"] == true), 0),
            Some("interrupted") => (0, 0),
            _ => (0, 1),
        };
        let found = (count("warning"), count("error"));
        // Some keys make the terminal discard output, and nobody may have read the last lines.
        let lost = !self.seen.sent.is_empty() || self.plan.reader_leaves.is_some();
        (found != right && !lost).then(|| format!("{found:?} annotations came, not {right:?}"))
    }

    /// Checks that `--summary` counts this run.
    fn summary(&self, run: &Value) -> Option<String> {
        let summary = self.seen.summary.as_ref()?;
        let row = &summary["labels"][0];
        let right = row["runs"] == 1 && row["retries"] == run["retries"] && summary["skipped_lines"] == 0;
        (!right).then(|| format!("the summary is {summary}"))
    }
}
