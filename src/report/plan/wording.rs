//! The sentences of a plan.

use std::time::Duration;

use super::screen::{Characters, Screen};
use super::{Subject, time};
use crate::policy::plan::{Chart, Crowd, Extent, FOLLOWED, Forecast};
use crate::report::format::{count, printable};

impl Subject<'_> {
    /// The answer, in one sentence: the outage that a run outlives, and what that costs the service.
    pub(super) fn answer(&self, screen: Screen) -> String {
        let run = format!("{} {}", attempts(&self.plan.quick), self.outlives());
        let cost = cost(&self.plan.crowd, &self.plan.quick);
        match self.head(screen) {
            Some(head) => format!("{head}: a run makes {run}; {cost}."),
            None => format!("A run makes {run}; {cost}."),
        }
    }

    /// The command and its profile: `curl (profile curl)`. None without a command.
    fn head(&self, screen: Screen) -> Option<String> {
        let profiles = match self.profiles().as_slice() {
            [] => "no profile".to_owned(),
            [one] => format!("profile {one}"),
            many => format!("profiles {}", many.join(", ")),
        };
        self.has_command.then(|| format!("{} ({profiles})", shown(self.label, screen)))
    }

    /// How long an outage a run outlives, or how long it polls.
    fn outlives(&self) -> String {
        let Forecast { attempts, is_whole, outlived, .. } = &self.plan.quick;
        let schedule = &self.policy.schedule;
        let until = self.policy.rules.until.is_some();
        let (verb, of) = if until { ("waits for --until", "for") } else { ("outlives an outage", "of") };
        match (is_whole, schedule.deadline, schedule.max_attempts) {
            (false, Some(deadline), _) => format!("until the deadline of {}", time(deadline)),
            (false, None, Some(_)) => format!("and {verb} {of} more than {}", time(outlived.least)),
            (false, None, None) if until => format!("and {verb} without an end"),
            (false, None, None) => "and outlives any outage".to_owned(),
            (true, ..) if attempts.most == 1 && until => "and does not wait for --until".to_owned(),
            (true, ..) if attempts.most == 1 => "and outlives no outage".to_owned(),
            (true, ..) => format!("and {verb} {}", extent(*outlived, of)),
        }
    }

    /// What else the options do to a run.
    pub(super) fn notes(&self) -> Vec<String> {
        let (schedule, mut notes) = (&self.policy.schedule, Vec::new());
        if let (Some(timeout), Some(slow)) = (self.policy.limits.timeout, &self.plan.slow) {
            let last = match (slow.is_whole, slow.attempts.most) {
                (false, _) => format!("a run makes {FOLLOWED} attempts and more"),
                (true, 1) => "there is no retry".to_owned(),
                (true, _) => format!("the last one starts {}", extent(slow.last, "after")),
            };
            let timeout = time(timeout);
            notes.push(format!("If each attempt times out after {timeout} (--timeout), {last}."));
        }
        if schedule.successes.get() > 1 {
            let delay = time(schedule.delay_in_row());
            notes.push(format!(
                "Success takes {} successes in a row, {delay} apart (--successes).",
                schedule.successes
            ));
        }
        if let Some(healthy_after) = schedule.healthy_after {
            let time = time(healthy_after);
            notes.push(format!(
                "An attempt that runs for {time} starts the plan from the beginning (--healthy-after)."
            ));
        }
        if self.policy.handed_down.is_some() {
            notes.push(
                "RETRY_DEADLINE is set: an outer retry may end the run earlier. The plan leaves it out."
                    .to_owned(),
            );
        }
        notes
    }

    /// What the figures assume. `--help` and the man page say more.
    pub(super) fn assumptions(&self) -> Vec<String> {
        let quick = &self.plan.quick;
        let mut lines = vec![format!(
            "Assumed: attempts take no time, the service stays down, no Retry-After, no breaker, no budget. \
             Drawn: {} runs. Nothing was run.",
            quick.runs
        )];
        if let Some(timeout) = self.policy.limits.timeout {
            lines.push(format!(
                "SLOWEST: the latest moment if each attempt takes the {} of --timeout.",
                time(timeout)
            ));
        }
        if let Some(seed) = self.seed {
            lines.push(format!("SEEDED: the moments of a run with --seed {seed}."));
        }
        if !quick.is_whole {
            lines.push(format!("The plan follows the first {FOLLOWED} attempts of a run."));
        }
        lines
    }
}

