use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::policy::delay::backoff::Growth;
use crate::policy::delay::jitter::Jitter;
use crate::policy::plan::{InStep, Limit, Warning};
use crate::policy::verdict::classify::Rules;
use crate::policy::verdict::condition::Condition;
use crate::policy::verdict::profile::Profile;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const WIDE: Screen = Screen { width: 80, characters: screen::Characters::Unicode };
const NARROW: Screen = Screen { width: 40, characters: screen::Characters::Ascii };

/// The pages about the defaults with a change, one for each screen.
fn pages<const N: usize>(
    screens: [Screen; N],
    seed: Option<u64>,
    change: impl FnOnce(&mut Policy),
) -> [String; N] {
    let mut policy = Policy::example(Rules::default());
    policy.rules.profiles = Profile::named("curl").into_iter().collect();
    policy.schedule.max_attempts = NonZeroU32::new(5);
    policy.schedule.jitter = Jitter::Full;
    change(&mut policy);
    let plan = Plan::new(&policy, NonZeroU32::new(300).unwrap(), seed);
    let subject = Subject { label: "cürl", has_command: true, policy: &policy, seed, plan: &plan };
    assert!(subject.json().ends_with("}\n"));
    screens.map(|screen| {
        let text = subject.text(screen);
        for line in text.lines() {
            assert!(line.chars().count() <= screen.width && line.trim_end() == line, "{line:?} in {text}");
            assert!(screen.characters == screen::Characters::Unicode || line.is_ascii(), "{line}");
        }
        text
    })
}

/// The page for a wide terminal.
fn page(change: impl FnOnce(&mut Policy)) -> String {
    let [text] = pages([WIDE], None, change);
    text
}

#[test]
fn the_page_begins_with_the_answer() {
    let text = page(|policy| policy.schedule.jitter = Jitter::None);
    assert_eq!(
        text,
        "\
cürl (profile curl): a run makes 5 attempts and outlives an outage of 15s; 300
clients send 5 requests each, up to 300 within 100 ms.
Warning: all 300 clients come back in the same instant: there is no jitter
         (--jitter full adds it)

ATTEMPT  EARLIEST  MEDIAN  LATEST
      1        0s      0s      0s
      2        1s      1s      1s
      3        3s      3s      3s
      4        7s      7s      7s
      5       15s     15s     15s

Retries of 300 clients that fail at the same instant, per 5s:
 0s ████████████████████████████████████████████████████████████████████████ 600
 5s ████████████████████████████████████ 300
10s 0
15s ████████████████████████████████████ 300
With a fixed delay of 1s, all 300 arrive within 100 ms, and each client sends 16
requests in the same time.

Assumed: attempts take no time, the service stays down, no Retry-After, no
breaker, no budget. Drawn: 1000 runs. Nothing was run.
"
    );
}

#[test]
fn the_common_page_fits_on_a_screen() {
    for max in [1, 2, 5, 8, 20] {
        let text = page(|policy| policy.schedule.max_attempts = NonZeroU32::new(max));
        assert!(text.lines().count() <= 24, "{} lines: {text}", text.lines().count());
    }
}

#[test]
fn every_kind_of_page_keeps_to_its_width() {
    let changes: [fn(&mut Policy); 8] = [
        |_| (),
        |policy| policy.schedule.max_attempts = NonZeroU32::new(100_000),
        |policy| policy.schedule.max_attempts = NonZeroU32::new(1),
        |policy| (policy.schedule.max_attempts, policy.schedule.deadline) = (None, Some(secs(600))),
        |policy| policy.schedule.growth = Growth::Constant { delay: secs(900_000) },
        |policy| {
            policy.schedule.splay = secs(5000);
            policy.limits.timeout = Some(secs(40_000));
        },
        |policy| {
            policy.schedule.successes = NonZeroU32::new(3).unwrap();
            policy.schedule.healthy_after = Some(secs(600));
        },
        |policy| {
            (policy.schedule.max_attempts, policy.schedule.deadline) = (None, Some(secs(100_000)));
            policy.limits.timeout = Some(secs(5));
        },
    ];
    for change in changes {
        for seed in [None, Some(u64::MAX)] {
            pages([WIDE, NARROW, Screen { width: 61, ..NARROW }], seed, change);
        }
    }
}

