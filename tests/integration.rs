//! Tests of the command from outside: one binary, one module per feature.
//!
//! The oracles are visible from outside: exit statuses, bytes, lines that commands write to a file,
//! the log of a server, the process table, a terminal. No test sleeps and hopes that something has
//! happened by then.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test says by a panic what it found"
)]

#[macro_use]
mod support;

mod action;
mod alarm;
mod answers;
mod architecture;
mod breaker;
mod breaker_wait;
mod budget;
mod ci;
mod completion;
mod countdown;
mod damaged;
mod descriptors;
mod diagnostics;
mod examples;
mod explain;
mod fleet;
mod fork_chains;
mod fresh_line;
mod generated;
mod hints;
mod hold;
mod hold_both;
mod http;
mod input;
mod job_control;
mod key_file;
mod key_removal;
mod limits;
mod nested;
mod origin;
mod packages;
mod pager;
mod plan;
mod policies;
mod process;
mod profiles;
mod proof;
mod record_limits;
mod refusals;
mod repeats;
mod replay;
mod report;
mod requests;
mod retry_after;
mod sandbox;
mod secrets;
mod shared_values;
mod start_failures;
mod start_signals;
mod state;
mod stdio;
mod stopped;
mod storm;
mod storms;
mod successes;
mod summary;
mod unusable_state;
mod watch;
mod wording;

mod crowded;
mod loss;
mod offset;
mod on_retry;
mod once;
mod once_crowd;
mod one_file;
mod slow_pattern;
