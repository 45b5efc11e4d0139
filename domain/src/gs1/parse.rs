//! The three forms, read to one [`Scan`].

use super::ai::{self, Format, Kind};
use super::{Element, FNC1, MAX_CHARS, Scan, ScanError};

/// Symbology identifiers of symbols that hold element strings: GS1-128, DataBar, DataMatrix, QR, DotCode.
const SYMBOLOGIES: [&str; 5] = ["]C1", "]e0", "]d2", "]Q3", "]J1"];

/// Characters with their places in what was given.
type Placed = (usize, char);

struct Reader {
    elements: Vec<Element>,
}

pub(super) fn scan(text: &str) -> Result<Scan, ScanError> {
    let count = text.chars().count();
    if count > MAX_CHARS {
        return Err(ScanError::TooLarge(count));
    }
    let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
    let before = text[..text.len() - text.trim_start_matches([' ', '\t', '\r', '\n']).len()].chars().count();
    let mut reader = Reader { elements: Vec::new() };
    let placed: Vec<Placed> = trimmed.chars().enumerate().map(|(at, char)| (at + before, char)).collect();
    if trimmed.starts_with('(') {
        reader.bracketed(&placed)?;
    } else if trimmed.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
        || trimmed.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    {
        reader.link(&placed)?;
    } else {
        let known = SYMBOLOGIES.iter().any(|prefix| trimmed.starts_with(prefix));
        reader.plain(&placed[if known { 3 } else { 0 }..])?;
    }
    if reader.elements.is_empty() { Err(ScanError::Empty) } else { Ok(Scan { elements: reader.elements }) }
}

impl Reader {
    /// An element string. A value of fixed length may have an FNC1 after it, another ends by one or with the text.
    fn plain(&mut self, text: &[Placed]) -> Result<(), ScanError> {
        let mut rest = skip_fnc1(text);
        while !rest.is_empty() {
            let (ai, format, after) = identifier(rest)?;
            let end = after.iter().position(|(_, char)| *char == FNC1).unwrap_or(after.len());
            let (least, most) = format.length();
            // Of fixed length and without an FNC1 after it, the value ends by itself.
            let end = if least == most && ai::is_predefined(&ai) { end.min(most) } else { end };
            self.take(ai, format, start(after, rest), &after[..end])?;
            rest = skip_fnc1(&after[end..]);
        }
        Ok(())
    }

    /// Identifiers in brackets. A value may have brackets too: what ends it is an opening one with a known identifier in it.
    fn bracketed(&mut self, text: &[Placed]) -> Result<(), ScanError> {
        let mut rest = text;
        while !rest.is_empty() {
            let Some((ai, format, after)) = in_brackets(rest) else { return Err(unknown(rest)) };
            let (least, most) = format.length();
            let next = (0..after.len()).find(|index| in_brackets(&after[*index..]).is_some());
            let end = next.unwrap_or(after.len());
            // Where the length is fixed, what follows it must be an identifier.
            let end = if least == most { end.max(most).min(after.len()) } else { end };
            self.take(ai, format, start(after, rest), &after[..end])?;
            rest = &after[end..];
        }
        Ok(())
    }

    /// A web address: in its path a key and what qualifies it, in its query more. Other words of the query are the address's own.
    fn link(&mut self, text: &[Placed]) -> Result<(), ScanError> {
        let text = &text[..text.iter().position(|(_, char)| *char == '#').unwrap_or(text.len())];
        let path_end = text.iter().position(|(_, char)| *char == '?').unwrap_or(text.len());
        let (path, query) = text.split_at(path_end);
        let segments: Vec<&[Placed]> = path.split(|(_, char)| *char == '/').collect();
        let is_key = |segment: &[Placed]| ai::PRIMARY.iter().any(|(key, _)| word(segment) == *key);
        // Scheme, nothing, host: what comes before the key is the address's own.
        // A word of the address may look like a key; the last one that can have what follows is it.
        let mut places = (3..segments.len()).rev();
        let first = places.find(|index| is_key(segments[*index]) && (segments.len() - index).is_multiple_of(2));
        let Some(first) = first else { return Err(ScanError::NoKey) };
        for pair in segments[first..].chunks_exact(2) {
            let (ai, format) = whole(pair[0])?;
            let value = decoded(pair[1])?;
            // Before version 1.2 of the standard a GTIN stood there as on the item.
            let value = if ai == "01" { padded(value) } else { value };
            self.take(ai, format, start(pair[1], pair[0]), &value)?;
        }
        for pair in query.get(1..).unwrap_or_default().split(|(_, char)| *char == '&' || *char == ';') {
            let Some(middle) = pair.iter().position(|(_, char)| *char == '=') else { continue };
            let (name, value) = (&pair[..middle], &pair[middle + 1..]);
            if name.is_empty() || !name.iter().all(|(_, char)| char.is_ascii_digit()) {
                continue;
            }
            let (ai, format) = whole(name)?;
            self.take(ai, format, start(value, name), &decoded(value)?)?;
        }
        Ok(())
    }

