//! SHA-256, as `hashlib.sha256(text).hexdigest()` makes it.

use sha2::{Digest, Sha256};

/// Digits of a digest.
pub const DIGITS: usize = 64;

/// Write the digest of a text in hexadecimal digits.
pub fn write_digits(text: &[u8], out: &mut Vec<u8>) {
    for byte in Sha256::digest(text) {
        for digit in [byte >> 4, byte & 15] {
            out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
    }
}
