//! A response, as far as a retry depends on it: the status, and the wait that the server asks for.

use std::time::{Duration, SystemTime};

use super::value::{self, MILLISECOND, Moment, RateLimit, SECOND};
use crate::policy::verdict::class::Class;

/// Fields of OpenAI, Azure and AWS that give `Retry-After` in milliseconds.
const IN_MILLISECONDS: [&str; 3] = ["retry-after-ms", "x-ms-retry-after-ms", "x-amz-retry-after"];

const RETRY_AFTER: &str = "Retry-After";

/// Whether a field counts outside of a block. Scripts print such fields alone.
pub(super) fn stands_alone(name: &[u8]) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    is(RETRY_AFTER) || IN_MILLISECONDS.into_iter().any(is)
}

/// The wait that a server asks for, and the field that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) wait: Duration,
    pub(crate) field: &'static str,
}

/// A response, with the fields that matter for a retry. Times count from the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(super) status: Option<u16>,
    /// `Date` (RFC 9110 §6.6.1): the clock of the server.
    date: Option<Duration>,
    /// The largest value of the fields in [`IN_MILLISECONDS`].
    retry_after_ms: Option<Asked>,
    /// The latest `Retry-After`.
    retry_after: Latest,
    /// `RateLimit`
    rate_limit: Option<RateLimit>,
    /// `RateLimit-Remaining`, `RateLimit-Reset`
    plain: Quota,
    /// `X-RateLimit-Remaining`, `X-RateLimit-Reset`
    x: Quota,
    /// `X-RateLimit-Reset-After`
    x_reset_after: Option<Duration>,
}

/// The latest moment of several fields with the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Latest {
    after: Option<Duration>,
    at: Option<Duration>,
}

impl Latest {
    fn add(&mut self, moment: Option<Moment>) {
        match moment {
            Some(Moment::After(wait)) => self.after = self.after.max(Some(wait)),
            Some(Moment::At(time)) => self.at = self.at.max(Some(time)),
            None => {}
        }
    }

    fn is_some(&self) -> bool {
        self.after.is_some() || self.at.is_some()
    }

    /// The time from `now` to this moment.
    fn wait(&self, now: Duration) -> Option<Duration> {
        self.after.max(self.at.map(|time| time.saturating_sub(now)))
    }
}

/// A rate limit: the requests that are left, and when there are more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Quota {
    nothing_left: Option<bool>,
    reset: Latest,
}

impl Quota {
    fn remaining(&mut self, value: &[u8]) {
        let nothing = value::number(value, SECOND).map(|left| left.is_zero());
        self.nothing_left = self.nothing_left.max(nothing);
    }
}

impl Response {
    /// A response without fields.
    pub(super) fn of(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// Takes a field. Most fields say nothing about a retry.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("Date") {
            self.date = value::date(value);
        } else if is(RETRY_AFTER) {
            self.retry_after.add(value::retry_after(value));
        } else if let Some(field) = IN_MILLISECONDS.into_iter().find(|known| is(known)) {
            let asked = value::number(value, MILLISECOND).map(|wait| Asked { wait, field });
            self.retry_after_ms = [self.retry_after_ms, asked].into_iter().flatten().max_by_key(|a| a.wait);
        } else if is("RateLimit") {
            let limit = value::rate_limit(value);
            self.rate_limit = match (self.rate_limit, limit) {
                (Some(a), Some(b)) => Some(RateLimit {
                    nothing_left: a.nothing_left || b.nothing_left,
                    wait: a.wait.max(b.wait),
                }),
                (a, b) => a.or(b),
            };
        } else if is("RateLimit-Remaining") {
            self.plain.remaining(value);
        } else if is("RateLimit-Reset") {
            self.plain.reset.add(value::reset(value));
        } else if is("X-RateLimit-Remaining") {
            self.x.remaining(value);
        } else if is("X-RateLimit-Reset") {
            self.x.reset.add(value::reset(value));
        } else if is("X-RateLimit-Reset-After") {
            self.x_reset_after = self.x_reset_after.max(value::number(value, SECOND));
        }
    }

    /// The status code, 100 to 599.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// The meaning of the status for a retry: RFC 9110 §15.5 and §15.6, RFC 8470 §5.2 (425), RFC
    /// 6585 §4 and §6 (429, 511). A status below 400 has none. GitHub sends 403 for its rate limit. A
    /// 413 with `Retry-After` is about a moment too (RFC 9110 §15.5.14).
    pub(crate) fn class(&self) -> Option<Class> {
        self.class_of(self.status?)
    }

    /// The meaning of this status, in a response with the fields of this one.
    pub(crate) fn class_of(&self, status: u16) -> Option<Class> {
        match status {
            408 | 425 | 429 => Some(Class::Retryable),
            403 | 413 if self.has_limit() => Some(Class::Retryable),
            501 | 505 | 511 | 400..=499 => Some(Class::Fatal),
            500..=599 => Some(Class::Retryable),
            _ => None,
        }
    }

    /// Whether a field says when to come back, or that nothing is left.
    fn has_limit(&self) -> bool {
        self.retry_after.is_some()
            || self.retry_after_ms.is_some()
            || self.rate_limit.is_some_and(|limit| limit.nothing_left)
            || [&self.plain, &self.x].iter().any(|quota| quota.nothing_left == Some(true))
    }

    /// The wait that the server asks for. Fields in milliseconds outrank `Retry-After` (RFC 9110
    /// §10.2.3), and that outranks rate limits. Zero and a past date ask for nothing. A date counts
    /// from the `Date` of the response, so that the two clocks do not have to agree, or else from
    /// `now`, the wall clock.
    pub(crate) fn asked(&self, now: SystemTime) -> Option<Asked> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = self.date.unwrap_or(now);
        let retry_after = Some(RETRY_AFTER).zip(self.retry_after.wait(now));
        let retry_after = retry_after.map(|(field, wait)| Asked { wait, field });
        // Zero milliseconds leave the decision to `Retry-After`. Rate limits count only if there is
        // neither (RFC 9110 §10.2.3 and the RateLimit draft).
        let some = |asked: &Asked| !asked.wait.is_zero();
        match (self.retry_after_ms.filter(some), retry_after) {
            (Some(asked), _) => Some(asked),
            (None, Some(asked)) => Some(asked).filter(some),
            (None, None) if self.retry_after_ms.is_some() => None,
            (None, None) => self.limited(now),
        }
    }

    /// The time until a rate limit ends. A 403 or 413 counts only if nothing is left. 429 and 503 also
    /// count if the fields do not say how much is left.
    fn limited(&self, now: Duration) -> Option<Asked> {
        let unsaid = match self.status? {
            403 | 413 => false,
            429 | 503 => true,
            _ => return None,
        };
        let applies = |quota: &Quota| quota.nothing_left.unwrap_or(unsaid);
        let reset = |quota: &Quota| quota.reset.wait(now).filter(|_| applies(quota));
        [
            ("RateLimit", self.rate_limit.and_then(|limit| limit.wait)),
            ("RateLimit-Reset", reset(&self.plain)),
            ("X-RateLimit-Reset-After", self.x_reset_after.filter(|_| applies(&self.x))),
            ("X-RateLimit-Reset", reset(&self.x)),
        ]
        .into_iter()
        .find_map(|(field, wait)| Some(Asked { wait: wait.filter(|wait| !wait.is_zero())?, field }))
    }
}

#[cfg(test)]
mod tests;