    /// Checks a value and keeps it.
    fn take(&mut self, ai: String, format: &'static Format, at: usize, value: &[Placed]) -> Result<(), ScanError> {
        let (least, most) = format.length();
        if value.len() < least {
            return Err(ScanError::TooShort { ai, at, needed: least, found: value.len() });
        }
        if value.len() > most {
            return Err(ScanError::TooLong { ai, at, max: most, found: value.len() });
        }
        let text = matches!(format.kind, Kind::Text(_));
        let allowed = if text { "letters, digits and ! \" % & ' ( ) * + , - . / : ; < = > ? _" } else { "digits" };
        let wrong = value.iter().find(|(_, char)| match u8::try_from(*char) {
            Ok(byte) if text => !ai::is_of_82(byte),
            Ok(byte) => !byte.is_ascii_digit(),
            Err(_) => true,
        });
        if let Some((at, found)) = wrong {
            return Err(ScanError::Character { ai, at: *at, found: *found, allowed });
        }
        let value = word(value);
        if let Kind::Key(_) = format.kind
            && let Some(right) = ai::wrong_check_digit(&value)
        {
            return Err(ScanError::CheckDigit { ai, at, value, right });
        }
        if format.is_date() && !ai::can_be_date(&value) {
            return Err(ScanError::Date { ai, at, value });
        }
        match self.elements.iter().find(|known| known.ai == ai) {
            Some(known) if known.value != value => return Err(ScanError::Twice { ai, at }),
            Some(_) => {}
            None => self.elements.push(Element { ai, value, format }),
        }
        Ok(())
    }
}

fn skip_fnc1(text: &[Placed]) -> &[Placed] {
    match text {
        [(_, FNC1), rest @ ..] => rest,
        text => text,
    }
}

fn identifier(text: &[Placed]) -> Result<(String, &'static Format, &[Placed]), ScanError> {
    let digits: Vec<u8> = leading_digits(text);
    let Some((length, format)) = ai::find(&digits) else { return Err(unknown(text)) };
    Ok((word(&text[..length]), format, &text[length..]))
}

/// `(01)` with a known identifier, at the beginning of a text.
fn in_brackets(text: &[Placed]) -> Option<(String, &'static Format, &[Placed])> {
    let inner = without(text, '(')?;
    let digits = leading_digits(inner);
    let (length, format) = ai::find(&digits)?;
    let after = without(inner.get(length..)?, ')')?;
    Some((word(&inner[..length]), format, after))
}

/// An identifier that is all of a text.
fn whole(text: &[Placed]) -> Result<(String, &'static Format), ScanError> {
    let found = ai::find(&leading_digits(text)).filter(|(length, _)| *length == text.len());
    found.map(|(_, format)| (word(text), format)).ok_or_else(|| unknown(text))
}

fn leading_digits(text: &[Placed]) -> Vec<u8> {
    let digits = text.iter().take(ai::LONGEST).map_while(|(_, char)| u8::try_from(*char).ok());
    digits.take_while(u8::is_ascii_digit).collect()
}

fn unknown(text: &[Placed]) -> ScanError {
    let at = text.first().map_or(0, |(at, _)| *at);
    ScanError::UnknownAi { at, found: word(&text[..text.len().min(ai::LONGEST)]) }
}

/// Where a value begins; where there is none, behind what comes before it.
fn start(value: &[Placed], before: &[Placed]) -> usize {
    let behind = || before.last().map_or(0, |(at, _)| at + 1);
    value.first().map_or_else(behind, |(at, _)| *at)
}

fn word(text: &[Placed]) -> String {
    text.iter().map(|(_, char)| char).collect()
}

fn decoded(text: &[Placed]) -> Result<Vec<Placed>, ScanError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [(at, char), after @ ..] = rest {
        rest = after;
        if *char != '%' {
            decoded.push((*at, *char));
            continue;
        }
        let hex = |place: usize| after.get(place).and_then(|(_, char)| char.to_digit(16));
        let (Some(high), Some(low)) = (hex(0), hex(1)) else { return Err(ScanError::Encoding { at: *at }) };
        let byte = char::from_u32(high * 16 + low).filter(char::is_ascii);
        decoded.push((*at, byte.ok_or(ScanError::Encoding { at: *at })?));
        rest = &after[2..];
    }
    Ok(decoded)
}

/// Eight, twelve or thirteen digits with zeros in front.
fn padded(value: Vec<Placed>) -> Vec<Placed> {
    let at = value.first().map_or(0, |(at, _)| *at);
    let missing = if matches!(value.len(), 8 | 12 | 13) { 14 - value.len() } else { 0 };
    std::iter::repeat_n((at, '0'), missing).chain(value).collect()
}

fn without(text: &[Placed], char: char) -> Option<&[Placed]> {
    match text {
        [(_, first), rest @ ..] if *first == char => Some(rest),
        _ => None,
    }
}
