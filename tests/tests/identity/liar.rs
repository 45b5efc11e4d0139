//! Providers that lie: a real HTTP server that answers as a provider would, but for one thing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lotline_adapters::clock::SystemClock;
use lotline_adapters::sign_on::{EmailClaim, OidcProvider, SignOnOptions};
use lotline_domain::identity::id_token::IdTokenRefusal;
use lotline_domain::identity::sign_on::{Answer, Person, Question, SignOn, SignOnError};
use lotline_domain::port::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const NONCE: &str = "n-1";

/// What it answers by path, and how often it was asked.
#[derive(Default)]
struct Script {
    answers: HashMap<&'static str, Reply>,
    asked: HashMap<String, u32>,
}

#[derive(Clone)]
enum Reply {
    Json(Value),
    Redirect(String),
    Endless,
    Silence,
}

struct Liar {
    issuer: String,
    script: Arc<Mutex<Script>>,
    key: EcdsaKeyPair,
}

impl Liar {
    /// One that says the truth, so far.
    async fn new() -> Self {
        let script: Arc<Mutex<Script>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let liar = Self { issuer, script, key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() };
        liar.says("/.well-known/openid-configuration", Reply::Json(liar.document()));
        liar.says("/jwks", Reply::Json(json!({ "keys": [liar.jwk("k-1")] })));
        liar.token(&json!({ "alg": "ES256", "kid": "k-1" }), &liar.claims());
        liar
    }

    fn says(&self, path: &'static str, reply: Reply) {
        self.script.lock().unwrap().answers.insert(path, reply);
    }

    fn asked(&self, path: &str) -> u32 {
        self.script.lock().unwrap().asked.get(path).copied().unwrap_or_default()
    }

    fn document(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({ "issuer": self.issuer, "authorization_endpoint": at("/auth"), "token_endpoint": at("/token"), "jwks_uri": at("/jwks"),
            "userinfo_endpoint": at("/me") })
    }

    fn with(&self, name: &str, value: &Value) {
        let mut document = self.document();
        document[name] = value.clone();
        self.says("/.well-known/openid-configuration", Reply::Json(document));
    }

    fn jwk(&self, kid: &str) -> Value {
        let point = self.key.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": part(&point[1..33]), "y": part(&point[33..]) })
    }

    fn claims(&self) -> Value {
        let now = SystemClock.now().millis() / 1_000;
        json!({ "iss": self.issuer, "sub": "s-1", "aud": "lotline", "iat": now, "exp": now + 300, "nonce": NONCE,
            "email": "ann@dairy.example", "email_verified": true })
    }

    /// Has the token endpoint give a token that is really signed.
    fn token(&self, header: &Value, claims: &Value) {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
        self.says("/token", Reply::Json(json!({ "id_token": token, "access_token": "a", "token_type": "Bearer" })));
    }

    fn client(&self) -> OidcProvider {
        self.client_that_reads(EmailClaim::Verified)
    }

    fn client_that_reads(&self, email_claim: EmailClaim) -> OidcProvider {
        let options = SignOnOptions {
            issuer: self.issuer.clone(),
            client_id: "lotline".into(),
            client_secret: None,
            scopes: vec!["openid".into()],
            email_claim,
            groups_claim: None,
            allow_http: true,
        };
        OidcProvider::new(options, Arc::new(SystemClock)).unwrap()
    }

    async fn redeemed(&self) -> Result<Person, SignOnError> {
        redeemed(&self.client()).await
    }

    async fn complaint(&self) -> String {
        self.redeemed().await.unwrap_err().to_string()
    }
}

