//! Reads a file: its columns by their names, each line into the command that it asks for.

use std::collections::HashMap;
use std::str::FromStr;

use chrono::NaiveDate;
use csv::{ReaderBuilder, StringRecord, Trim};
use lotline_domain::command::{Command, QuantityInput, RegisterLot};
use lotline_domain::lot::LotType;
use lotline_domain::master::MasterCommand;
use lotline_domain::master::partner::DefinePartner;
use lotline_domain::master::product::{ConversionInput, DefineProduct};

use super::ImportKind;
use crate::schema::payload::UserError;

/// Most lines below the names of the columns.
const MAX_LINES: usize = 2_000;

/// A line, and what it asks for, or why that can't be read.
pub(super) struct Line {
    pub(super) number: u32,
    pub(super) code: String,
    pub(super) command: Result<Command, UserError>,
}

/// The columns of a kind of file.
struct Columns {
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const PRODUCTS: Columns =
    Columns { required: &["code", "name", "unit"], optional: &["gtin", "conversions", "shelf_life_days", "active"] };
const PARTNERS: Columns = Columns { required: &["code", "name"], optional: &["gln", "supplies", "buys", "active"] };
const OPENING_STOCK: Columns = Columns {
    required: &["code", "lot_type", "product", "quantity", "unit"],
    optional: &["supplier_lot", "expires_on", "location"],
};

/// Reads a whole file.
///
/// # Errors
/// What is wrong with it as a whole.
pub(super) fn read(kind: ImportKind, text: &str) -> Result<Vec<Line>, UserError> {
    let columns = match kind {
        ImportKind::Products => &PRODUCTS,
        ImportKind::Partners => &PARTNERS,
        ImportKind::OpeningStock => &OPENING_STOCK,
    };
    // Spreadsheets begin their files with a byte order mark.
    // Of two characters at the end of a line the reader would count the second one as of the next.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| malformed(&error))?.clone();
    check_columns(columns, &names)?;
    let (mut lines, mut first_of): (Vec<Line>, HashMap<String, u32>) = (Vec::new(), HashMap::new());
    for record in reader.records() {
        let record = record.map_err(|error| malformed(&error))?;
        let number = record.position().map_or(0, |position| position.line() as u32);
        if lines.len() == MAX_LINES {
            let message = format!("the file has more than {MAX_LINES} lines; divide it");
            return Err(UserError::at("csv", "TOO_MANY", message));
        }
        let row = Row { names: &names, record: &record };
        let code = row.text("code").to_owned();
        if let Some(first) = first_of.insert(code.clone(), number) {
            let message = format!("code '{code}' stands in line {first} and again in line {number}");
            return Err(UserError::at("csv", "DUPLICATE_CODE", message));
        }
        let command = row.whole().and_then(|()| match kind {
            ImportKind::Products => row.product(),
            ImportKind::Partners => row.partner(),
            ImportKind::OpeningStock => row.lot(),
        });
        lines.push(Line { number, code, command });
    }
    if lines.is_empty() {
        return Err(UserError::at("csv", "EMPTY", "the file has no line below the names of its columns"));
    }
    Ok(lines)
}

fn malformed(error: &csv::Error) -> UserError {
    UserError::at("csv", "MALFORMED", format!("the file can't be read: {error}"))
}

fn check_columns(columns: &Columns, names: &StringRecord) -> Result<(), UserError> {
    let all = || columns.required.iter().chain(columns.optional);
    let listed = all().copied().collect::<Vec<_>>().join(", ");
    let wrong = |what: String| Err(UserError::at("csv", "COLUMNS", format!("{what}; there are {listed}")));
    for (place, name) in names.iter().enumerate() {
        if !all().any(|known| *known == name) {
            return wrong(format!("column '{}' is not known", name.chars().take(64).collect::<String>()));
        }
        if names.iter().take(place).any(|earlier| earlier == name) {
            return wrong(format!("column '{name}' stands twice"));
        }
    }
    match columns.required.iter().find(|name| !names.iter().any(|given| given == **name)) {
        Some(missing) => wrong(format!("column '{missing}' is missing")),
        None => Ok(()),
    }
}

struct Row<'a> {
    names: &'a StringRecord,
    record: &'a StringRecord,
}

