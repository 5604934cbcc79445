//! A plan as JSON. `docs/plan.schema.json` describes the document. Names and units are those of the
//! report.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

use super::{JOINT, Subject, warning};
use crate::policy::plan::{Chart, Extent, Forecast, Plan, Walk};
use crate::report::json::seconds;

/// The version of the document. It grows only if an older reader would misread the document.
const VERSION: u8 = 1;

#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    label: Option<&'a str>,
    profiles: Vec<&'static str>,
    max: Option<NonZeroU32>,
    deadline_s: Option<f64>,
    timeout_s: Option<f64>,
    until: bool,
    /// Whether a deadline of an outer retry was left out.
    outer_deadline: bool,
    quick: ForecastJson,
    timed_out: Option<ForecastJson>,
    seeded: Option<Seeded>,
    crowd: CrowdJson,
    warnings: Vec<WarningJson>,
}

#[derive(Serialize)]
struct ForecastJson {
    runs: usize,
    complete: bool,
    attempts: ExtentJson<u32>,
    outlives_s: ExtentJson<f64>,
    starts: Vec<Start>,
}

#[derive(Serialize)]
struct ExtentJson<T> {
    least: T,
    median: T,
    most: T,
}

#[derive(Serialize)]
struct Start {
    attempt: u32,
    earliest_s: f64,
    median_s: f64,
    latest_s: f64,
}

#[derive(Serialize)]
struct Seeded {
    seed: u64,
    complete: bool,
    starts_s: Vec<f64>,
}

#[derive(Serialize)]
struct CrowdJson {
    clients: NonZeroU32,
    /// None if the runs are not followed to their ends.
    requests_per_client: Option<f64>,
    peak_100ms: u64,
    peak_at_s: f64,
    arrivals: Option<Arrivals>,
    fixed_1s: FixedJson,
}

#[derive(Serialize)]
struct Arrivals {
    first_attempts: bool,
    period_s: f64,
    counts: Vec<u64>,
}

#[derive(Serialize)]
struct FixedJson {
    requests_per_client: Option<u64>,
    peak_100ms: u64,
}

#[derive(Serialize)]
struct WarningJson {
    kind: &'static str,
    text: String,
}

pub(super) fn document(subject: &Subject<'_>) -> String {
    let Plan { quick, slow, seeded, warnings, .. } = subject.plan;
    let policy = subject.policy;
    let document = Document {
        v: VERSION,
        label: subject.has_command.then_some(subject.label),
        profiles: subject.profiles(),
        max: policy.schedule.max_attempts,
        deadline_s: policy.schedule.deadline.map(seconds),
        timeout_s: policy.limits.timeout.map(seconds),
        until: policy.rules.until.is_some(),
        outer_deadline: policy.handed_down.is_some(),
        quick: forecast(quick),
        timed_out: slow.as_ref().map(forecast),
        seeded: subject.seed.zip(seeded.as_ref()).map(|(seed, walk)| sequence(seed, walk)),
        crowd: crowd(subject.plan),
        warnings: warnings
            .iter()
            .map(|warning| WarningJson {
                kind: warning::kind(warning),
                text: warning::in_words(warning).replace(JOINT, " "),
            })
            .collect(),
    };
    // Numbers and texts always serialize.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn forecast(forecast: &Forecast) -> ForecastJson {
    let Extent { least, median, most } = forecast.attempts;
    let start = |attempt: u32, at: Extent<Duration>| Start {
        attempt,
        earliest_s: seconds(at.least),
        median_s: seconds(at.median),
        latest_s: seconds(at.most),
    };
    ForecastJson {
        runs: forecast.runs,
        complete: forecast.is_whole,
        attempts: ExtentJson { least, median, most },
        outlives_s: ExtentJson {
            least: seconds(forecast.outlived.least),
            median: seconds(forecast.outlived.median),
            most: seconds(forecast.outlived.most),
        },
        starts: forecast.moments.iter().map(|moment| start(moment.attempt, moment.at)).collect(),
    }
}

fn sequence(seed: u64, walk: &Walk) -> Seeded {
    let starts_s = walk.starts.iter().copied().map(seconds).collect();
    Seeded { seed, complete: walk.is_whole, starts_s }
}

fn crowd(Plan { crowd, quick, .. }: &Plan) -> CrowdJson {
    let whole = |requests| Some(requests).filter(|_| quick.is_whole);
    let arrivals = |chart: &Chart| Arrivals {
        first_attempts: crowd.counts_first,
        period_s: seconds(chart.period),
        counts: chart.arrivals.clone(),
    };
    CrowdJson {
        clients: crowd.clients,
        requests_per_client: quick.is_whole.then_some(crowd.requests_per_client),
        peak_100ms: crowd.peak.arrivals,
        peak_at_s: seconds(crowd.peak.at),
        arrivals: crowd.chart.as_ref().map(arrivals),
        fixed_1s: FixedJson {
            requests_per_client: whole(crowd.fixed.requests_per_client),
            peak_100ms: crowd.fixed.peak,
        },
    }
}