async fn redeemed(client: &OidcProvider) -> Result<Person, SignOnError> {
    let redirect_uri = "http://127.0.0.1/back";
    let answer =
        Answer { code: "c", issuer: None, nonce: NONCE, verifier: "v", redirect_uri, authenticated_since: None };
    client.redeem(&answer).await
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let reply = {
        let mut script = script.lock().unwrap();
        *script.asked.entry(request.uri().path().to_owned()).or_default() += 1;
        script.answers.get(request.uri().path()).cloned()
    };
    match reply {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Reply::Json(value)) => axum::Json(value).into_response(),
        Some(Reply::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Some(Reply::Endless) => {
            let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 16_384]));
            Body::from_stream(chunks).into_response()
        }
        Some(Reply::Silence) => std::future::pending().await,
    }
}

#[tokio::test]
async fn who_says_the_truth_is_believed() {
    let liar = Liar::new().await;
    let person = liar.redeemed().await.unwrap();
    assert_eq!((person.subject.subject.as_str(), person.email.as_deref()), ("s-1", Some("ann@dairy.example")));
    let question = Question { state: "s", nonce: NONCE, verifier: "v", redirect_uri: "http://x", again: true };
    let address = liar.client().address(&question).await.unwrap();
    assert!(address.contains("code_challenge_method=S256") && address.contains("max_age=0"), "{address}");
}

#[tokio::test]
async fn tokens_that_lie_are_refused() {
    use IdTokenRefusal::{Algorithm, Audience, Issuer, Nonce, Signature, Times, UnknownKey};
    let liar = Liar::new().await;
    let (good, honest) = (json!({ "alg": "ES256", "kid": "k-1" }), liar.claims());
    let claim = |name: &str, value: Value| {
        let mut claims = honest.clone();
        claims[name] = value;
        claims
    };
    for (header, claims, refusal) in [
        (json!({ "alg": "none" }), honest.clone(), Algorithm),
        (json!({ "alg": "HS256", "kid": "k-1" }), honest.clone(), Algorithm),
        (json!({ "alg": "ES256", "kid": "k-2" }), honest.clone(), UnknownKey),
        (json!({ "alg": "RS256", "kid": "k-1" }), honest.clone(), UnknownKey),
        (good.clone(), claim("nonce", json!("n-2")), Nonce),
        (good.clone(), claim("aud", json!("other")), Audience),
        (good.clone(), claim("iss", json!("http://127.0.0.1:1")), Issuer),
        (good.clone(), claim("exp", json!(1)), Times),
    ] {
        liar.token(&header, &claims);
        let refused = liar.redeemed().await.unwrap_err();
        assert!(matches!(&refused, SignOnError::Token(given) if *given == refusal), "{header} {claims}: {refused}");
    }
    let other = Liar::new().await;
    liar.token(&good, &honest);
    liar.says("/jwks", Reply::Json(json!({ "keys": [other.jwk("k-1")] })));
    let refused = liar.redeemed().await.unwrap_err();
    assert!(matches!(refused, SignOnError::Token(Signature)), "{refused}");
}

#[tokio::test]
async fn unknown_keys_have_the_keys_read_again_a_few_times_and_no_more() {
    let liar = Liar::new().await;
    let client = liar.client();
    redeemed(&client).await.unwrap();
    redeemed(&client).await.unwrap();
    assert_eq!(liar.asked("/jwks"), 1, "what is known is not asked for");
    liar.says("/jwks", Reply::Json(json!({ "keys": [liar.jwk("k-2")] })));
    liar.token(&json!({ "alg": "ES256", "kid": "k-2" }), &liar.claims());
    redeemed(&client).await.unwrap();
    assert_eq!(liar.asked("/jwks"), 2);
    liar.token(&json!({ "alg": "ES256", "kid": "k-3" }), &liar.claims());
    for _ in 0..20 {
        redeemed(&client).await.unwrap_err();
    }
    assert_eq!(liar.asked("/jwks"), 7);
}

