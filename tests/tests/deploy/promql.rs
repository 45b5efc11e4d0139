//! Just enough of PromQL to see what a query names: metrics, the labels it matches, and those it groups by. promtool judges the rest.

use std::collections::BTreeSet;

/// Functions, operators and words of the grammar that our queries use. One that is missing here is added when a query needs it.
const WORDS: [&str; 23] = [
    "abs",
    "and",
    "bool",
    "changes",
    "count",
    "deriv",
    "histogram_quantile",
    "ignoring",
    "increase",
    "inf",
    "max",
    "min",
    "or",
    "rate",
    "sum",
    "time",
    "topk",
    "unless",
    "vector",
    "group_left",
    "group_right",
    "offset",
    "clamp_min",
];

/// What a query names.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// Each metric with the labels that are matched in its braces.
    pub(crate) metrics: Vec<(String, Vec<String>)>,
    /// Labels in `by (…)`, `on (…)` and the like.
    pub(crate) grouped: Vec<String>,
    /// Labels of the result, when an outermost `by (…)` says so.
    pub(crate) kept: Option<BTreeSet<String>>,
    /// Labels that `without (…)` takes away.
    pub(crate) dropped: BTreeSet<String>,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// A word that is neither a metric of ours nor one of the language that is known here.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first.is_ascii_alphabetic() || first == '_' {
                let end =
                    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                rest = query.word(word, after)?;
            } else if first == '[' {
                rest = &rest[rest.find(']').map_or(rest.len(), |end| end + 1)..];
            } else if first.is_ascii_digit() {
                // A number with its unit, such as 5m.
                rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            } else {
                rest = &rest[first.len_utf8()..];
            }
        }
        Ok(query)
    }

    fn word<'a>(&mut self, word: &str, after: &'a str) -> Result<&'a str, String> {
        match word {
            "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" => {
                let (inside, rest) = inside(after, '(', ')').unwrap_or(("", after));
                let labels: Vec<String> = inside.split(',').map(|label| label.trim().to_owned()).collect();
                let labels = labels.into_iter().filter(|label| !label.is_empty());
                match word {
                    "without" => self.dropped.extend(labels),
                    "by" => {
                        let labels: Vec<String> = labels.collect();
                        self.kept.get_or_insert_default().extend(labels.iter().cloned());
                        self.grouped.extend(labels);
                    }
                    _ => self.grouped.extend(labels),
                }
                Ok(rest)
            }
            "up" => Ok(self.metric(word, after)),
            _ if word.starts_with("lotline_") || word.starts_with("process_") => Ok(self.metric(word, after)),
            _ if WORDS.contains(&word) => Ok(after),
            _ => Err(format!("'{word}' is no metric, and no word of the language that is known here")),
        }
    }

    fn metric<'a>(&mut self, name: &str, after: &'a str) -> &'a str {
        let (matchers, rest) = inside(after, '{', '}').unwrap_or(("", after));
        let mut labels = Vec::new();
        // Values are quoted: every second part is outside of the quotes.
        for part in matchers.split('"').step_by(2) {
            let label = part.trim_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            labels.extend((!label.is_empty()).then(|| label.to_owned()));
        }
        self.metrics.push((name.to_owned(), labels));
        rest
    }
}

/// The text between a bracket that opens here and the one that closes it, and what follows. Quoted values may hold brackets.
fn inside(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix(open)?;
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            _ if c == close && !quoted => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

#[test]
fn a_query_is_taken_apart() {
    let text = "sum by (route, le) (rate(lotline_a_bucket{status=~\"5..|}\", job=\"$job\"}[$__rate_interval])) > 0.01 * 5m\n and on (pod) lotline_b";
    let query = Query::read(text).unwrap();
    let labels = |given: &[&str]| given.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
    let expected = [("lotline_a_bucket".to_owned(), labels(&["status", "job"])), ("lotline_b".to_owned(), Vec::new())];
    assert_eq!(query.metrics, expected);
    assert_eq!(query.grouped, labels(&["route", "le", "pod"]));
    assert_eq!(query.kept, Some(["le", "route"].map(str::to_owned).into()));
    let query = Query::read("max without (instance) (lotline_a)").unwrap();
    assert!(query.dropped.contains("instance") && query.kept.is_none());
}
