//! A page to try GraphQL in a browser, served from this binary alone: no scripts, styles or fonts from other hosts.
//!
//! Behind an enforced door one signs in on it by a password, or by the provider of single sign-on, and has cookies; `playground/door.mjs` is what it
//! has to know for that. Its scripts are files of their own, so that the policy needs no exception for what stands in the page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::auth::Door;
use crate::server::Server;

const PAGE: &str = include_str!("playground.html");
const SCRIPT: &str = include_str!("playground/page.mjs");
const DOOR: &str = include_str!("playground/door.mjs");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/graphiql`: how callers are identified here stands in it.
pub(crate) async fn page(State(server): State<Arc<Server>>) -> Response {
    let door = &server.state.door;
    let signs_on = matches!(door, Door::Guarded(guard) if guard.desk.is_some());
    let page = PAGE.replace("$MODE", door.mode().as_str()).replace("$SIGN_ON", &signs_on.to_string());
    let headers = [(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-cache")];
    (headers, Html(page)).into_response()
}

/// `/graphiql/page.mjs`.
pub(crate) async fn script() -> Response {
    module(SCRIPT)
}

/// `/graphiql/door.mjs`.
pub(crate) async fn door() -> Response {
    module(DOOR)
}

/// `/`.
pub(crate) async fn redirect() -> Redirect {
    Redirect::temporary("/graphiql")
}

fn module(text: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_its_scripts_name_no_other_host() {
        for text in [PAGE, SCRIPT, DOOR] {
            for foreign in ["http://", "https://", "//cdn", "@import", "eval("] {
                assert!(!text.contains(foreign), "{foreign}");
            }
        }
        let sources: Vec<&str> = PAGE.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(sources, ["/graphiql/page.mjs"], "and no script stands in the page");
        assert_eq!(PAGE.matches("<script").count(), 2, "the other one holds the examples, which are data");
    }
}
