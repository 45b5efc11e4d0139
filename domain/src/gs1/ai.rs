//! Application identifiers: how long each is, and what its value may be (General Specifications, section 3.2).

use chrono::{Datelike, NaiveDate};

use crate::master::gs1::check_digit;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Exactly so many digits.
    Digits(usize),
    /// Exactly so many digits, the last a check digit.
    Key(usize),
    /// `YYMMDD`.
    Date,
    /// Six digits; the last digit of the identifier says how many are behind the point.
    Measure,
    /// One to so many digits.
    Number(usize),
    /// One to so many characters of GS1's set 82.
    Text(usize),
}

/// What is known of an identifier.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// All of it, or all but the last digit of one that says where the point is.
    prefix: &'static str,
    pub(super) title: &'static str,
    pub(super) kind: Kind,
}

impl Format {
    pub(super) fn is_date(&self) -> bool {
        self.kind == Kind::Date
    }

    pub(super) fn is_measure(&self) -> bool {
        self.kind == Kind::Measure
    }

    /// How long the value is, at least and at most.
    pub(super) fn length(&self) -> (usize, usize) {
        match self.kind {
            Kind::Digits(exactly) | Kind::Key(exactly) => (exactly, exactly),
            Kind::Date | Kind::Measure => (6, 6),
            Kind::Number(most) | Kind::Text(most) => (1, most),
        }
    }
}

macro_rules! formats {
    ($($prefix:literal $title:literal $kind:expr;)*) => {
        const FORMATS: &[Format] = &[$(Format { prefix: $prefix, title: $title, kind: $kind },)*];
    };
}

formats! {
    "00" "SSCC" Kind::Key(18);
    "01" "GTIN" Kind::Key(14);
    "02" "CONTENT" Kind::Key(14);
    "10" "BATCH/LOT" Kind::Text(20);
    "11" "PROD DATE" Kind::Date;
    "12" "DUE DATE" Kind::Date;
    "13" "PACK DATE" Kind::Date;
    "15" "BEST BEFORE" Kind::Date;
    "16" "SELL BY" Kind::Date;
    "17" "USE BY" Kind::Date;
    "20" "VARIANT" Kind::Digits(2);
    "21" "SERIAL" Kind::Text(20);
    "22" "CPV" Kind::Text(20);
    "240" "ADDITIONAL ID" Kind::Text(30);
    "241" "CUST. PART No." Kind::Text(30);
    "251" "REF. TO SOURCE" Kind::Text(30);
    "30" "VAR. COUNT" Kind::Number(8);
    "310" "NET WEIGHT (kg)" Kind::Measure;
    "311" "LENGTH (m)" Kind::Measure;
    "312" "WIDTH (m)" Kind::Measure;
    "313" "HEIGHT (m)" Kind::Measure;
    "314" "AREA (m2)" Kind::Measure;
    "315" "NET VOLUME (l)" Kind::Measure;
    "316" "NET VOLUME (m3)" Kind::Measure;
    "320" "NET WEIGHT (lb)" Kind::Measure;
    "321" "LENGTH (in)" Kind::Measure;
    "322" "LENGTH (ft)" Kind::Measure;
    "323" "LENGTH (yd)" Kind::Measure;
    "324" "WIDTH (in)" Kind::Measure;
    "325" "WIDTH (ft)" Kind::Measure;
    "326" "WIDTH (yd)" Kind::Measure;
    "327" "HEIGHT (in)" Kind::Measure;
    "328" "HEIGHT (ft)" Kind::Measure;
    "329" "HEIGHT (yd)" Kind::Measure;
    "330" "GROSS WEIGHT (kg)" Kind::Measure;
    "340" "GROSS WEIGHT (lb)" Kind::Measure;
    "37" "COUNT" Kind::Number(8);
    "400" "ORDER NUMBER" Kind::Text(30);
    "401" "GINC" Kind::Text(30);
    "402" "GSIN" Kind::Key(17);
    "403" "ROUTE" Kind::Text(30);
    "410" "SHIP TO LOC" Kind::Key(13);
    "411" "BILL TO" Kind::Key(13);
    "412" "PURCHASE FROM" Kind::Key(13);
    "413" "SHIP FOR LOC" Kind::Key(13);
    "414" "LOC No." Kind::Key(13);
    "415" "PAY TO" Kind::Key(13);
    "416" "PROD/SERV LOC" Kind::Key(13);
    "417" "PARTY" Kind::Key(13);
    "420" "SHIP TO POST" Kind::Text(20);
    "422" "ORIGIN" Kind::Digits(3);
}

/// Keys that can begin a Digital Link's path, with what may follow each there.
pub(super) const PRIMARY: [(&str, &[&str]); 4] = [("01", &["22", "10", "21"]), ("00", &[]), ("414", &[]), ("417", &[])];

/// The longest identifier.
pub(super) const LONGEST: usize = 4;

/// The identifier that a text begins with: how long it is, and what is known of it.
pub(super) fn find(text: &[u8]) -> Option<(usize, &'static Format)> {
    FORMATS.iter().find_map(|format| {
        let prefix = format.prefix.as_bytes();
        if !text.starts_with(prefix) {
            return None;
        }
        if !format.is_measure() {
            return Some((prefix.len(), format));
        }
        // Six digits have at most six behind the point.
        let point = text.get(prefix.len())?;
        (b'0'..=b'6').contains(point).then_some((prefix.len() + 1, format))
    })
}

/// Whether a symbol needs no FNC1 after the value, whatever the value is (General Specifications, figure 7.8.5-2).
pub(super) fn is_predefined(ai: &str) -> bool {
    let predefined = ["00", "01", "02", "03", "04", "20", "31", "32", "33", "34", "35", "36", "41"];
    let two = ai.get(..2).unwrap_or_default();
    predefined.contains(&two) || ("11"..="19").contains(&two)
}

/// GS1's set 82.
pub(super) fn is_of_82(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!\"%&'()*+,-./:;<=>?_".contains(&byte)
}

/// What the check digit should be where it is not.
pub(super) fn wrong_check_digit(digits: &str) -> Option<u32> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(10)).collect();
    let (last, others) = digits.split_last()?;
    let right = check_digit(others);
    (*last != right).then_some(right)
}

/// The day of `YYMMDD` in the century that is nearest to a year; day 00 is the last of its month.
pub(super) fn date(digits: &str, this_year: i32) -> Option<NaiveDate> {
    let part = |from: usize| digits.get(from..from + 2)?.parse::<u32>().ok();
    let (year, month, day) = (part(0)?, part(2)?, part(4)?);
    let century = this_year - this_year.rem_euclid(100);
    let apart = year as i32 - this_year.rem_euclid(100);
    let century = match apart {
        51.. => century - 100,
        ..=-50 => century + 100,
        _ => century,
    };
    let year = century + year as i32;
    if day > 0 {
        return NaiveDate::from_ymd_opt(year, month, day);
    }
    let first = NaiveDate::from_ymd_opt(year, month, 1)?;
    first.checked_add_months(chrono::Months::new(1))?.pred_opt().filter(|last| last.year() == year)
}

/// Whether `YYMMDD` can be a day in some century.
pub(super) fn can_be_date(digits: &str) -> bool {
    // 2000 was a leap year, and 2096 will be; a year that ends in 00 is one in some century.
    date(digits, 2_000).is_some()
}
