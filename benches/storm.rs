//! The main reason for retry: a crowd calls a service that is down for ten seconds. The service
//! then serves sixty requests a second and refuses the rest. Each row is a tool with its settings.
//! The benchmark reports the number of requests during the outage, the highest peak after the
//! outage, and the time until all clients succeeded. The tools take turns for three rounds.
//!
//! The benchmark plots the arrivals of the last round in `benches/storm.svg`. It writes the plot
//! only if 300 clients ran and every plotted tool was measured.
//!
//! `cargo bench --bench storm [-- CLIENTS [ROUNDS [WORDS]]]`: WORDS selects the rows whose name
//! contains these words; `plot` selects the rows of the plot.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measurement prints, fails by a panic, and counts in floating point"
)]

#[path = "../tests/support/storm.rs"]
mod storm;
mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use storm::{Aftermath, Service, storm};
use support::server::Server;
use support::{RETRY, argument, preamble, range, table, tools};

const SERVICE: Service =
    Service { outage: Duration::from_secs(10), stumbles: 0, rate: 60.0, asks: None, gathers: 0 };

/// Default number of clients.
const CLIENTS: usize = 300;

/// The end of the names of the rows whose state is in a server. They are left out if there is no
/// `redis-server`.
const IN_A_SERVER: &str = ", state in a server";

/// Time limit for a crowd.
const LIMIT: Duration = Duration::from_mins(5);

/// The rows in the plot, and their colours.
const PLOTTED: [(&str, &str); 5] = [
    ("retry --deadline 2m --max-delay 10s", "#1f77b4"),
    ("retry --breaker x --breaker-wait --deadline 2m", "#2ca02c"),
    ("debian-retry -d 1,2,4,8,10", "#d62728"),
    ("attempt exponential -M 10 -j 10", "#ff7f0e"),
    ("retry-cmd -m 60 -i 1", "#7f7f7f"),
];

fn main() {
    let (clients, rounds) = (argument(0, CLIENTS), argument(1, 3));
    preamble("The storm");
    let directory = std::env::temp_dir().join(format!("retry-storm-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let client = directory.join("client");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/client.c");
    let made = Command::new("cc").arg("-O2").arg(&source).arg("-o").arg(&client).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("no C compiler is here, so there is no client");
        return;
    }
    let only: String = argument(2, String::new());
    let mut candidates = candidates();
    let plotted = |name| PLOTTED.iter().any(|(other, _)| *other == name);
    candidates.retain(|candidate| match only.as_str() {
        "plot" => plotted(candidate.0),
        words => candidate.0.contains(words),
    });
    let mut aftermaths: Vec<Vec<Aftermath>> = candidates.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let turns = candidates.iter().zip(&mut aftermaths).enumerate();
        for (number, ((name, service, program, options), own)) in turns {
            let Some(program) = program else { continue };
            let state = directory.join(format!("state-{round}-{number}"));
            let server = if name.ends_with(IN_A_SERVER) { Server::start() } else { None };
            if name.ends_with(IN_A_SERVER) && server.is_none() {
                continue;
            }
            let place = server.as_ref().map_or_else(|| state.display().to_string(), Server::url);
            own.push(storm(*service, clients, LIMIT, |port| {
                let mut command = Command::new(program);
                command.args(options);
                if !name.starts_with("recur") {
                    command.arg("--");
                }
                command.arg(&client).env("PORT", port.to_string()).env("RETRY_STATE", &place);
                command.env_remove("LD_LIBRARY_PATH");
                command
            }));
            let _ = std::fs::remove_dir_all(&state);
        }
    }
    let names = candidates.iter().map(|candidate| candidate.0);
    let rows: Vec<Vec<String>> = names.clone().zip(&aftermaths).map(|(name, own)| row(name, own)).collect();
    let lines: Vec<(&str, &str, &Aftermath)> = PLOTTED
        .iter()
        .filter_map(|(name, colour)| {
            let at = names.clone().position(|other| other == *name)?;
            Some((*name, *colour, aftermaths.get(at)?.last()?))
        })
        .collect();
    let head = [
        "",
        "requests in the outage, per client",
        "peak in 100 ms after the outage",
        "time until all succeeded / least possible time",
        "gave up",
        "unfinished after 5 min",
        "refused after the outage, per client",
    ];
    let least = least(clients);
    let title = format!(
        "{clients} clients, down for 10 s, then 60 requests a second (at least {least:.1} s), {rounds} rounds"
    );
    table(&title, &head, &rows);
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/storm.svg");
    if clients == CLIENTS && lines.len() == PLOTTED.len() {
        std::fs::write(&picture, plot(&lines)).expect("a picture");
    }
    let _ = std::fs::remove_dir_all(directory);
}

