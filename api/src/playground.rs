//! A page to try GraphQL in a browser, served from this binary alone: no scripts, styles or fonts from other hosts.

use axum::http::header;
use axum::response::{Html, IntoResponse, Redirect, Response};

const PAGE: &str = include_str!("playground.html");

/// `/graphiql`.
pub(crate) async fn page() -> Response {
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, "no-cache")];
    (headers, Html(PAGE)).into_response()
}

/// `/`.
pub(crate) async fn redirect() -> Redirect {
    Redirect::temporary("/graphiql")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_no_other_host() {
        for foreign in ["http://", "https://", "//cdn", "@import", "src="] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }
}
