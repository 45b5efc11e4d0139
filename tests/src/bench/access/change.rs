//! `access.role_change_ms`: from the acknowledgement of a changed role until every node answers by it, in a tenant of ten thousand people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_domain::access::command::AccessCommand;
use lotline_domain::access::role::{Role, RoleSet};
use lotline_domain::id::{ActorId, CommandId, SiteId, StreamKey, TenantId, UserId};
use lotline_domain::port::{Clock, Ids};
use lotline_infra::admin::Steward;
use lotline_infra::config::{Config, LogKind};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::PEOPLE_OF_A_TENANT;
use crate::bench::report::Report;
use crate::server::{Log, Server, Settings};
use crate::stack;

const SITE: &str = "north";
const CHANGES: usize = 50;
/// Commands that are asked for at the same time.
const AT_ONCE: usize = 64;
const GIVE_UP: Duration = Duration::from_mins(1);
const AGAIN_AFTER: Duration = Duration::from_millis(1);

/// Measures it on two nodes on Kafka.
pub(super) async fn run(report: &mut Report) -> anyhow::Result<()> {
    let tenant = stack::unique("bench");
    let folder = std::env::temp_dir().join(&tenant);
    std::fs::create_dir_all(&folder)?;
    let database = stack::database("bench").await.url;
    let node = |name: &str| Settings {
        tenant: tenant.clone(),
        log: Log::Kafka,
        database: database.clone(),
        brokers: Some(stack::kafka_brokers()),
        folder: folder.clone(),
        development: false,
        environment: vec![
            ("LOTLINE_TENANT__SITES".into(), format!("{:?}", [SITE])),
            ("LOTLINE_CLUSTER__NODE".into(), name.to_owned()),
            ("LOTLINE_API__LIMITS__REQUESTS_PER_HOUR".into(), "100000000".into()),
            ("LOTLINE_API__LIMITS__REQUESTS_PER_HOUR_BY_ACTOR".into(), "100000000".into()),
        ],
    };
    let mut one = Server::start(&node("one"), &["serve"]).await;
    let mut two = Server::start(&node("two"), &["serve"]).await;
    let mut config = Config::default();
    config.tenant.id = TenantId::new(tenant.clone())?;
    config.tenant.sites = vec![SiteId::new(SITE)?];
    config.postgres.url = database;
    config.log.kind = LogKind::Kafka;
    config.kafka.brokers = stack::kafka_brokers();
    let steward = Arc::new(Steward::open(&config).await?);
    let (name, time_zone) = (SITE.to_owned(), "Etc/UTC".to_owned());
    submit(&steward, AccessCommand::RegisterSite { site: SITE.to_owned(), name, time_zone }).await?;
    let people = populate(&steward, &config.tenant.id).await?;
    let user = *people.last().context("there are people")?;
    let bearer = format!("Bearer {}", steward.identity.sessions.open(user, "bench").await?.access);
    let mut took = Vec::with_capacity(CHANGES);
    for change in 0..CHANGES {
        let gives = change % 2 == 0;
        let roles = if gives { RoleSet::of(&[Role::Operator]) } else { RoleSet::EMPTY };
        let command = AccessCommand::ChangeMembership { user_id: user, site: Some(SITE.to_owned()), roles };
        submit(&steward, command).await?;
        let acknowledged = Instant::now();
        tokio::try_join!(until_it_may(&one.url, &bearer, gives), until_it_may(&two.url, &bearer, gives))?;
        took.push(acknowledged.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let (middle, longest) = (took[CHANGES / 2], took[CHANGES - 1]);
    report.note(&format!("access.role_change_ms: half of {CHANGES} changes within {middle:.1} ms; the longest counts"));
    report.result("access.role_change_ms", longest, "ms", None);
    drop(steward);
    for server in [&mut one, &mut two] {
        anyhow::ensure!(server.stop(Duration::from_secs(20)).await, "the server did not stop");
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

async fn submit(steward: &Steward, command: AccessCommand) -> anyhow::Result<CommandId> {
    let id = CommandId(RandomIds::default().uuid_v7(SystemClock.now()));
    steward.submit(ActorId::system(), id, command, None).await?;
    Ok(id)
}

async fn populate(steward: &Arc<Steward>, tenant: &TenantId) -> anyhow::Result<Vec<UserId>> {
    let mut people = Vec::with_capacity(PEOPLE_OF_A_TENANT);
    let mut running: JoinSet<anyhow::Result<UserId>> = JoinSet::new();
    for number in 0..PEOPLE_OF_A_TENANT {
        if running.len() == AT_ONCE
            && let Some(done) = running.join_next().await
        {
            people.push(done??);
        }
        let (steward, tenant) = (Arc::clone(steward), tenant.clone());
        running.spawn(async move {
            let id = CommandId(RandomIds::default().uuid_v7(SystemClock.now()));
            let user = UserId(id.derive(&tenant, &StreamKey::Tenant, &ActorId::system()));
            let profile = steward.profile(user, &format!("{number}@bench.example"), "Somebody").await?;
            steward.submit(ActorId::system(), id, AccessCommand::RegisterUser(profile), None).await?;
            Ok(user)
        });
    }
    while let Some(done) = running.join_next().await {
        people.push(done??);
    }
    Ok(people)
}

/// Asks one node until it answers as somebody with the role, or without it, must be answered.
async fn until_it_may(url: &str, bearer: &str, may: bool) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let query = json!({ "query": "{ lots(site: \"north\", first: 1) { nodes { code } } }" });
    let until = Instant::now() + GIVE_UP;
    loop {
        let request = client.post(format!("{url}/graphql")).header("authorization", bearer).json(&query);
        let answer: Value = request.send().await?.json().await?;
        let forbidden = match answer["errors"][0]["extensions"]["code"].as_str() {
            None => false,
            Some("FORBIDDEN") => true,
            Some(_) => anyhow::bail!("{answer}"),
        };
        if forbidden != may {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until, "the change of a role does not arrive: {answer}");
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
