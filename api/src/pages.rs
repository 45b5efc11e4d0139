//! What browsers are told: which pages of other sites may use the API, and what no page of this server may do.
//!
//! Origins are listed one by one and none is by default. A listed one may send credentials; a cookie reaches it only from the same site, since
//! cookies are `SameSite=Strict`, and needs `x-csrf-token` as everywhere. Whoever is not listed is refused before this, with `FOREIGN_ORIGIN`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::auth::cookie::CSRF;
use crate::auth::door::API_KEY;
use crate::rate;
use crate::transport::caller::{CORRELATION_ID, MODE, TRACE};

/// How long a browser may remember what it was told, in seconds.
const REMEMBER: Duration = Duration::from_mins(10);
/// RFC 6797: a year of https only.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// For answers that are no pages: nothing may be loaded by them, nobody may frame them.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'");

/// Answers pages of the listed origins.
pub(crate) fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let asked = [header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT, API_KEY, CSRF, CORRELATION_ID];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(asked.into_iter().chain([HeaderName::from_static("traceparent")]).collect::<Vec<_>>())
        .expose_headers([rate::POLICY, rate::LEFT, header::RETRY_AFTER, CORRELATION_ID, MODE, TRACE])
        .max_age(REMEMBER)
}

/// Puts into an answer what guards whoever shows it. A page that brings a policy of its own keeps it.
pub(crate) fn protect(headers: &mut HeaderMap, https: bool) {
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NO_PAGE);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
}
