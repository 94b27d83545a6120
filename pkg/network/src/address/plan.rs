//! Which address comes next.

use std::net::Ipv4Addr;

use crate::Cidr;

/// Can a pod have this address? Not the range's first (the network), second (the gateway) or last
/// (broadcast).
pub(crate) fn usable(range: &Cidr, address: Ipv4Addr) -> bool {
    range
        .index(address)
        .is_some_and(|index| index >= 2 && index + 1 < range.size())
}

/// The next free address after the one given out last, round the range: a freed address rests as long
/// as possible, since others may still send to the pod that had it.
pub(crate) fn next(
    range: &Cidr,
    last: Option<Ipv4Addr>,
    taken: impl Fn(Ipv4Addr) -> bool,
) -> Option<Ipv4Addr> {
    let start = last
        .and_then(|last| range.index(last))
        .map_or(0, |index| index + 1);
    (start..range.size())
        .chain(0..start)
        .filter_map(|index| range.at(index))
        .find(|address| usable(range, *address) && !taken(*address))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_free_usable_addresses_are_given(
            prefix in 20u8..=32,
            taken in proptest::collection::hash_set(0u32..64, 0..64),
            last in proptest::option::of(0u32..64),
        ) {
            let range = Cidr::new(Ipv4Addr::new(10, 1, 0, 0), prefix);
            let taken: HashSet<_> = taken.into_iter().filter_map(|index| range.at(index)).collect();
            let last = last.and_then(|index| range.at(index));
            match next(&range, last, |address| taken.contains(&address)) {
                Some(address) => prop_assert!(usable(&range, address) && !taken.contains(&address)),
                None => prop_assert!((0..range.size())
                    .filter_map(|index| range.at(index))
                    .all(|address| !usable(&range, address) || taken.contains(&address))),
            }
        }
    }

    #[test]
    fn the_search_goes_round() {
        let range: Cidr = "10.1.0.0/29".parse().unwrap();
        assert_eq!(next(&range, None, |_| false), Some(Ipv4Addr::new(10, 1, 0, 2)));
        assert_eq!(next(&range, range.at(3), |_| false), range.at(4));
        assert_eq!(next(&range, range.at(6), |_| false), range.at(2));
    }

    #[test]
    fn a_range_too_small_has_no_address() {
        for prefix in [30, 31, 32] {
            let range = Cidr::new(Ipv4Addr::new(10, 1, 0, 0), prefix);
            let found = next(&range, None, |_| false);
            assert_eq!(found.is_some(), prefix == 30);
        }
    }
}
