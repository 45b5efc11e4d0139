//! Element strings as they stand on real labels, and any others.

use proptest::prelude::*;

use super::*;

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 21).unwrap()
}

#[track_caller]
fn read(text: &str) -> Vec<(String, String)> {
    let scan = Scan::parse(text).unwrap_or_else(|problem| panic!("{text:?}: {problem}"));
    scan.elements().iter().map(|element| (element.ai().to_owned(), element.value().to_owned())).collect()
}

#[track_caller]
fn refused(text: &str, message: &str) {
    assert_eq!(Scan::parse(text).unwrap_err().to_string(), message, "{text:?}");
}

#[test]
fn every_form_of_a_label_says_the_same() {
    let expected = [("01", "09506000134352"), ("10", "AB-1/2"), ("17", "261224"), ("3103", "012500")];
    let expected: Vec<_> = expected.map(|(ai, value)| (ai.to_owned(), value.to_owned())).into();
    for text in [
        "010950600013435210AB-1/2\u{1d}17261224\u{1d}3103012500",
        "]C1010950600013435210AB-1/2\u{1d}172612243103012500",
        "]d2\u{1d}010950600013435210AB-1/2\u{1d}172612243103012500",
        "]Q3010950600013435210AB-1/2\u{1d}172612243103012500\r\n",
        "(01)09506000134352(10)AB-1/2(17)261224(3103)012500",
        "https://id.gs1.org/01/09506000134352/10/AB-1%2F2?17=261224&3103=012500&linkType=all#top",
        "HTTPS://shop.example/01/goods/01/9506000134352/10/AB-1%2f2?17=261224;3103=012500",
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

#[test]
fn a_pallet_says_what_is_on_it() {
    let scan = Scan::parse("]C1003401234500000000170204012345678901\u{1d}37120\u{1d}10L7\u{1d}4149506000140445400PO-9")
        .unwrap();
    assert_eq!(
        (scan.sscc(), scan.gtin(), scan.batch()),
        (Some("340123450000000017"), Some("04012345678901"), Some("L7"))
    );
    assert_eq!(scan.to_string(), "(00)340123450000000017(02)04012345678901(37)120(10)L7(414)9506000140445(400)PO-9");
    assert_eq!(scan.get("37").unwrap().title(), "COUNT");
}

#[test]
fn dates_have_the_nearest_century_and_day_00_is_the_last_of_its_month() {
    let date = |value: &str, year: i32| {
        let scan = Scan::parse(&format!("17{value}")).unwrap();
        let date = scan.elements()[0].date(NaiveDate::from_ymd_opt(year, 6, 1).unwrap());
        date.map(|date| date.to_string())
    };
    assert_eq!(date("261224", 2026).as_deref(), Some("2026-12-24"));
    assert_eq!(date("280200", 2026).as_deref(), Some("2028-02-29"));
    assert_eq!(date("270200", 2026).as_deref(), Some("2027-02-28"));
    assert_eq!(date("261200", 2026).as_deref(), Some("2026-12-31"));
    assert_eq!(date("760101", 2026).as_deref(), Some("2076-01-01"));
    assert_eq!(date("770101", 2026).as_deref(), Some("1977-01-01"));
    assert_eq!(date("000101", 2051).as_deref(), Some("2100-01-01"));
    assert_eq!(date("000229", 2095), None, "2100 is no leap year");
    refused("17261301", "AI 17 at 2: 261301 is no date YYMMDD");
    refused("17260431", "AI 17 at 2: 260431 is no date YYMMDD");
    refused("17270229", "AI 17 at 2: 270229 is no date YYMMDD");
}

#[test]
fn measures_have_their_point_where_the_identifier_says() {
    for (text, value) in [("3103012500", "12.5"), ("3100000012", "12"), ("3156000001", "0.000001"), ("3202000100", "1")]
    {
        assert_eq!(Scan::parse(text).unwrap().elements()[0].measure().unwrap().to_string(), value, "{text}");
    }
    assert_eq!(Scan::parse("10AB").unwrap().elements()[0].measure(), None);
    refused("3107000001", "'3107' at 0 is no known application identifier");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    refused("", "there is nothing to read");
    refused("]C1\u{1d}", "there is nothing to read");
    refused("0109506000134353", "AI 01 at 2: the check digit of 09506000134353 should be 2");
    refused("]C10109506000134353", "AI 01 at 5: the check digit of 09506000134353 should be 2");
    refused("01095060001343", "AI 01 at 2 needs 14 characters, 12 follow");
    refused("0109506000134352\u{1d}99X", "'99X' at 17 is no known application identifier");
    refused(
        "10ABCDEFGHIJKLMNOPQRSTU",
        "AI 10 at 2 takes at most 20 characters, 21 follow; is an FNC1 missing after it?",
    );
    refused("10\u{1d}17261224", "AI 10 at 2 needs 1 characters, 0 follow");
    refused(
        "10A#B",
        "AI 10: '#' at 3 is not allowed; it takes letters, digits and ! \" % & ' ( ) * + , - . / : ; < = > ? _",
    );
    refused(
        "10Aé",
        "AI 10: 'é' at 3 is not allowed; it takes letters, digits and ! \" % & ' ( ) * + , - . / : ; < = > ? _",
    );
    refused("1726122x", "AI 17: 'x' at 7 is not allowed; it takes digits");
    refused(
        "(01)09506000134352x(10)A",
        "AI 01 at 4 takes at most 14 characters, 15 follow; is an FNC1 missing after it?",
    );
    refused("(01)0950600013435(10)A", "AI 01: '(' at 17 is not allowed; it takes digits");
    refused("10A\u{1d}10B", "AI 10 stands twice, the second time at 6, with another value");
    assert_eq!(read("10A\u{1d}10A").len(), 1, "twice the same is once");
    refused("https://example.org/lots/7", "the address has no GS1 key such as /01/ or /00/ in its path");
    refused("https://id.gs1.org/01/09506000134352/10/A%2", "the address has a wrong percent-encoding at 41");
    refused("https://id.gs1.org/01/09506000134352?17=99", "AI 17 at 40 needs 6 characters, 2 follow");
    refused(&"9".repeat(5_000), "5000 characters are more than any symbol has");
}

/// A value that an identifier takes.
fn value(ai: &'static str) -> BoxedStrategy<String> {
    let text = |most: usize| {
        let set = "[A-Za-z0-9!\"%&'()*+,./:;<=>?_-]";
        proptest::string::string_regex(&format!("{set}{{1,{most}}}")).unwrap().boxed()
    };
    let keyed = |digits: usize| {
        let others = proptest::collection::vec(0_u32..10, digits - 1);
        others
            .prop_map(|mut digits| {
                digits.push(crate::master::gs1::check_digit(&digits));
                digits.iter().map(|digit| char::from_digit(*digit, 10).unwrap()).collect()
            })
            .boxed()
    };
    match ai {
        "00" => keyed(18),
        "01" | "02" => keyed(14),
        "410" | "414" => keyed(13),
        "11" | "15" | "17" => (0..100, 1..13, 0..29).prop_map(|(y, m, d)| format!("{y:02}{m:02}{d:02}")).boxed(),
        "37" => "[0-9]{1,8}".boxed(),
        "10" | "21" => text(20),
        "400" => text(30),
        _ => "[0-9]{6}".boxed(),
    }
}

const AIS: [&str; 14] = ["00", "01", "02", "10", "11", "15", "17", "21", "37", "3103", "3200", "400", "410", "414"];

/// Elements in any order, each identifier at most once.
fn elements() -> impl Strategy<Value = Vec<(String, String)>> {
    let some = proptest::sample::subsequence(AIS.to_vec(), 1..=AIS.len()).prop_shuffle();
    some.prop_flat_map(|ais| {
        let one = |ai: &'static str| value(ai).prop_map(move |value| (ai.to_owned(), value));
        ais.into_iter().map(one).collect::<Vec<_>>()
    })
}

fn shown(elements: &[(String, String)]) -> Option<Scan> {
    // Dates like 000229 are none in every century; what the table takes is what can be written.
    let text: Vec<String> = elements.iter().map(|(ai, value)| format!("{ai}{value}")).collect();
    Scan::parse(&text.join("\u{1d}")).ok()
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(elements in elements()) {
        let scan = shown(&elements).expect("every value follows its rule");
        let found: Vec<_> = scan.elements().iter().map(|one| (one.ai().to_owned(), one.value().to_owned())).collect();
        prop_assert_eq!(&found, &elements);
        prop_assert_eq!(&Scan::parse(&scan.element_string()).unwrap(), &scan);
        for symbology in ["]C1", "]d2", "]Q3\u{1d}"] {
            prop_assert_eq!(&Scan::parse(&format!("{symbology}{}", scan.element_string())).unwrap(), &scan);
        }
        // Under a symbol, a value with an identifier in brackets can't be told from two values.
        if !elements.iter().any(|(_, value)| value.contains('(')) {
            prop_assert_eq!(&Scan::parse(&scan.to_string()).unwrap(), &scan);
        }
        if let Some(link) = scan.digital_link("https://id.gs1.org/") {
            let mut there: Vec<_> = Scan::parse(&link).unwrap().elements().to_vec();
            let mut all = scan.elements().to_vec();
            there.sort_by(|one, other| one.ai().cmp(other.ai()));
            all.sort_by(|one, other| one.ai().cmp(other.ai()));
            prop_assert_eq!(there, all);
        }
    }

    #[test]
    fn nothing_makes_it_panic(text in any::<String>(), tail in "[0-9()\u{1d}%/?&=A-Z]{0,60}", start in 0..8_usize) {
        let start = ["", "]C1", "]d2", "(01)", "https://id.gs1.org/01/", "01", "10", "https://a/00/"][start];
        for given in [text.clone(), format!("{start}{text}"), format!("{start}{tail}")] {
            if let Ok(scan) = Scan::parse(&given) {
                prop_assert_eq!(&Scan::parse(&scan.element_string()).unwrap(), &scan);
                for element in scan.elements() {
                    let _ = (element.date(today()), element.measure());
                }
            }
        }
    }
}