/// A tool with its settings: the name of the row, the service, the program (None if it is missing),
/// and the options.
type Candidate = (&'static str, Service, Option<String>, Vec<&'static str>);

fn candidates() -> Vec<Candidate> {
    let tools = tools::all();
    let peer = |name: &str| {
        let tool = tools.iter().find(|tool| tool.name == name)?;
        tool.path.as_ref()?.to_str().map(str::to_owned)
    };
    let own = || Some(RETRY.to_owned());
    let asks = Service { asks: Some(5), ..SERVICE };
    vec![
        ("retry --deadline 2m", SERVICE, own(), vec!["--deadline", "2m"]),
        (
            "retry --deadline 2m --max-delay 10s",
            SERVICE,
            own(),
            vec!["--deadline", "2m", "--max-delay", "10s"],
        ),
        (
            "retry --deadline 2m -d 2s -j equal --max-delay 10s",
            SERVICE,
            own(),
            vec!["--deadline", "2m", "-d", "2s", "-j", "equal", "--max-delay", "10s"],
        ),
        (
            "retry --breaker x --breaker-wait --deadline 2m",
            SERVICE,
            own(),
            vec!["--breaker", "x", "--breaker-wait", "--deadline", "2m"],
        ),
        (
            "retry --breaker x --breaker-wait --breaker-cooldown 5s --deadline 2m",
            SERVICE,
            own(),
            vec!["--breaker", "x", "--breaker-wait", "--breaker-cooldown", "5s", "--deadline", "2m"],
        ),
        (
            "retry --breaker x --breaker-wait --deadline 2m, state in a server",
            SERVICE,
            own(),
            vec!["--breaker", "x", "--breaker-wait", "--deadline", "2m"],
        ),
        ("retry --budget x=20% --deadline 2m", SERVICE, own(), vec!["--budget", "x=20%", "--deadline", "2m"]),
        (
            "retry -p http --deadline 2m, told Retry-After 5",
            asks,
            own(),
            vec!["-p", "http", "--deadline", "2m"],
        ),
        ("retry, plain defaults", SERVICE, own(), vec![]),
        ("debian-retry -d 1,2,4,8,16,32", SERVICE, peer("debian-retry"), vec!["-d", "1,2,4,8,16,32"]),
        ("debian-retry -d 1,2,4,8,10", SERVICE, peer("debian-retry"), vec!["-d", "1,2,4,8,10"]),
        (
            "attempt exponential -M 60 -j 1",
            SERVICE,
            peer("attempt"),
            vec!["exponential", "-a", "60", "-j", "1", "-M", "60"],
        ),
        (
            "attempt exponential -M 10 -j 10",
            SERVICE,
            peer("attempt"),
            vec!["exponential", "-a", "60", "-j", "10", "-M", "10"],
        ),
        (
            "retry-cli from 1s to 60s",
            SERVICE,
            peer("retry-cli"),
            vec!["--attempts", "60", "--min-duration", "1s", "--max-duration", "60s"],
        ),
        (
            "retry-cli from 1s to 10s, jitter 0.9",
            SERVICE,
            peer("retry-cli"),
            [
                &["--attempts", "60", "--min-duration", "1s", "--max-duration", "10s"],
                &["--jitter", "0.9"][..],
            ]
            .concat(),
        ),
        ("retry-cmd -m 60 -i 1", SERVICE, peer("retry-cmd"), vec!["-q", "-m", "60", "-i", "1"]),
        (
            "recur -d 1s -b 2s -j 0,1s",
            SERVICE,
            peer("recur"),
            vec!["-a", "60", "-d", "1s", "-b", "2s", "-j", "0,1s"],
        ),
    ]
}

/// The shortest possible time, in seconds, until the service has served all clients. It is the
/// length of the outage, and then the time to serve all clients at the service's rate. The service
/// serves the first clients at once from its full bucket.
fn least(clients: usize) -> f64 {
    SERVICE.outage.as_secs_f64() + (clients as f64 - SERVICE.rate / 10.0).max(0.0) / SERVICE.rate
}

