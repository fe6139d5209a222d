//! The digests that Python makes with `hashlib`.

use blake2::digest::consts::U16;
use blake2::Blake2b;
use sha2::{Digest, Sha256};

/// Bytes of the digest of a dedupe key.
pub const KEY: usize = 16;
/// Digits of the digest of a personal identifier.
pub const SHA256_DIGITS: usize = 64;

/// Return what `hashlib.blake2b(text, digest_size=16).digest()` returns.
pub fn key(text: &[u8]) -> [u8; KEY] {
    Blake2b::<U16>::digest(text).into()
}

/// Write what `hashlib.sha256(text).hexdigest()` returns.
pub fn write_sha256_digits(text: &[u8], out: &mut Vec<u8>) {
    for byte in Sha256::digest(text) {
        for digit in [byte >> 4, byte & 15] {
            out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
    }
}
