//! Shared state in a server: real servers on the loopback interface, and redis-cli as the witness.

mod crowd;
mod failover;
mod failures;
mod hosts;
mod lease;
mod places;
mod rough;
mod same;
mod sharing;
mod tls;
mod valkey;
mod within;
