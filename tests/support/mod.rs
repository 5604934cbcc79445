//! Support for the tests: the command under test, a server, terminals and the process table.
//!
//! Everything here cleans up after itself on drop, even if a test panics. Every wait is bounded.
#![allow(dead_code, reason = "a vocabulary: not every word is used at every time")]
#![allow(unused_imports, reason = "the same, for the names that are re-exported here")]

#[macro_use]
pub(crate) mod needs;

pub(crate) mod cases;
pub(crate) mod failure;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod records;
pub(crate) mod redis;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod scratch;
pub(crate) mod server;
pub(crate) mod storm;
pub(crate) mod terminal;

pub(crate) use cases::each;
pub(crate) use retry::{Retry, retry};
pub(crate) use run::Run;
pub(crate) use running::Running;
pub(crate) use scratch::{Log, Scratch};
pub(crate) use server::{RefusedPort, Reply, Server, refused_port};
pub(crate) use terminal::Terminal;
