//! A set of signals that can be used between clone(2) and execve(2).

/// Signals 1 to 64, the first in the lowest bit, as /proc writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::process) struct SignalSet(pub(super) u64);

impl SignalSet {
    /// The set of one signal. It is empty if there is no signal with this number.
    pub(in crate::process) fn of(signal: i32) -> Self {
        match u32::try_from(signal.wrapping_sub(1)) {
            Ok(bit @ 0..64) => Self(1 << bit),
            _ => Self(0),
        }
    }

    pub(in crate::process) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(in crate::process) fn contains(self, signal: i32) -> bool {
        !self.intersection(Self::of(signal)).is_empty()
    }

    pub(in crate::process) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(in crate::process) fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(in crate::process) fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_bits() {
        assert_eq!(SignalSet::of(1), SignalSet(1));
        assert_eq!(SignalSet::of(15), SignalSet(1 << 14));
        assert_eq!(SignalSet::of(64), SignalSet(1 << 63));
        for number in [0, -1, 65, i32::MIN, i32::MAX] {
            assert!(SignalSet::of(number).is_empty());
        }
        let set = SignalSet::of(2).union(SignalSet::of(20));
        assert!(set.contains(2) && set.contains(20) && !set.contains(3) && !set.contains(0));
    }
}
