//! The text form of long-lived keys: `sortie_agt_<base62><crc32>`.
//!
//! 192 random bits in base62 (33 digits), then a CRC-32 of them in base62 (6 digits), so that secret scanners and the
//! API can refuse junk without a look-up. At rest there is only a keyed hash.
//! Published as `sortie_(agt|key|opr)_[0-9A-Za-z]{39}`.

use rand::RngCore;

use crate::secret::Secret;

/// Which kind of key a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// An agent's key: mints sessions for that agent.
    Agent,
    /// An API key of a tenant.
    Api,
    /// An operator's key.
    Operator,
}

impl KeyKind {
    const ALL: [Self; 3] = [Self::Agent, Self::Api, Self::Operator];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Agent => "sortie_agt_",
            Self::Api => "sortie_key_",
            Self::Operator => "sortie_opr_",
        }
    }
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_DIGITS: usize = 33;
const CHECK_DIGITS: usize = 6;

/// Makes a new key. It is shown once; only its hash is kept.
#[must_use]
pub fn generate(kind: KeyKind) -> Secret {
    let mut text = kind.prefix().as_bytes().to_vec();
    text.reserve_exact(RANDOM_DIGITS + CHECK_DIGITS);
    let start = text.len();
    let mut random = rand::rng();
    while text.len() < start + RANDOM_DIGITS {
        // 248 is the largest multiple of 62 in a byte: above it the digits would not be equally likely.
        let byte = (random.next_u32() & 0xff) as u8;
        if byte < 248 {
            text.extend(DIGITS.get(usize::from(byte % 62)));
        }
    }
    let check = check_digits(text.get(start..).unwrap_or_default());
    text.extend_from_slice(&check);
    Secret::new(text)
}

/// Tells the kind of a well-formed key from its prefix and checksum alone.
#[must_use]
pub fn recognise(text: &str) -> Option<KeyKind> {
    let (kind, digits) = KeyKind::ALL.into_iter().find_map(|kind| {
        text.strip_prefix(kind.prefix())
            .map(|digits| (kind, digits))
    })?;
    let (random, check) = digits.as_bytes().split_at_checked(RANDOM_DIGITS)?;
    (random.iter().all(u8::is_ascii_alphanumeric) && check == check_digits(random)).then_some(kind)
}

fn check_digits(random: &[u8]) -> [u8; CHECK_DIGITS] {
    let mut rest = crc32fast::hash(random);
    let mut digits = [b'0'; CHECK_DIGITS];
    for digit in digits.iter_mut().rev() {
        if let Some(&found) = DIGITS.get((rest % 62) as usize) {
            *digit = found;
        }
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests;