#[tokio::test]
async fn a_document_can_not_send_us_elsewhere() {
    let (liar, inside) = (Liar::new().await, Liar::new().await);
    for (name, value, why) in [
        ("issuer", json!("http://127.0.0.1:1"), "another issuer"),
        ("jwks_uri", json!(format!("{}/jwks", inside.issuer)), "not https, nor at the issuer"),
        ("token_endpoint", json!("https://169.254.169.254/latest/meta-data"), "not public"),
        ("userinfo_endpoint", json!("https://[::1]:9/"), "not public"),
        ("authorization_endpoint", json!("javascript:alert(1)"), "not https"),
        ("code_challenge_methods_supported", json!(["plain"]), "PKCE"),
    ] {
        liar.with(name, &value);
        let complaint = liar.complaint().await;
        assert!(complaint.contains(why), "{name}: {complaint}");
    }
    liar.with("jwks_uri", &json!("https://localhost:9/jwks"));
    let complaint = liar.complaint().await;
    assert!(complaint.contains("not public"), "{complaint}");
    assert_eq!((inside.asked("/jwks"), liar.asked("/me")), (0, 0));
}

#[tokio::test]
async fn answers_are_short_come_soon_and_from_where_they_were_asked() {
    let (liar, inside) = (Liar::new().await, Liar::new().await);
    liar.says("/jwks", Reply::Redirect(format!("{}/jwks", inside.issuer)));
    let complaint = liar.complaint().await;
    assert!(complaint.contains("302"), "{complaint}");
    assert_eq!(inside.asked("/jwks"), 0);
    liar.says("/jwks", Reply::Endless);
    let complaint = liar.complaint().await;
    assert!(complaint.contains("more than 262144 bytes"), "{complaint}");
    liar.says("/jwks", Reply::Silence);
    let complaint = tokio::time::timeout(Duration::from_mins(1), liar.complaint()).await.unwrap();
    assert!(complaint.contains("no answer in time"), "{complaint}");
}

#[tokio::test]
async fn the_userinfo_endpoint_speaks_of_the_same_person() {
    let liar = Liar::new().await;
    let mut claims = liar.claims();
    for name in ["email", "email_verified"] {
        claims.as_object_mut().unwrap().remove(name);
    }
    liar.token(&json!({ "alg": "ES256", "kid": "k-1" }), &claims);
    liar.says("/me", Reply::Json(json!({ "sub": "s-1", "email": "ann@dairy.example", "email_verified": true })));
    assert_eq!(liar.redeemed().await.unwrap().email.as_deref(), Some("ann@dairy.example"));
    liar.says("/me", Reply::Json(json!({ "sub": "s-1", "email": "ann@dairy.example" })));
    assert_eq!(liar.redeemed().await.unwrap().email, None, "nobody has verified it");
    liar.says("/me", Reply::Json(json!({ "sub": "s-2", "email": "bob@dairy.example", "email_verified": true })));
    assert!(liar.complaint().await.contains("somebody else"));
}

/// `email_verified` speaks of `email`. What stands elsewhere may be what somebody has written there.
#[tokio::test]
async fn another_claim_is_an_address_only_where_it_is_trusted() {
    let liar = Liar::new().await;
    let mut claims = liar.claims();
    claims["upn"] = json!("bob@dairy.example");
    let header = json!({ "alg": "ES256", "kid": "k-1" });
    let read = |email_claim| {
        let client = liar.client_that_reads(email_claim);
        async move { redeemed(&client).await.unwrap().email }
    };
    let trusted = || EmailClaim::Trusted("upn".into());
    for (verified, by_email) in [(json!(true), Some("ann@dairy.example")), (json!(false), None)] {
        claims["email_verified"] = verified;
        liar.token(&header, &claims);
        assert_eq!(read(EmailClaim::Verified).await.as_deref(), by_email);
        assert_eq!(read(trusted()).await.as_deref(), Some("bob@dairy.example"));
    }
    claims.as_object_mut().unwrap().remove("upn");
    liar.token(&header, &claims);
    liar.says("/me", Reply::Json(json!({ "sub": "s-1", "upn": "olga@dairy.example" })));
    assert_eq!(read(trusted()).await.as_deref(), Some("olga@dairy.example"));
    liar.says("/me", Reply::Json(json!({ "sub": "s-1" })));
    assert_eq!(read(trusted()).await, None);
}
