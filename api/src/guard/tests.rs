//! Documents at and beyond each limit.

use async_graphql::Request;

use super::*;

fn code(document: &str, limits: &Limits) -> Option<String> {
    let error = admit(&mut Request::new(document), limits).err()?;
    error.extensions.and_then(|extensions| match extensions.get("code") {
        Some(async_graphql::Value::String(code)) => Some(code.clone()),
        _ => None,
    })
}

fn refused(document: &str) -> String {
    code(document, &Limits::default()).expect("the document is refused")
}

#[test]
fn ordinary_documents_pass() {
    for document in [
        "{ a }",
        "query Q($a: Int = 1) { x(first: $a, filter: {a: [1, 2], b: \"}}}{{{ a: b\"}) { y: z } }",
        "{ a(text: \"\"\" { { \\\"\"\" : : \"\"\") } # { { {",
        "{ ...F } fragment F on Query { a { ...G } } fragment G on Query { b }",
    ] {
        assert_eq!(code(document, &Limits::default()), None, "{document}");
    }
}

#[test]
fn a_million_aliases_are_refused_at_the_limit() {
    let many = (0..1_000_000).map(|i| format!("a{i}:x ")).collect::<Vec<_>>().concat();
    let limits = Limits { document_bytes: usize::MAX, document_tokens: usize::MAX, ..Limits::default() };
    assert_eq!(code(&format!("{{{many}}}"), &limits).as_deref(), Some("TOO_MANY_ALIASES"));
    let exactly = (0..limits.aliases).map(|i| format!("a{i}:x ")).collect::<Vec<_>>().concat();
    assert_eq!(code(&format!("{{{exactly}}}"), &limits), None);
}

#[test]
fn each_count_has_its_error() {
    let limits = Limits::default();
    assert_eq!(refused(&"a ".repeat(limits.document_bytes)), "DOCUMENT_TOO_LARGE");
    assert_eq!(refused(&format!("{{{}}}", "a ".repeat(limits.document_tokens))), "TOO_MANY_TOKENS");
    assert_eq!(refused(&format!("{{a {}}}", "@x ".repeat(limits.directives + 1))), "TOO_MANY_DIRECTIVES");
    assert_eq!(refused(&format!("{{{}}}", "a ".repeat(limits.selections + 1))), "TOO_MANY_FIELDS");
    assert_eq!(refused("{"), "GRAPHQL_PARSE_FAILED");
    assert_eq!(refused(""), "GRAPHQL_PARSE_FAILED");
}

#[test]
fn nesting_never_reaches_the_parser() {
    for (open, close) in [("{a", "}"), ("{a(x:[", "])}"), ("{a(x:{y:", "})}"), ("[", "]"), ("(", ")")] {
        let deep = format!("{}{}", open.repeat(20_000), close.repeat(20_000));
        let limits = Limits { document_bytes: usize::MAX, document_tokens: usize::MAX, ..Limits::default() };
        assert_eq!(code(&deep, &limits).as_deref(), Some("NESTED_TOO_DEEP"), "{open}");
    }
    assert_eq!(refused(&format!("{}{}", "{a".repeat(13), "}".repeat(13))), "NESTED_TOO_DEEP");
    assert_eq!(code(&format!("{}{}", "{a".repeat(12), "}".repeat(12)), &Limits::default()), None);
}

#[test]
fn fragments_neither_cycle_nor_multiply() {
    assert_eq!(refused("{...A} fragment A on Query {...B} fragment B on Query {...A}"), "FRAGMENT_CYCLE");
    assert_eq!(refused("{a} fragment A on Query {...A ...A}"), "FRAGMENT_CYCLE");
    let doubling =
        (0..30).map(|i| format!("fragment F{i} on Query {{...F{0} ...F{0}}}", i + 1)).collect::<Vec<_>>().concat();
    assert_eq!(refused(&format!("{{...F0}} {doubling} fragment F30 on Query {{a}}")), "TOO_MANY_FIELDS");
    let chain = (0..1_500).map(|i| format!("fragment F{i} on Query {{...F{}}}", i + 1)).collect::<Vec<_>>().concat();
    assert_eq!(refused(&format!("{{...F0}} {chain} fragment F1500 on Query {{a}}")), "NESTED_TOO_DEEP");
}

#[test]
fn introspection_passes_unless_it_multiplies() {
    let of_type = "ofType{".repeat(9) + "name" + &"}".repeat(9);
    let tool = format!("{{__schema{{types{{fields{{args{{type{{{of_type}}}}}}}}}}}}}");
    assert_eq!(code(&tool, &Limits::default()), None);
    let cube = "{__schema{types{fields{type{fields{type{fields{name}}}}}}}}";
    assert_eq!(refused(cube), "INTROSPECTION_TOO_DEEP");
}

#[test]
fn page_costs_do_not_overflow() {
    let mut cost = 1;
    for _ in 0..64 {
        cost = cost::page(i32::MAX, cost);
    }
    assert_eq!(cost, 1 << 40);
    assert_eq!(cost::page(-5, 3), 4);
    assert_eq!(cost::list(0), 11);
}
