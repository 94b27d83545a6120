//! Generated name parts in Kubernetes' alphabet (no vowels, so no words).

use std::hash::{BuildHasher, Hasher, RandomState};

const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Five random characters for a generated name. The only randomness of the controllers.
pub fn random_suffix() -> String {
    // Each RandomState has fresh keys, so hashing nothing gives a random number.
    let mut bits = RandomState::new().build_hasher().finish();
    let mut suffix = String::with_capacity(5);
    for _ in 0..5 {
        suffix.push(ALPHABET[(bits % 27) as usize] as char);
        bits /= 27;
    }
    suffix
}

/// A number's decimal digits written in the safe alphabet, as upstream writes the pod-template-hash.
pub fn safe_encode(number: u32) -> String {
    number
        .to_string()
        .bytes()
        .map(|digit| ALPHABET[usize::from(digit) % ALPHABET.len()] as char)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_differ_and_fit_a_name() {
        let many: std::collections::HashSet<String> = (0..1000).map(|_| random_suffix()).collect();
        assert!(many.len() > 990);
        assert!(
            many.iter()
                .all(|suffix| suffix.len() == 5 && suffix.bytes().all(|b| ALPHABET.contains(&b)))
        );
    }

    #[test]
    fn the_hash_is_written_as_upstream_does() {
        assert_eq!(safe_encode(0), "4");
        assert_eq!(safe_encode(1234567890).len(), 10);
    }
}
