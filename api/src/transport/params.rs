//! The four parameters of a GraphQL request, from a JSON body or a query string, with an error that names the one at fault.

use std::collections::HashMap;

use async_graphql::{Request, Variables};
use axum::extract::Query;
use axum::http::Uri;
use serde::Deserialize;
use serde_json::Value;

use super::problem::Problem;

/// In `extensions`: that the sender has proved again who they are.
pub const PROOF: &str = "proof";

/// `{"query", "operationName", "variables", "extensions"}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    query: String,
    operation_name: Option<String>,
    #[serde(default)]
    variables: Variables,
    extensions: Option<Extensions>,
}

/// What others may send beside [`PROOF`] is not for this server.
#[derive(Debug, Deserialize)]
struct Extensions {
    proof: Option<String>,
}

/// Reads a JSON body.
///
/// # Errors
/// 400: not UTF-8, not JSON, a batch, or a parameter of the wrong type.
pub fn from_body(body: &[u8]) -> Result<Request, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let message = format!("the body is not valid UTF-8 at byte {}", error.valid_up_to());
        Problem::bad_request("INVALID_UTF8", message)
    })?;
    if text.trim_ascii().is_empty() {
        return Err(Problem::bad_request("EMPTY_BODY", "the body is empty; send {\"query\": \"…\"}"));
    }
    match serde_json::from_str::<Params>(text) {
        Ok(params) => Ok(params.into_request()),
        Err(first) => Err(explain(serde_json::from_str(text), &first)),
    }
}

/// Reads parameters that are JSON already, such as the payload of a `subscribe` message.
///
/// # Errors
/// A parameter of the wrong type.
pub fn from_value(value: Value) -> Result<Request, Problem> {
    Params::deserialize(&value).map(Params::into_request).map_err(|error| explain(Ok(value), &error))
}

/// Reads a query string. `variables` and `extensions` are JSON texts.
///
/// # Errors
/// 400.
pub fn from_uri(uri: &Uri) -> Result<Request, Problem> {
    let Query(mut given) = Query::<HashMap<String, String>>::try_from_uri(uri)
        .map_err(|_| Problem::bad_request("INVALID_QUERY_STRING", "the query string can't be read"))?;
    let mut object = serde_json::Map::new();
    for name in ["query", "operationName"] {
        if let Some(text) = given.remove(name) {
            object.insert(name.to_owned(), Value::String(text));
        }
    }
    for name in ["variables", "extensions"] {
        let Some(text) = given.remove(name).filter(|text| !text.is_empty()) else { continue };
        let value = serde_json::from_str(&text)
            .map_err(|error| Problem::bad_request("INVALID_JSON", format!("'{name}' is not JSON: {error}")))?;
        object.insert(name.to_owned(), value);
    }
    from_value(Value::Object(object))
}

impl Params {
    fn into_request(self) -> Request {
        let mut request = Request::new(self.query).variables(self.variables);
        request.operation_name = self.operation_name.filter(|name| !name.is_empty());
        let proof = self.extensions.and_then(|given| given.proof);
        request.extensions.extend(proof.map(|proof| (PROOF.to_owned(), proof.into())));
        request
    }
}

/// Finds out what is wrong with parameters that could not be read.
fn explain(parsed: Result<Value, serde_json::Error>, error: &serde_json::Error) -> Problem {
    let object = match parsed {
        Err(error) => return Problem::bad_request("INVALID_JSON", format!("the body is not JSON: {error}")),
        Ok(Value::Array(_)) => {
            return Problem::bad_request(
                "BATCHING_NOT_SUPPORTED",
                "batches are not accepted; send one operation a request",
            );
        }
        Ok(Value::Object(object)) => object,
        Ok(_) => return Problem::bad_request("INVALID_PARAMETERS", "the body must be a JSON object"),
    };
    let wrong = |name: &str, what: &str| Problem::bad_request("INVALID_PARAMETERS", format!("'{name}' must be {what}"));
    match object.get("query") {
        None | Some(Value::Null) => return Problem::bad_request("MISSING_QUERY", "the parameter 'query' is missing"),
        Some(Value::String(_)) => {}
        Some(_) => return wrong("query", "a string"),
    }
    if !matches!(object.get("operationName"), None | Some(Value::Null | Value::String(_))) {
        return wrong("operationName", "a string");
    }
    for name in ["variables", "extensions"] {
        if !matches!(object.get(name), None | Some(Value::Null | Value::Object(_))) {
            return wrong(name, "an object");
        }
    }
    if !matches!(
        object.get("extensions").and_then(|given| given.get(PROOF)),
        None | Some(Value::Null | Value::String(_))
    ) {
        return wrong("extensions.proof", "a string");
    }
    Problem::bad_request("INVALID_PARAMETERS", format!("the parameters can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_named() {
        let deep = format!("{{\"query\":\"x\",\"variables\":{{\"a\":{}}}}}", "[".repeat(5_000));
        for (body, code) in [
            ("", "EMPTY_BODY"),
            ("{", "INVALID_JSON"),
            ("\"x\"", "INVALID_PARAMETERS"),
            ("[{\"query\":\"{a}\"}]", "BATCHING_NOT_SUPPORTED"),
            ("{}", "MISSING_QUERY"),
            ("{\"query\":null}", "MISSING_QUERY"),
            ("{\"query\":1}", "INVALID_PARAMETERS"),
            ("{\"query\":\"{a}\",\"operationName\":{}}", "INVALID_PARAMETERS"),
            ("{\"query\":\"{a}\",\"variables\":[1]}", "INVALID_PARAMETERS"),
            ("{\"query\":\"{a}\",\"extensions\":7}", "INVALID_PARAMETERS"),
            ("{\"query\":\"{a}\",\"extensions\":{\"proof\":{}}}", "INVALID_PARAMETERS"),
            ("{\"query\":\"{a}\",\"query\":\"{b}\"}", "INVALID_PARAMETERS"),
            (&deep, "INVALID_JSON"),
        ] {
            let problem = from_body(body.as_bytes()).expect_err(body);
            assert_eq!(problem.code, code, "{}", problem.message);
        }
        assert_eq!(from_body(b"{\"query\":\"\xff\"}").unwrap_err().code, "INVALID_UTF8");
    }

    #[test]
    fn nulls_and_query_strings_are_read() {
        let request =
            from_body(b"{\"query\":\"{a}\",\"operationName\":null,\"variables\":null,\"extensions\":null}").unwrap();
        assert_eq!((request.query.as_str(), request.operation_name), ("{a}", None));
        let uri: Uri = "/graphql?query=%7Ba%7D&variables=%7B%22x%22%3A1%7D&operationName=".parse().unwrap();
        let request = from_uri(&uri).unwrap();
        assert_eq!((request.query.as_str(), request.variables.len(), request.operation_name), ("{a}", 1, None));
        assert_eq!(from_uri(&"/graphql?query=a&variables=x".parse().unwrap()).unwrap_err().code, "INVALID_JSON");
        assert_eq!(from_uri(&"/graphql".parse().unwrap()).unwrap_err().code, "MISSING_QUERY");
    }
}
