//! The entry points of the fuzzers in `fuzz/`. Each function checks a property that holds for any
//! bytes.

use crate::policy::verdict::properties;

pub fn condition(bytes: &[u8]) {
    properties::condition(bytes);
}

pub fn key(bytes: &[u8]) {
    crate::state::key::property(bytes);
}

pub fn options(bytes: &[u8]) {
    crate::cli::properties::options(bytes);
}

pub fn policy(bytes: &[u8]) {
    crate::cli::policy_file::property(bytes);
}

pub fn values(bytes: &[u8]) {
    crate::cli::properties::values(bytes);
}

pub fn response(bytes: &[u8]) {
    properties::response(bytes);
}

pub fn body(bytes: &[u8]) {
    properties::body(bytes);
}

pub fn record(bytes: &[u8]) {
    crate::state::record::property(bytes);
}

pub fn replies(bytes: &[u8]) {
    crate::state::redis::property(bytes);
}

pub fn evidence(bytes: &[u8]) {
    properties::evidence(bytes);
}

pub fn words(bytes: &[u8]) {
    properties::words(bytes);
}

pub fn stat(bytes: &[u8]) {
    crate::process::descendants::property(bytes);
}

pub fn shown(bytes: &[u8]) {
    crate::report::format::property(bytes);
    crate::report::status::property(bytes);
}

pub fn window(bytes: &[u8]) {
    properties::window(bytes);
}
