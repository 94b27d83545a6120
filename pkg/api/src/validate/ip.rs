//! Addresses and ranges of addresses.

use super::Errors;
use super::at::At;
use std::net::IpAddr;

/// An IP address.
pub(super) fn address(at: &At<'_, '_>, errors: &mut Errors) -> bool {
    let valid = at.text().parse::<IpAddr>().is_ok();
    if !valid {
        at.invalid(
            errors,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
    valid
}

/// A range such as `10.0.0.0/8`.
pub(super) fn range(at: &At<'_, '_>, text: &str, errors: &mut Errors) {
    let valid = text.split_once('/').is_some_and(|(ip, bits)| {
        let max = match ip.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|n| n <= max)
    });
    if !valid {
        at.invalid(
            errors,
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        );
    }
}

/// An address that can be an endpoint's: no unspecified, loopback or link-local one.
pub(super) fn endpoint(at: &At<'_, '_>, errors: &mut Errors) {
    let Ok(ip) = at.text().parse::<IpAddr>() else {
        return at.invalid(errors, "must be a valid IP address");
    };
    if ip.is_unspecified() {
        at.invalid(errors, format!("may not be unspecified ({})", at.text()));
    }
    if ip.is_loopback() {
        at.invalid(errors, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (unicast, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    if unicast {
        at.invalid(
            errors,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        );
    }
    if multicast {
        at.invalid(
            errors,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        );
    }
}
