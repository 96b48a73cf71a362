//! Codes that prove a phone number: made, sealed for storage, compared.

use crate::Result;
use crate::clock::Entropy;
use aws_lc_rs::hmac;
use std::fmt;

/// Codes below this that come from 32 random bits are all as likely as each other.
const FAIR: u32 = u32::MAX - u32::MAX % CODES;
const CODES: u32 = 1_000_000;

/// A new code: six digits.
pub fn code(entropy: &dyn Entropy) -> Result<String> {
    loop {
        let mut bytes = [0u8; 4];
        entropy.fill(&mut bytes)?;
        let drawn = u32::from_ne_bytes(bytes);
        if drawn < FAIR {
            return Ok(format!("{:06}", drawn % CODES));
        }
    }
}

/// A new name for one attempt to sign in: 32 hex digits.
pub fn nonce(entropy: &dyn Entropy) -> Result<String> {
    let mut bytes = [0u8; 16];
    entropy.fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Whether this could be a nonce.
pub fn is_nonce(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Seals codes, so that what is stored does not tell them: HMAC-SHA256 with a secret, bound to attempt and number.
///
/// ```
/// use beep_core::auth::otp::Sealer;
/// let sealer = Sealer::new(b"a secret of the server");
/// let seal = sealer.seal("nonce", "+6599999999", "123456");
/// assert!(sealer.opens(&seal, "nonce", "+6599999999", "123456"));
/// assert!(!sealer.opens(&seal, "nonce", "+6599999998", "123456"));
/// ```
pub struct Sealer(hmac::Key);

impl Sealer {
    /// A sealer with this secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// What may be stored of a code.
    pub fn seal(&self, nonce: &str, number: &str, code: &str) -> Vec<u8> {
        hmac::sign(&self.0, &message(nonce, number, code)).as_ref().to_vec()
    }

    /// Whether the seal is of this code. Takes the same time for each.
    pub fn opens(&self, seal: &[u8], nonce: &str, number: &str, code: &str) -> bool {
        hmac::verify(&self.0, &message(nonce, number, code), seal).is_ok()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// Each part with its length, so that no two triples read the same.
fn message(nonce: &str, number: &str, code: &str) -> Vec<u8> {
    let parts = [nonce, number, code];
    parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes(), part.as_bytes()].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::System;

    /// Gives these numbers, one after the other.
    #[derive(Debug)]
    struct Drawn(std::sync::Mutex<Vec<u32>>);

    impl Entropy for Drawn {
        fn fill(&self, bytes: &mut [u8]) -> Result<()> {
            let mut drawn = self.0.lock().unwrap();
            bytes.copy_from_slice(&drawn.remove(0).to_ne_bytes());
            Ok(())
        }
    }

    #[test]
    fn codes_have_six_digits_and_the_uneven_rest_is_drawn_again() -> Result<()> {
        let entropy = Drawn(vec![7, u32::MAX, FAIR, FAIR - 1, 1_000_001].into());
        assert_eq!(code(&entropy)?, "000007");
        assert_eq!(code(&entropy)?, "999999");
        assert_eq!(code(&entropy)?, "000001");
        Ok(())
    }

    #[test]
    fn nonces_are_nonces() -> Result<()> {
        assert!(is_nonce(&nonce(&System)?));
        assert_ne!(nonce(&System)?, nonce(&System)?);
        for wrong in ["", "0", &"0".repeat(31), &"g".repeat(32), &"A".repeat(32), &"é".repeat(16)] {
            assert!(!is_nonce(wrong), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn a_seal_opens_for_its_own_three_parts_only() {
        let (sealer, other) = (Sealer::new(b"secret"), Sealer::new(b"another"));
        let seal = sealer.seal("n", "+65", "123456");
        assert!(sealer.opens(&seal, "n", "+65", "123456"));
        assert!(!other.opens(&seal, "n", "+65", "123456"));
        for (nonce, number, code) in
            [("m", "+65", "123456"), ("n", "+66", "123456"), ("n", "+65", "123457"), ("n+", "65", "123456")]
        {
            assert!(!sealer.opens(&seal, nonce, number, code));
        }
        assert!(!sealer.opens(&[], "n", "+65", "123456"));
        assert!(!seal.windows(6).any(|w| w == b"123456"));
    }
}
