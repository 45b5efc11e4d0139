//! Somebody in front of the door of a server that enforces access: requests with exactly the headers that are given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_domain::access::command::{AccessCommand, IssueApiKey};
use lotline_domain::access::role::{Role, RoleSet};
use lotline_domain::id::{ActorId, ApiKeyId, CommandId, SiteId, StreamKey, TenantId, UserId};
use lotline_domain::identity::name::LoginName;
use lotline_domain::port::{Clock, Ids};
use lotline_infra::admin::Steward;
use lotline_infra::config::{Config, LogKind};
use lotline_tests::server::{Log, Server};
use lotline_tests::stack::Database;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::site::{Plant, SITE};

pub(crate) const PASSWORD: &str = "seven cows in the fog";
pub(crate) const ADMIN: &str = "ann@dairy.example";
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"].as_str().unwrap_or("none")
    }

    /// Status and code at once.
    pub(crate) fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.body);
    }
}

/// One server, its plant, and nobody signed in.
pub(crate) struct House {
    pub(crate) plant: Plant,
    pub(crate) server: Server,
    pub(crate) steward: Steward,
    http: reqwest::Client,
}

impl House {
    pub(crate) async fn new(name: &str) -> Self {
        Self::set(name, &[]).await
    }

    /// One with more in its environment.
    pub(crate) async fn set(name: &str, environment: &[(&str, &str)]) -> Self {
        Self::at(Plant::new(name, Log::Postgres).await, environment).await
    }

    pub(crate) async fn at(mut plant: Plant, environment: &[(&str, &str)]) -> Self {
        plant.settings.development = false;
        let more = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        plant.settings.environment.extend(more);
        let server = plant.serve().await;
        let steward = Steward::open(&config(&plant)).await.unwrap();
        Self { plant, server, steward, http: reqwest::Client::new() }
    }

    /// Starts the server again after it has ended, be it on another database of the same name.
    pub(crate) async fn serve_again(&mut self) {
        self.server = self.plant.serve().await;
        self.steward = Steward::open(&config(&self.plant)).await.unwrap();
    }

    /// One where [`ADMIN`] administers.
    pub(crate) async fn with_admin(name: &str) -> (Self, UserId) {
        Self::new(name).await.administered().await
    }

    /// The same with more sites, all of them registered, so that roles can be limited to them.
    pub(crate) async fn with_sites(name: &str, sites: &[&str]) -> (Self, UserId) {
        Self::registered(Plant::new(name, Log::Postgres).await, sites).await
    }

    /// Another tenant's in the same database.
    pub(crate) async fn beside(&self, name: &str, sites: &[&str]) -> (Self, UserId) {
        let Database { pool, url } = &self.plant.database;
        let database = Database { pool: pool.clone(), url: url.clone() };
        Self::registered(Plant::on(name, Log::Postgres, database, None), sites).await
    }

    async fn registered(plant: Plant, sites: &[&str]) -> (Self, UserId) {
        let configured = format!("{sites:?}");
        let (house, admin) = Self::at(plant, &[("LOTLINE_TENANT__SITES", &configured)]).await.administered().await;
        for site in sites {
            let (site, name, time_zone) = ((*site).to_owned(), (*site).to_owned(), "Etc/UTC".to_owned());
            house.decide(ActorId::system(), AccessCommand::RegisterSite { site, name, time_zone }).await;
        }
        (house, admin)
    }

    /// The same where [`ADMIN`] administers.
    pub(crate) async fn administered(self) -> (Self, UserId) {
        let house = self;
        let link = house.link().await;
        house.post("setup", &[], &set_up(&link, PASSWORD)).await;
        let admin = house.steward.identity.names.find(&LoginName::new(ADMIN).unwrap()).await.unwrap().unwrap();
        (house, admin)
    }

