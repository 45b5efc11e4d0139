//! What a request must be before anybody looks at its path: one host, said once, and an end that nobody can read in two ways.
//!
//! Two programs that read one request differently, such as a proxy and this server, can be made to take part of it for another one. So whatever
//! RFC 9112 lets a server guess about the host is refused here (section 3.2). What is malformed hyper has refused already, and it closes a
//! connection on which both, Content-Length and Transfer-Encoding, have come (section 6.1). Afterwards each request has its host in `Host` and a path in its target, whether it came by HTTP/1.1 or by h2, where it is `:authority`.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::uri::{Authority, PathAndQuery, Uri};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tower::Service;

use crate::transport::problem::Problem;

/// Hands a request on, or says what is wrong with it.
pub(super) async fn answer(
    mut router: Router,
    request: Request<Incoming>,
    address: SocketAddr,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    if let Err(problem) = normalise(&mut request) {
        metrics::counter!("lotline_http_connections_cut_off_total", "reason" => "ambiguous").increment(1);
        let closing = [(header::CONNECTION, HeaderValue::from_static("close"))];
        return Ok((closing, problem).into_response());
    }
    request.extensions_mut().insert(ConnectInfo(address));
    router.call(request).await
}

fn normalise<B>(request: &mut Request<B>) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        return Err(ambiguous("this server is no proxy"));
    }
    let hosts = given(request.headers())?;
    let target = request.uri().authority().map(Authority::as_str);
    let host = match (hosts, target) {
        (Some(host), Some(target)) if !host.eq_ignore_ascii_case(target) => {
            return Err(ambiguous("Host and the request's target name two hosts"));
        }
        (None, None) if request.version() == Version::HTTP_11 => return Err(ambiguous("the Host header is missing")),
        (host, target) => host.or(target),
    };
    if let Some(host) = host {
        let fine = Authority::try_from(host).is_ok_and(|authority| !authority.as_str().contains('@'));
        let value = HeaderValue::from_str(host).ok().filter(|_| fine).ok_or_else(|| ambiguous("Host names no host"))?;
        request.headers_mut().entry(header::HOST).or_insert(value);
    }
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    Ok(())
}

/// The host of the header, if there is one header.
fn given(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(ambiguous("there is more than one Host header"));
    }
    host.map(|host| host.to_str().map_err(|_| ambiguous("Host names no host"))).transpose()
}

fn ambiguous(message: &'static str) -> Problem {
    Problem::bad_request("AMBIGUOUS_REQUEST", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(uri: &str, version: Version, hosts: &[&str]) -> Result<(String, String), String> {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let mut request = request.body(()).unwrap();
        normalise(&mut request).map_err(|problem| problem.message)?;
        let host = request.headers().get(header::HOST).map_or("", |host| host.to_str().unwrap());
        Ok((request.uri().to_string(), host.to_owned()))
    }

    #[test]
    fn every_request_has_one_host_and_a_path() {
        let fine = |path: &str, host: &str| Ok((path.to_owned(), host.to_owned()));
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(normal("/a?b=c", one, &["h:80"]), fine("/a?b=c", "h:80"));
        assert_eq!(normal("http://h:80/a", one, &["H:80"]), fine("/a", "H:80"));
        assert_eq!(normal("https://h/a?b", two, &[]), fine("/a?b", "h"));
        assert_eq!(normal("https://h", two, &["h"]), fine("/", "h"));
        assert_eq!(normal("/a", Version::HTTP_10, &[]), fine("/a", ""));
        for (uri, version, hosts) in [
            ("/a", one, &[][..]),
            ("/a", one, &["h", "h"]),
            ("/a", one, &["h", "evil"]),
            ("http://evil/a", one, &["h"]),
            ("https://evil/a", two, &["h"]),
            ("/a", one, &["user@h"]),
            ("/a", one, &["h/x"]),
            ("/a", one, &[""]),
        ] {
            assert!(normal(uri, version, hosts).is_err(), "{uri} {hosts:?}");
        }
    }
}