/// A text from outside, in characters that the terminal shows.
fn shown(text: &str, screen: Screen) -> String {
    let text = printable(text);
    match screen.characters {
        Characters::Unicode => text.into_owned(),
        Characters::Ascii => text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect(),
    }
}

/// `8 attempts`, `9 to 14 attempts`.
fn attempts(Forecast { attempts, is_whole, .. }: &Forecast) -> String {
    match attempts {
        Extent { most, .. } if !is_whole => format!("{most} attempts and more"),
        Extent { least, most, .. } if least < most => format!("{least} to {most} attempts"),
        Extent { most, .. } => count(u64::from(*most), "attempt"),
    }
}

/// `of 2.1s almost for certain, of 8.1s in half of the runs, and of 15s at most`
fn extent(Extent { least, median, most }: Extent<Duration>, of: &str) -> String {
    if time(least) == time(most) {
        return format!("{of} {}", time(most));
    }
    format!(
        "{of} {} almost for certain, {of} {} in half of the runs, and {of} {} at most",
        time(least),
        time(median),
        time(most)
    )
}

/// What the clients send, and how many at once.
fn cost(crowd: &Crowd, quick: &Forecast) -> String {
    let clients = count(u64::from(crowd.clients.get()), "client");
    let send = if crowd.clients.get() == 1 { "sends" } else { "send" };
    let each = if crowd.clients.get() == 1 { "" } else { " each" };
    let requests = match (quick.is_whole, tenths(crowd.requests_per_client)) {
        (false, _) => format!("{FOLLOWED} requests and more"),
        (true, one) if one == "1" => "1 request".to_owned(),
        (true, some) => format!("{some} requests"),
    };
    let arrive = match (&crowd.chart, crowd.peak.arrivals) {
        (None, _) => String::new(),
        (Some(_), arrivals) => format!(", up to {arrivals} within 100 ms"),
    };
    format!("{clients} {send} {requests}{each}{arrive}")
}

/// A number with one decimal, unless that is 0.
fn tenths(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned)
}

/// The line above the bars.
pub(super) fn chart_head(crowd: &Crowd, chart: &Chart, quick: &Forecast) -> String {
    let (what, begin) = match (crowd.counts_first, quick.is_whole) {
        (true, true) => ("Requests", "start"),
        (true, false) => ("The first requests", "start"),
        (false, true) => ("Retries", "fail"),
        (false, false) => ("The first retries", "fail"),
    };
    let period = time(chart.period);
    if crowd.clients.get() == 1 {
        return format!("{what} of 1 client, per {period}:");
    }
    format!("{what} of {} clients that {begin} at the same instant, per {period}:", crowd.clients)
}

/// What a fixed delay would do, for as long as half of the runs last.
pub(super) fn fixed(crowd: &Crowd, quick: &Forecast) -> String {
    let requests = count(crowd.fixed.requests_per_client, "request");
    match (crowd.clients.get(), quick.is_whole) {
        (1, true) => format!("With a fixed delay of 1s, the client sends {requests} in the same time."),
        (1, false) => "With a fixed delay of 1s, the client sends a request every second.".to_owned(),
        (clients, true) => format!(
            "With a fixed delay of 1s, all {clients} arrive within 100 ms, and each client sends {requests} \
             in the same time."
        ),
        (clients, false) => {
            format!("With a fixed delay of 1s, all {clients} arrive within 100 ms, every second.")
        }
    }
}