    /// The link that was printed.
    pub(crate) async fn link(&self) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let printed = self.server.printed();
            if let Some((_, link)) = printed.split_once("/setup#") {
                return link.split_whitespace().next().unwrap().to_owned();
            }
            assert!(Instant::now() < until, "no link was printed:\n{printed}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let answer = request.headers(headers.collect()).timeout(PATIENCE).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.send(self.http.post(format!("{}/api/v1/auth/{path}", self.server.url)).json(body), headers).await
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.server.url)), headers).await
    }

    pub(crate) async fn graphql(&self, headers: &[(&str, &str)], query: &str, variables: &Value) -> Answer {
        let body = json!({ "query": query, "variables": variables });
        self.send(self.http.post(format!("{}/graphql", self.server.url)).json(&body), headers).await
    }

    /// Asks as somebody, who must be answered, and gives the data.
    pub(crate) async fn data(&self, bearer: &str, query: &str, variables: &Value) -> Value {
        let mut answer = self.graphql(&[("authorization", bearer)], query, variables).await;
        assert!(answer.body.get("errors").is_none(), "{query}: {}", answer.body);
        answer.body["data"].take()
    }

    /// Gives the payload of a mutation that takes `input`; `more` is selected beside the usual.
    pub(crate) async fn mutate(&self, bearer: &str, name: &str, more: &str, input: &Value) -> Value {
        let kind = name[..1].to_uppercase() + &name[1..];
        let mut given = input.clone();
        if given.get("idempotencyKey").is_none() {
            given["idempotencyKey"] = json!(lotline_tests::client::key());
        }
        let query =
            format!("mutation($input: {kind}Input!) {{ {name}(input: $input) {{ {more} userErrors {{ code }} }} }}");
        self.data(bearer, &query, &json!({ "input": given })).await[name].take()
    }

    /// A subscription of somebody.
    pub(crate) async fn follow(&self, bearer: &str, query: &str) -> Feed {
        let request = self.http.post(format!("{}/graphql", self.server.url)).json(&json!({ "query": query }));
        let request = request.header("accept", "text/event-stream").header("authorization", bearer);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{query}");
        Feed { answer, buffer: String::new() }
    }

    /// Registers a lot, or tries to.
    pub(crate) async fn register(&self, headers: &[(&str, &str)], code: &str) -> Answer {
        let input = lotline_tests::client::lot(SITE, code, "1", &[]);
        let query =
            "mutation($input: RegisterLotInput!) { registerLot(input: $input) { version userErrors { code } } }";
        self.graphql(headers, query, &json!({ "input": input })).await
    }

    pub(crate) async fn sign_in(&self, email: &str, cookies: bool) -> Answer {
        let body = json!({ "email": email, "password": PASSWORD, "cookies": cookies });
        let answer = self.post("sign-in", &[], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    /// `Bearer …` of somebody who signs in now.
    pub(crate) async fn bearer(&self, email: &str) -> String {
        bearer(&self.sign_in(email, false).await)
    }

    pub(crate) async fn decide(&self, actor: ActorId, command: AccessCommand) -> CommandId {
        let id = CommandId(RandomIds::default().uuid_v7(SystemClock.now()));
        self.steward.submit(actor, id, command, None).await.unwrap();
        id
    }

    /// Somebody with roles and the usual password.
    pub(crate) async fn person(&self, admin: UserId, email: &str, site: Option<&str>, roles: &[Role]) -> UserId {
        let id = CommandId(RandomIds::default().uuid_v7(SystemClock.now()));
        let tenant = TenantId::new(self.plant.settings.tenant.clone()).unwrap();
        let user = UserId(id.derive(&tenant, &StreamKey::Tenant, &admin.actor()));
        let profile = self.steward.profile(user, email, "Somebody").await.unwrap();
        self.steward.submit(admin.actor(), id, AccessCommand::RegisterUser(profile), None).await.unwrap();
        let (names, name) = (&self.steward.identity.names, LoginName::new(email).unwrap());
        names.reserve(&name, user).await.unwrap();
        names.confirm(&name, user).await.unwrap();
        self.steward.identity.passwords.set(user, PASSWORD, &[]).await.unwrap();
        let site = site.map(str::to_owned);
        let roles = RoleSet::of(roles);
        self.decide(admin.actor(), AccessCommand::ChangeMembership { user_id: user, site, roles }).await;
        user
    }

    /// Somebody with one role, who has no password and gets in by [`House::token`].
    pub(crate) async fn member(&self, admin: UserId, name: &str, site: Option<&str>, role: Role) -> UserId {
        let id = CommandId(RandomIds::default().uuid_v7(SystemClock.now()));
        let tenant = TenantId::new(self.plant.settings.tenant.clone()).unwrap();
        let user = UserId(id.derive(&tenant, &StreamKey::Tenant, &admin.actor()));
        let profile = self.steward.profile(user, &format!("{name}@dairy.example"), name).await.unwrap();
        self.steward.submit(admin.actor(), id, AccessCommand::RegisterUser(profile), None).await.unwrap();
        let (site, roles) = (site.map(str::to_owned), RoleSet::of(&[role]));
        self.decide(admin.actor(), AccessCommand::ChangeMembership { user_id: user, site, roles }).await;
        user
    }

    /// `Bearer …` of a fresh session.
    pub(crate) async fn token(&self, user: UserId) -> String {
        format!("Bearer {}", self.steward.identity.sessions.open(user, "test").await.unwrap().access)
    }

    /// A key and its text.
    pub(crate) async fn key(&self, admin: UserId, prefix: &str, roles: &[Role]) -> (ApiKeyId, String) {
        let command = AccessCommand::IssueApiKey(IssueApiKey {
            label: prefix.to_owned(),
            prefix: prefix.to_owned(),
            roles: RoleSet::of(roles),
            sites: Vec::new(),
            expires_at: SystemClock.now().plus_micros(3_600_000_000),
        });
        let id = self.decide(admin.actor(), command).await;
        let tenant = TenantId::new(self.plant.settings.tenant.clone()).unwrap();
        let key = ApiKeyId(id.derive(&tenant, &StreamKey::Tenant, &admin.actor()));
        let text = self.steward.identity.api_keys.issue(key).await.unwrap();
        (key, text.expose().to_owned())
    }

    /// Waits until a request is answered with a status.
    pub(crate) async fn until(&self, headers: &[(&str, &str)], status: u16) {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.graphql(headers, "{ tenant }", &json!({})).await;
            if answer.status == status {
                return;
            }
            assert!(Instant::now() < until, "still {}: {}", answer.status, answer.body);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// An event stream.
pub(crate) struct Feed {
    answer: reqwest::Response,
    buffer: String,
}

impl Feed {
    /// The next result, errors and all; nothing when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("a result, or the end, comes in time")
    }

    async fn read(&mut self) -> Option<Value> {
        loop {
            while let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                if event.contains("event: complete") {
                    return None;
                }
                let data: String = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
                if !data.trim().is_empty() {
                    return Some(serde_json::from_str(&data).unwrap());
                }
            }
            let chunk = self.answer.chunk().await.unwrap()?;
            self.buffer.push_str(&String::from_utf8_lossy(&chunk).replace('\r', ""));
        }
    }
}

pub(crate) fn set_up(link: &str, password: &str) -> Value {
    json!({ "link": link, "email": ADMIN, "name": "Ann Li", "password": password })
}

pub(crate) fn bearer(signed_in: &Answer) -> String {
    format!("Bearer {}", signed_in.body["accessToken"].as_str().unwrap())
}

/// The configuration of a plant's server, as its command line has it.
pub(crate) fn config(plant: &Plant) -> Config {
    let mut config = Config::default();
    config.tenant.id = TenantId::new(plant.settings.tenant.clone()).unwrap();
    config.tenant.sites = vec![SiteId::new(SITE).unwrap()];
    config.postgres.url.clone_from(&plant.settings.database);
    if let (Log::Kafka, Some(brokers)) = (plant.settings.log, &plant.settings.brokers) {
        config.log.kind = LogKind::Kafka;
        config.kafka.brokers.clone_from(brokers);
    }
    config
}

/// Fresh ids.
pub(crate) fn ids() -> Arc<RandomIds> {
    Arc::default()
}
