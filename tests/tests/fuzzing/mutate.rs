//! Small changes to bytes, chosen by what breaks decoders: numbers at their limits, lengths that lie, parts twice or missing.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

/// Texts that somewhere in a decoder mean something.
const WORDS: [&[u8]; 22] = [
    b"0",
    b"-1",
    b"2147483648",
    b"4294967295",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e999",
    b"NaN",
    b"null",
    b"\0",
    b"\xff",
    "é".as_bytes(),
    "\u{202e}".as_bytes(),
    b"{}",
    b"[]",
    b"\"",
    b"\\u0000",
    b"\n",
    b"_",
    b"+00:00",
    b"9999-12-31T23:59:60.999999Z",
];

/// One to four changes.
pub(crate) fn several(bytes: &mut Vec<u8>, other: &[u8], rng: &mut SmallRng) {
    for _ in 0..rng.random_range(1..=4) {
        one(bytes, other, rng);
    }
}

fn one(bytes: &mut Vec<u8>, other: &[u8], rng: &mut SmallRng) {
    let from = rng.random_range(0..=bytes.len());
    let until = rng.random_range(from..=bytes.len().min(from + 40));
    match rng.random_range(0..10) {
        0 if from < bytes.len() => bytes[from] ^= 1 << rng.random_range(0..8),
        1 if from < bytes.len() => bytes[from] = rng.random(),
        2 => drop(bytes.drain(from..until)),
        3 => bytes.truncate(from),
        4 => {
            let part = bytes[from..until].to_vec();
            drop(bytes.splice(from..from, part));
        }
        5 if !other.is_empty() => {
            let start = rng.random_range(0..other.len());
            let end = rng.random_range(start..=other.len().min(start + 60));
            drop(bytes.splice(from..until, other[start..end].iter().copied()));
        }
        6 => number(bytes, rng),
        7 => line(bytes, rng),
        8 => {
            let count = rng.random_range(0..12);
            let noise: Vec<u8> = (0..count).map(|_| rng.random()).collect();
            drop(bytes.splice(from..from, noise));
        }
        _ => {
            let word = WORDS.choose(rng).copied().unwrap_or_default();
            drop(bytes.splice(from..until.min(from + 4), word.iter().copied()));
        }
    }
}

/// Puts another number in the place of one.
fn number(bytes: &mut Vec<u8>, rng: &mut SmallRng) {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_digit()))
        .collect();
    let Some(&start) = starts.choose(rng) else { return };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = match rng.random_range(0..4) {
        0 => rng.random::<u8>().to_string(),
        1 => rng.random::<i64>().to_string(),
        2 => format!("0{}", rng.random::<u8>()),
        _ => (1_u128 << rng.random_range(0..80)).to_string(),
    };
    drop(bytes.splice(start..start + length, text.into_bytes()));
}

/// Doubles a line, leaves it out, or changes it with the next.
fn line(bytes: &mut Vec<u8>, rng: &mut SmallRng) {
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let at = rng.random_range(0..lines.len());
    match rng.random_range(0..3) {
        0 => lines.insert(at, lines[at].clone()),
        1 => drop(lines.remove(at)),
        _ if at + 1 < lines.len() => lines.swap(at, at + 1),
        _ => {}
    }
    *bytes = lines.join(&b'\n');
}
