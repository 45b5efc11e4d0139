//! Codes that a site makes up for what nobody has named: a letter, the day in UTC, and a number of two digits or more, such as `R-20261121-01`.

use std::collections::HashMap;

use crate::timestamp::Timestamp;

/// The code of the next thing of a day: with the number of those of that day and one, or the next that is free. `counts` has by day how many there are.
pub(crate) fn next(
    letter: char,
    at: Timestamp,
    counts: &HashMap<String, u32>,
    is_taken: impl Fn(&str) -> bool,
) -> String {
    let day = at.to_utc().format("%Y%m%d").to_string();
    let first = counts.get(&day).copied().unwrap_or(0) + 1;
    let mut codes = (first..).map(|number| format!("{letter}-{day}-{number:02}"));
    codes.find(|code| !is_taken(code)).expect("invariant: there are fewer things than numbers")
}

/// The day of such a code.
pub(crate) fn day(letter: char, code: &str) -> Option<&str> {
    let (day, number) = code.strip_prefix(letter)?.strip_prefix('-')?.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (day.len() == 8 && digits(day) && digits(number)).then_some(day)
}
