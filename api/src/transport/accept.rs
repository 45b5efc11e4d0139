//! Content negotiation of "GraphQL over HTTP" (GraphQL Foundation working draft, sections 6.2 to 6.4) and RFC 9110 section 12.5.1.

use axum::http::{HeaderMap, StatusCode, header};

use super::problem::Problem;

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `application/graphql-response+json`: the status tells a request error.
    GraphqlResponse,
    /// `application/json`: 200 for whatever was a GraphQL request.
    Json,
    /// `text/event-stream`: results as they come.
    EventStream,
}

impl Answer {
    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::EventStream => "text/event-stream",
        }
    }

    /// Picks the answer that the client likes best.
    ///
    /// # Errors
    /// 406 when none of the three is acceptable.
    pub fn negotiate(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut given = headers.get_all(header::ACCEPT).iter().peekable();
        if given.peek().is_none() {
            return Ok(Self::Json);
        }
        let mut best: Option<(u16, Self)> = None;
        for range in given.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
            let Some((answer, quality)) = media_range(range) else { continue };
            if quality > 0 && best.is_none_or(|(most, _)| quality > most) {
                best = Some((quality, answer));
            }
        }
        best.map(|(_, answer)| answer).ok_or_else(|| {
            let message = "accept one of application/graphql-response+json, application/json, text/event-stream";
            Problem::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message)
        })
    }
}

/// What a media range asks for and its quality in thousandths; nothing when this server does not write it.
fn media_range(range: &str) -> Option<(Answer, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let answer = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/graphql-response+json" => Answer::GraphqlResponse,
        "application/json" | "application/*" | "*/*" => Answer::Json,
        "text/event-stream" => Answer::EventStream,
        _ => return None,
    };
    let mut quality = 1_000;
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        if name.trim().eq_ignore_ascii_case("q") {
            let given: f32 = value.trim().parse().ok()?;
            quality = (given.clamp(0.0, 1.0) * 1_000.0) as u16;
        } else if name.trim().eq_ignore_ascii_case("charset")
            && !value.trim_matches([' ', '"']).eq_ignore_ascii_case("utf-8")
        {
            return None;
        }
    }
    Some((answer, quality))
}

/// Checks that a body is JSON in UTF-8. Anything a browser sends without asking first is refused, which is what keeps other
/// sites from posting in a user's name.
///
/// # Errors
/// 415.
pub fn json_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |message: String| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message);
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(refuse("send a Content-Type of application/json".to_owned()));
    };
    let text = value.to_str().unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let shown: String = media_type.chars().take(64).collect();
        return Err(refuse(format!("the Content-Type '{shown}' is not accepted; send application/json")));
    }
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        if name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8") {
            return Err(refuse("send the body in UTF-8".to_owned()));
        }
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(refuse("send the body without Content-Encoding".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accept: &'static str) -> Option<Answer> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        Answer::negotiate(&headers).ok()
    }

    #[test]
    fn the_best_acceptable_type_wins() {
        assert_eq!(Answer::negotiate(&HeaderMap::new()), Ok(Answer::Json));
        for (accept, expected) in [
            ("*/*", Some(Answer::Json)),
            ("application/*", Some(Answer::Json)),
            ("application/json; charset=utf-8", Some(Answer::Json)),
            ("application/graphql-response+json, application/json;q=0.9", Some(Answer::GraphqlResponse)),
            ("application/graphql-response+json;q=0.1, application/json", Some(Answer::Json)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(Answer::Json)),
            ("TEXT/EVENT-STREAM", Some(Answer::EventStream)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;charset=latin1", None),
            ("", None),
        ] {
            assert_eq!(negotiate(accept), expected, "{accept}");
        }
    }
}
