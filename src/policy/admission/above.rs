//! The claims of the retries around this run, as a variable hands them down.
//!
//! A run may be a part of an attempt that holds a claim on the same breaker: the probe, or a permit.
//! Then the outer run waits for this one, and this one may go on in its place. A store on this
//! machine finds the holder of a claim among the ancestors of this process. Hosts that share a store
//! cannot see each other's processes, so there the outer run tells its claim in the environment.
//!
//! The variable proves nothing. It counts only as long as the record has the very claim: each claim
//! has a number of its own, and the record forgets it when the attempt is reported.

use std::ffi::CString;

use super::super::environment::value;
use super::breaker::Claim;

/// The variable: claims separated by `/`, each as `probe:NUMBER:NAME` or `permit:NUMBER:NAME`. A name
/// has no `/` in it.
pub(crate) const CLAIMS: &str = "RETRY_CLAIMS";

const PROBE: &str = "probe";
const PERMIT: &str = "permit";

/// The last claim on each breaker that the retries around this run hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ClaimsAbove(Vec<(String, Claim)>);

impl ClaimsAbove {
    /// Reads the variable. Skips what no retry has written.
    pub(crate) fn read(environment: &[CString]) -> Self {
        let text = value(environment, CLAIMS).and_then(|text| std::str::from_utf8(text).ok());
        Self(text.unwrap_or_default().split('/').filter_map(claim_in).collect())
    }

    /// The claim on the breaker of this name.
    pub(crate) fn on(&self, name: &str) -> Option<Claim> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, claim)| *claim)
    }

    /// The variable for the retries in an attempt of this run. `own` is the claim that the attempt
    /// holds. It takes the place of an earlier one on the same breaker, which it has ended. None if
    /// there is no claim.
    pub(crate) fn handed_down(&self, own: Option<(&str, Claim)>) -> Option<String> {
        let others = self.0.iter().map(|(name, claim)| (name.as_str(), *claim));
        let others = others.filter(|(name, _)| own.is_none_or(|(own, _)| own != *name));
        let texts: Vec<String> = own.into_iter().chain(others).map(text_of).collect();
        (!texts.is_empty()).then(|| texts.join("/"))
    }
}

fn text_of((name, claim): (&str, Claim)) -> String {
    match claim {
        Claim::Probe(number) => format!("{PROBE}:{number}:{name}"),
        Claim::Permit(number) => format!("{PERMIT}:{number}:{name}"),
    }
}

fn claim_in(text: &str) -> Option<(String, Claim)> {
    let mut parts = text.splitn(3, ':');
    let (kind, number, name) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let claim = match kind {
        PROBE => Claim::Probe(number),
        PERMIT => Claim::Permit(number),
        _ => return None,
    };
    Some((name.to_owned(), claim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ClaimsAbove {
        ClaimsAbove::read(&[CString::new(format!("{CLAIMS}={text}")).unwrap()])
    }

    #[test]
    fn claims_are_handed_down_from_level_to_level() {
        let none = ClaimsAbove::read(&[]);
        assert_eq!((none.handed_down(None), none.on("a")), (None, None));
        let first = none.handed_down(Some(("a: b", Claim::Probe(7)))).unwrap();
        assert_eq!(first, "probe:7:a: b");
        let above = read(&first);
        assert_eq!((above.on("a: b"), above.on("a")), (Some(Claim::Probe(7)), None));
        assert_eq!(above.handed_down(None), Some(first));
        let second = above.handed_down(Some(("c", Claim::Permit(u64::MAX)))).unwrap();
        assert_eq!(second, "permit:18446744073709551615:c/probe:7:a: b");
        // A claim ends the one that was there before.
        let third = read(&second).handed_down(Some(("a: b", Claim::Permit(8)))).unwrap();
        assert_eq!(third, "permit:8:a: b/permit:18446744073709551615:c");
        assert_eq!(read(&third).on("a: b"), Some(Claim::Permit(8)));
    }

    #[test]
    fn what_no_retry_writes_is_skipped() {
        for text in ["", "x", "probe:7", "probe:x:a", "lease:7:a", "probe:18446744073709551616:a", ":::", "/"]
        {
            assert_eq!(read(text), ClaimsAbove::default(), "{text}");
            assert_eq!(read(&format!("{text}/probe:1:b")).on("b"), Some(Claim::Probe(1)), "{text}");
        }
        assert_eq!(
            ClaimsAbove::read(&[CString::new(&b"RETRY_CLAIMS=probe:1:\xff"[..]).unwrap()]).on(""),
            None
        );
    }
}
