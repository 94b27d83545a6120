//! Names made from `generateName`.

/// The most bytes of a generated name: 63, of which five are the suffix.
pub const MAX_GENERATED_LENGTH: usize = 63;
const SUFFIX: usize = 5;
/// No vowels and no look-alikes, so that no words come out.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// `base` and a suffix of five letters and digits taken from `random`; a `base` that is too long is
/// cut.
pub fn generate(base: &str, random: u64) -> String {
    let mut end = base.len().min(MAX_GENERATED_LENGTH - SUFFIX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = String::with_capacity(end + SUFFIX);
    name.push_str(&base[..end]);
    let mut rest = random;
    for _ in 0..SUFFIX {
        let at = usize::try_from(rest % 27).unwrap_or_default();
        name.push(char::from(ALPHABET[at]));
        rest /= 27;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_keeps_the_base_and_fits_a_label() {
        let name = generate("web-", 12_345_678);
        assert!(name.starts_with("web-") && name.len() == 9);
        assert_eq!(generate(&"x".repeat(100), 1).len(), 63);
        assert_ne!(generate("a", 1), generate("a", 2));
    }
}
