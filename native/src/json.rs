//! Writes JSON as orjson does, or declines.

use crate::avro::Got;
use crate::codec::{No, Why};

/// Write a text that needs no escape; decline another.
pub fn text(text: &str, out: &mut Vec<u8>) -> Got<()> {
    // All bytes are looked at, so that many are at once.
    if text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\')) {
        return Err(No::Declined(Why::Escape));
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

pub fn number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

fn two(number: i64, out: &mut Vec<u8>) {
    out.push(b'0' + (number / 10 % 10) as u8);
    out.push(b'0' + (number % 10) as u8);
}

const SECONDS_TO_YEAR_10000: i64 = 253_402_300_800;

/// Write a time in ISO 8601, whole seconds, UTC (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn time(milliseconds: i64, out: &mut Vec<u8>) -> Got<()> {
    let second = milliseconds.div_euclid(1000);
    if !(0..SECONDS_TO_YEAR_10000).contains(&second) {
        return Err(No::Declined(Why::Time));
    }
    let of_day = second % 86_400;
    let days = second / 86_400 + 719_468;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + days / 146_097 * 400 + i64::from(month <= 2);
    out.push(b'"');
    two(year / 100, out);
    two(year, out);
    out.push(b'-');
    two(month, out);
    out.push(b'-');
    two(day, out);
    out.push(b'T');
    two(of_day / 3600, out);
    out.push(b':');
    two(of_day / 60 % 60, out);
    out.push(b':');
    two(of_day % 60, out);
    out.extend_from_slice(b"Z\"");
    Ok(())
}

/// Write an amount that has two decimals at most; decline another, and what orjson may write in another notation.
///
/// Below 10^13 it has 15 digits at most. No two numbers of 15 digits are the same double, so these digits are the shortest.
pub fn amount(amount: f64, out: &mut Vec<u8>) -> Got<()> {
    let cents = (amount * 100.0).round();
    if amount.abs() >= 1e13 || cents / 100.0 != amount || (cents == 0.0 && amount.is_sign_negative()) {
        return Err(No::Declined(Why::Value)); // NaN is not equal to itself
    }
    if cents < 0.0 {
        out.push(b'-');
    }
    let cents = cents.abs() as u64;
    number(cents / 100, out);
    out.push(b'.');
    out.push(b'0' + (cents / 10 % 10) as u8);
    if cents % 10 != 0 {
        out.push(b'0' + (cents % 10) as u8);
    }
    Ok(())
}
