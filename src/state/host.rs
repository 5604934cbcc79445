//! This host, as other hosts of a shared store tell it apart.
//!
//! A host is a place in the network that can be cut off alone: a network namespace on a kernel that
//! runs. So the tag is made of the boot, the machine id (machine-id(5)) and the network namespace
//! (network_namespaces(7)). A machine id alone would not do: copies of a virtual machine often have
//! the same.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::clock::boot;
use crate::policy::admission::breaker::HostTag;

/// The tag of this host.
pub(super) fn this() -> HostTag {
    let machine = fs::read("/etc/machine-id").unwrap_or_default();
    let network = fs::metadata("/proc/self/ns/net").map_or(0, |space| space.ino());
    tag(&[boot().id.as_bytes(), &machine, &network.to_ne_bytes()])
}

/// A hash of these parts (FNV-1a). It tells a few hosts apart, and two hosts with the same tag
/// count as one.
fn tag(parts: &[&[u8]]) -> HostTag {
    const BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let bytes = parts.iter().flat_map(|part| part.iter());
    HostTag(bytes.fold(BASIS, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(PRIME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_hash_of_all_parts() {
        // The hash of "foobar" in the authors' tests.
        assert_eq!(tag(&[b"foo", b"", b"bar"]), HostTag(0xbf9c_f968));
        assert_ne!(tag(&[b"a", b"b"]), tag(&[b"a", b"c"]));
        assert_eq!(this(), this());
    }
}
