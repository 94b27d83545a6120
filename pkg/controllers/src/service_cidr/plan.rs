//! What a range of cluster addresses needs next, decided from what was seen.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// How long a range that nothing needs any more stays, so that nobody takes an address of it who does
/// not know yet that it goes.
const GRACE: Duration = Duration::from_secs(10);

/// A range of addresses, `10.96.0.0/16` or `fd00::/108`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    first: u128,
    length: u32,
    v6: bool,
}

impl FromStr for Prefix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, length) = text.split_once('/').ok_or(())?;
        let address: IpAddr = address.parse().map_err(drop)?;
        let length: u32 = length.parse().map_err(drop)?;
        let (first, v6) = number(address);
        let length = if v6 { length } else { length + 96 };
        (length <= 128).then_some(Self { first, length, v6 }).ok_or(())
    }
}

/// An address as a number; those of IPv4 are the last of the space, as where IPv6 has them mapped.
fn number(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), false),
        IpAddr::V6(address) => (address.to_bits(), true),
    }
}

impl Prefix {
    /// Whether an address is in the range.
    pub fn holds(&self, address: IpAddr) -> bool {
        let (number, v6) = number(address);
        v6 == self.v6 && self.covers(number)
    }

    /// Whether all of another range is in this one.
    pub fn contains(&self, other: &Prefix) -> bool {
        self.v6 == other.v6 && self.length <= other.length && self.covers(other.first)
    }

    fn covers(&self, number: u128) -> bool {
        let differing = (number ^ self.first).checked_shr(128 - self.length);
        differing.unwrap_or(0) == 0
    }
}

/// What was seen of a ServiceCIDR.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its ranges.
    pub ranges: &'a [Prefix],
    /// Those of all others that are not on their way out.
    pub others: &'a [Prefix],
    /// The addresses that are taken.
    pub taken: &'a [IpAddr],
    /// How long ago its deletion was asked for.
    pub leaving_since: Option<Duration>,
    /// Whether it carries our finalizer.
    pub protected: bool,
}

/// What to do with a ServiceCIDR.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Put our finalizer on it first; then it is ready.
    Protect,
    /// Addresses may be taken of it.
    Ready,
    /// It is to go, and addresses are still of it and of no other.
    Needed,
    /// It goes, after this long.
    Wait(Duration),
    /// Take our finalizer away.
    Release,
    /// It waits for somebody else.
    Nothing,
}

/// Decides.
pub fn step(seen: Seen<'_>) -> Step {
    let Some(since) = seen.leaving_since else {
        return if seen.protected {
            Step::Ready
        } else {
            Step::Protect
        };
    };
    if !seen.protected {
        return Step::Nothing;
    }
    if is_needed(seen) {
        return Step::Needed;
    }
    match GRACE.checked_sub(since) {
        Some(left) if !left.is_zero() => Step::Wait(left),
        _ => Step::Release,
    }
}

/// Whether an address would be of no range without this one.
fn is_needed(seen: Seen<'_>) -> bool {
    let covered = |range: &Prefix| seen.others.iter().any(|other| other.contains(range));
    if seen.ranges.iter().all(covered) {
        return false;
    }
    let inside = |ranges: &[Prefix], address: IpAddr| ranges.iter().any(|range| range.holds(address));
    let mut taken = seen.taken.iter();
    taken.any(|address| inside(seen.ranges, *address) && !inside(seen.others, *address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(all: &[&str]) -> Vec<Prefix> {
        let parsed = all.iter().map(|range| range.parse().expect("a range"));
        parsed.collect()
    }

    fn leaving(ranges: &[&str], others: &[&str], taken: &[&str], seconds: u64) -> Step {
        let parsed = taken.iter().map(|address| address.parse().expect("an address"));
        step(Seen {
            ranges: &prefixes(ranges),
            others: &prefixes(others),
            taken: &parsed.collect::<Vec<_>>(),
            leaving_since: Some(Duration::from_secs(seconds)),
            protected: true,
        })
    }

    #[test]
    fn ranges_know_what_is_in_them() {
        let [wide, narrow, six]: [Prefix; 3] = prefixes(&["10.0.0.0/8", "10.96.0.0/16", "fd00::/108"])
            .try_into()
            .expect("three");
        assert!(wide.contains(&narrow) && !narrow.contains(&wide) && narrow.contains(&narrow));
        assert!(!six.contains(&narrow) && !prefixes(&["::/0"])[0].contains(&narrow));
        assert!(narrow.holds("10.96.255.255".parse().expect("an address")));
        assert!(!narrow.holds("10.97.0.0".parse().expect("an address")));
        assert!(six.holds("fd00::ffff".parse().expect("an address")));
        for wrong in ["10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_is_ready_once_it_is_protected() {
        let mut seen = Seen {
            ranges: &[],
            others: &[],
            taken: &[],
            leaving_since: None,
            protected: false,
        };
        assert_eq!(step(seen), Step::Protect);
        seen.protected = true;
        assert_eq!(step(seen), Step::Ready);
    }

    #[test]
    fn a_range_stays_while_an_address_is_of_it_alone() {
        let own = &["10.1.0.0/24"];
        assert_eq!(leaving(own, &["10.2.0.0/24"], &["10.1.0.9"], 60), Step::Needed);
        assert_eq!(leaving(own, &["10.1.0.0/28"], &["10.1.0.9"], 60), Step::Release);
        assert_eq!(leaving(own, &["10.0.0.0/8"], &["10.1.0.9"], 60), Step::Release);
        assert_eq!(leaving(own, &[], &["10.2.0.9"], 60), Step::Release);
    }

    #[test]
    fn a_range_that_may_go_goes_when_all_have_heard_of_it() {
        let left = Duration::from_secs(7);
        assert_eq!(leaving(&["10.1.0.0/24"], &[], &[], 3), Step::Wait(left));
        assert_eq!(leaving(&["10.1.0.0/24"], &[], &[], 10), Step::Release);
    }
}