fn row(name: &str, own: &[Aftermath]) -> Vec<String> {
    if own.is_empty() {
        return vec![name.to_owned(), "missing".to_owned()];
    }
    let each = |figure: &dyn Fn(&Aftermath) -> f64, digits| {
        range(&own.iter().map(figure).collect::<Vec<_>>(), digits)
    };
    let all_through = |after: &&Aftermath| after.gave_up + after.unfinished == 0;
    let through: Vec<f64> = own
        .iter()
        .filter(all_through)
        .filter_map(|after| Some(after.last_success?.as_secs_f64() / least(after.clients)))
        .collect();
    let through = match own.len() - through.len() {
        0 => range(&through, 2),
        never if never == own.len() => "never".to_owned(),
        never => format!("never in {never} of {} rounds", own.len()),
    };
    let refused = |after: &Aftermath| {
        let late = after.arrivals.iter().filter(|arrival| arrival.at >= after.outage && !arrival.served);
        late.count() as f64 / after.clients as f64
    };
    vec![
        name.to_owned(),
        each(&Aftermath::amplification, 2),
        each(&|after| after.peak() as f64, 0),
        through,
        each(&|after| after.gave_up as f64, 0),
        each(&|after| after.unfinished as f64, 0),
        each(&refused, 2),
    ]
}

/// Draws the requests per second as lines, with one point for each half second.
fn plot(all: &[(&str, &str, &Aftermath)]) -> String {
    const WIDTH: f64 = 720.0;
    const HEIGHT: f64 = 300.0;
    const SECONDS: usize = 60;
    let bins = |after: &Aftermath| {
        let mut bins = vec![0.0_f64; SECONDS * 2];
        for arrival in &after.arrivals {
            if let Some(bin) = bins.get_mut((arrival.at.as_secs_f64() * 2.0) as usize) {
                *bin += 2.0;
            }
        }
        bins
    };
    // A square root keeps low rates visible beside high rates.
    let y = |rate: f64| 20.0 + HEIGHT - (rate / 700.0).min(1.0).sqrt() * HEIGHT;
    let x = |second: f64| 60.0 + second / SECONDS as f64 * WIDTH;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"820\" height=\"420\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"820\" height=\"420\" fill=\"white\"/>\n",
    );
    let (left, right) = (x(0.0), x(10.0));
    writeln!(
        svg,
        "<rect x=\"{left}\" y=\"20\" width=\"{}\" height=\"{HEIGHT}\" fill=\"#eee\"/>",
        right - left
    )
    .unwrap();
    writeln!(svg, "<text x=\"{}\" y=\"34\" fill=\"#555\">down</text>", left + 6.0).unwrap();
    for rate in [0.0, 10.0, 60.0, 200.0, 600.0] {
        let y = y(rate);
        let dash = if (rate - SERVICE.rate).abs() < 0.5 { " stroke-dasharray=\"4 3\"" } else { "" };
        writeln!(svg, "<path d=\"M60 {y:.1}H780\" stroke=\"#ccc\"{dash}/>").unwrap();
        writeln!(svg, "<text x=\"54\" y=\"{:.1}\" text-anchor=\"end\">{rate}</text>", y + 4.0).unwrap();
    }
    for second in (0..=SECONDS).step_by(10) {
        let x = x(second as f64);
        writeln!(svg, "<text x=\"{x:.1}\" y=\"338\" text-anchor=\"middle\">{second} s</text>").unwrap();
    }
    svg.push_str("<text x=\"60\" y=\"12\">requests per second, cut off at 60 s and at 700; dashed: what the service can serve</text>\n");
    for (i, (name, colour, after)) in all.iter().enumerate() {
        let points: Vec<String> = bins(after)
            .iter()
            .enumerate()
            .map(|(bin, rate)| format!("{:.1},{:.1}", x(bin as f64 / 2.0 + 0.25), y(*rate)))
            .collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            points.join(" ")
        )
        .unwrap();
        let (column, line) = ((i % 2) as f64 * 380.0 + 60.0, (i / 2) as f64 * 18.0 + 360.0);
        writeln!(svg, "<text x=\"{column}\" y=\"{line}\" fill=\"{colour}\">{name}</text>").unwrap();
    }
    svg.push_str("</svg>\n");
    svg
}