impl Row<'_> {
    /// A column's text; empty where the file does not have the column.
    fn text(&self, column: &str) -> &str {
        let place = self.names.iter().position(|name| name == column);
        place.and_then(|place| self.record.get(place)).unwrap_or_default()
    }

    fn whole(&self) -> Result<(), UserError> {
        let (found, wanted) = (self.record.len(), self.names.len());
        let message = || format!("the line has {found} fields, the first line has {wanted}");
        if found == wanted { Ok(()) } else { Err(UserError::at("csv", "MALFORMED_LINE", message())) }
    }

    fn optional(&self, column: &str) -> Option<String> {
        Some(self.text(column)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn parsed<T: FromStr>(&self, column: &str, rule: &str) -> Result<Option<T>, UserError> {
        let parse = |text: String| {
            let shown: String = text.chars().take(40).collect();
            text.parse().map_err(|_| UserError::at(column, "INVALID_VALUE", format!("'{shown}' is not {rule}")))
        };
        self.optional(column).map(parse).transpose()
    }

    /// What spreadsheets and people write for yes and no.
    fn flag(&self, column: &str, absent: bool) -> Result<bool, UserError> {
        match self.text(column).to_ascii_lowercase().as_str() {
            "" => Ok(absent),
            "true" | "yes" | "1" | "x" => Ok(true),
            "false" | "no" | "0" => Ok(false),
            _ => Err(UserError::at(column, "INVALID_VALUE", "write true or false, yes or no, 1 or 0")),
        }
    }

    fn product(&self) -> Result<Command, UserError> {
        Ok(Command::Master(MasterCommand::DefineProduct(DefineProduct {
            code: self.text("code").to_owned(),
            name: self.text("name").to_owned(),
            gtin: self.optional("gtin"),
            unit: self.text("unit").to_owned(),
            conversions: self.conversions()?,
            shelf_life_days: self.parsed("shelf_life_days", "a whole number of days")?,
            active: self.flag("active", true)?,
        })))
    }

    fn conversions(&self) -> Result<Vec<ConversionInput>, UserError> {
        let parts = self.text("conversions").split(';').map(str::trim).filter(|part| !part.is_empty());
        let read = |part: &str| {
            let (unit, factor) = part.split_once('=').ok_or_else(|| {
                UserError::at("conversions", "INVALID_VALUE", "write conversions like KGM=0.5;LTR=0.48")
            })?;
            Ok(ConversionInput { unit: unit.trim().to_owned(), factor: factor.trim().to_owned() })
        };
        parts.map(read).collect()
    }

    fn partner(&self) -> Result<Command, UserError> {
        Ok(Command::Master(MasterCommand::DefinePartner(DefinePartner {
            code: self.text("code").to_owned(),
            name: self.text("name").to_owned(),
            gln: self.optional("gln"),
            supplies: self.flag("supplies", false)?,
            buys: self.flag("buys", false)?,
            active: self.flag("active", true)?,
        })))
    }

    fn lot(&self) -> Result<Command, UserError> {
        let given = self.text("lot_type").to_ascii_lowercase();
        let lot_type = LotType::ALL.into_iter().find(|known| known.as_str() == given);
        let kinds = || LotType::ALL.map(LotType::as_str).join(", ");
        let unknown = || UserError::at("lot_type", "INVALID_VALUE", format!("write one of {}", kinds()));
        Ok(Command::RegisterLot(RegisterLot {
            code: self.text("code").to_owned(),
            lot_type: lot_type.ok_or_else(unknown)?,
            product: self.text("product").to_owned(),
            quantity: QuantityInput { value: self.text("quantity").to_owned(), unit: self.text("unit").to_owned() },
            temperature_c: None,
            supplier_lot: self.optional("supplier_lot"),
            expires_on: self.parsed::<NaiveDate>("expires_on", "a date such as 2026-12-24")?,
            location: self.optional("location"),
            attributes: [("origin".to_owned(), "opening stock".to_owned())].into(),
            parents: Vec::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(kind: ImportKind, text: &str) -> String {
        read(kind, text).err().unwrap_or_else(|| panic!("it is read: {text}")).message
    }

    #[test]
    fn lines_become_commands() {
        let text = "\u{feff}code,unit, name ,conversions,active\r\nY-5,C62,\"Yoghurt, 500 g\",KGM=0.5; LTR=0.48,yes\r\nM-1,LTR,Milk,,no\r\n";
        let lines = read(ImportKind::Products, text).ok().unwrap();
        assert_eq!(
            lines.iter().map(|line| (line.number, line.code.as_str())).collect::<Vec<_>>(),
            [(2, "Y-5"), (3, "M-1")]
        );
        let Ok(Command::Master(MasterCommand::DefineProduct(first))) = &lines[0].command else { panic!("a product") };
        assert_eq!((first.name.as_str(), first.unit.as_str(), first.active), ("Yoghurt, 500 g", "C62", true));
        assert_eq!(
            first.conversions.iter().map(|one| (one.unit.as_str(), one.factor.as_str())).collect::<Vec<_>>(),
            [("KGM", "0.5"), ("LTR", "0.48")]
        );
        let Ok(Command::Master(MasterCommand::DefineProduct(second))) = &lines[1].command else { panic!("a product") };
        assert!(!second.active && second.conversions.is_empty() && second.gtin.is_none());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_and_the_others_go_on() {
        let text = "code,lot_type,product,quantity,unit,expires_on\nA,raw,milk,1,LTR,2026-12-24\nB,raw,milk,1,LTR,24.12.2026\nC,milk,milk,1,LTR,\nD,raw,milk\n";
        let lines = read(ImportKind::OpeningStock, text).ok().unwrap();
        let told: Vec<_> = lines
            .iter()
            .map(|line| line.command.as_ref().map_err(|error| error.field.clone().unwrap()).err())
            .collect();
        assert_eq!(told, [None, Some("expires_on".to_owned()), Some("lot_type".to_owned()), Some("csv".to_owned())]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        use ImportKind::{OpeningStock, Partners, Products};
        assert_eq!(
            wrong(Partners, "code,name,phone\nA,B,C\n"),
            "column 'phone' is not known; there are code, name, gln, supplies, buys, active"
        );
        assert!(wrong(Partners, "code\nA\n").starts_with("column 'name' is missing;"));
        assert!(wrong(Partners, "code,name,name\nA,B,C\n").starts_with("column 'name' stands twice;"));
        assert_eq!(wrong(Products, "code,name,unit\n"), "the file has no line below the names of its columns");
        assert!(wrong(Products, "").starts_with("column 'code' is missing"));
        let twice = "code,name,unit\nA,x,KGM\nB,x,KGM\nA,y,KGM\n";
        assert_eq!(wrong(Products, twice), "code 'A' stands in line 2 and again in line 4");
        let header = "code,lot_type,product,quantity,unit\n".to_owned();
        let line = |number: usize| format!("L-{number},raw,milk,1,LTR\n");
        let lines = |count: usize| (0..count).map(line).collect::<Vec<_>>().concat();
        assert_eq!(read(OpeningStock, &(header.clone() + &lines(2_000))).ok().unwrap().len(), 2_000);
        assert_eq!(wrong(OpeningStock, &(header + &lines(2_001))), "the file has more than 2000 lines; divide it");
    }
}