#[test]
fn the_answer_fits_the_options() {
    let answer = |change: fn(&mut Policy)| {
        let text = page(change);
        text.split("\n\n").next().unwrap().replace('\n', " ")
    };
    for (change, sentence) in [
        (
            (|policy| policy.schedule.max_attempts = None) as fn(&mut Policy),
            "makes 10000 attempts and more and outlives any outage; 300 clients send 10000 requests and more \
             each, up to",
        ),
        (
            |policy| policy.schedule.max_attempts = NonZeroU32::new(1),
            "makes 1 attempt and outlives no outage; 300 clients send 1 request each. Warning: --max 1",
        ),
        (
            |policy| {
                policy.schedule.growth = Growth::Constant { delay: Duration::ZERO };
                (policy.schedule.max_attempts, policy.schedule.deadline) = (None, Some(secs(60)));
            },
            "makes 10000 attempts and more until the deadline of 1m; ",
        ),
        (
            |policy| {
                policy.rules.until = Condition::parse("3").ok();
                policy.schedule.jitter = Jitter::None;
            },
            "makes 5 attempts and waits for --until for 15s; ",
        ),
        (|_| (), " almost for certain, of "),
        (
            |policy| {
                policy.schedule.successes = NonZeroU32::new(3).unwrap();
                policy.schedule.healthy_after = Some(secs(600));
                policy.limits.timeout = Some(secs(3));
                policy.schedule.jitter = Jitter::None;
            },
            "If each attempt times out after 3s (--timeout), the last one starts after 27s. Success takes 3 \
             successes in a row, 1s apart (--successes). An attempt that runs for 10m starts the plan from \
             the beginning (--healthy-after).",
        ),
    ] {
        let text = answer(change);
        assert!(text.contains(sentence), "{text}");
    }
}

#[test]
fn each_warning_is_a_sentence() {
    let (count, time) = (NonZeroU32::new(3).unwrap(), secs(64));
    for (warning, words) in [
        (Warning::NoRetry, "no retry"),
        (
            Warning::DeadlineBeforeRetry { runs: 1, of: 1000, deadline: time },
            "1% of the runs make no retry: ",
        ),
        (
            Warning::DeadlineBeforeRetry { runs: 9, of: 9, deadline: time },
            "none of 9 runs makes a retry: the",
        ),
        (Warning::DeadlineBeforeTimeout { timeout: time, deadline: time }, "never ends an attempt"),
        (Warning::NoRetryAfterTimeout { runs: 9, of: 9, timeout: time, deadline: time }, "leaves no time"),
        (
            Warning::MaxNotReached { max: count, attempts: 2, of: 9, deadline: time },
            "none of 9 runs makes 3 attempts",
        ),
        (Warning::NoDelay, "no delay"),
        (Warning::InStep { clients: count, why: InStep::NoJitter }, "--jitter full"),
        (Warning::InStep { clients: count, why: InStep::FloorIsCap }, "--min-delay equals"),
        (Warning::CapBelowDelay { cap: time, delay: time }, "--max-delay 1m 4s shortens"),
        (Warning::NeverHealthy { healthy_after: time, limit: Limit::Timeout(time) }, "--timeout ends it"),
        (Warning::NeverHealthy { healthy_after: time, limit: Limit::Deadline(time) }, "--deadline ends it"),
        (Warning::TimeoutIsHealthy { healthy_after: time, timeout: time, max: count }, "--max 3 does not"),
        (Warning::NoRoomForFailure { successes: count }, "no room for a failure"),
        (Warning::SuccessesPastDeadline { successes: count, needed: time, deadline: time }, "never succeeds"),
    ] {
        let text = warning::in_words(&warning).replace(JOINT, " ");
        assert!(text.contains(words) && !text.ends_with('.'), "{text}");
        assert!(warning::kind(&warning).bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
    }
}
