//! The rules about access: given events, when a command, then events or a refusal.

mod authorising;
mod deciding;
mod keeping;
mod reaching;

use uuid::Uuid;

use super::command::{AccessCommand, Appointee, IssueApiKey, Profile};
use super::event::{AccessEvent, ApiKeyIssued, MembershipChanged, SiteRegistered, UserDeactivated, UserRegistered};
use super::role::{Role, RoleSet};
use crate::command::Command;
use crate::event::Event;
use crate::given::now;
use crate::id::{ApiKeyId, PipelineId, SiteId, UserId};
use crate::personal::{Personal, PersonalKey};
use crate::pipeline::{Definition, PipelineDrafted, Task};

const HOUR: i64 = 3_600 * 1_000_000;

fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(number))
}

fn key(number: u128) -> ApiKeyId {
    ApiKeyId(Uuid::from_u128(number))
}

fn pipeline(number: u128) -> PipelineId {
    PipelineId(Uuid::from_u128(number))
}

fn site_id(name: &str) -> SiteId {
    SiteId::new(name).unwrap()
}

fn sealed(text: &str) -> Personal {
    PersonalKey { id: Uuid::from_u128(77), secret: [7; 32] }.seal("here", text)
}

fn profile() -> Profile {
    Profile { name: sealed("Ann"), email: sealed("ann@dairy.example") }
}

fn roles(roles: &[Role]) -> RoleSet {
    RoleSet::of(roles)
}

fn site_registered(name: &str) -> Event {
    let (name, time_zone) = ("Plant".to_owned() + name, "Europe/Copenhagen".to_owned());
    let site = site_id(name.trim_start_matches("Plant"));
    Event::Access(AccessEvent::SiteRegistered(SiteRegistered { site, name, time_zone }))
}

fn registered(number: u128) -> Event {
    let Profile { name, email } = profile();
    Event::Access(AccessEvent::UserRegistered(UserRegistered { user_id: user(number), name, email }))
}

fn member(number: u128, site: Option<&str>, given: &[Role]) -> Event {
    let (site, roles) = (site.map(site_id), roles(given));
    Event::Access(AccessEvent::MembershipChanged(MembershipChanged { user_id: user(number), site, roles }))
}

fn deactivated(number: u128) -> Event {
    Event::Access(AccessEvent::UserDeactivated(UserDeactivated { user_id: user(number) }))
}

/// A key that expires in an hour.
fn issued(number: u128, given: &[Role], sites: &[&str]) -> Event {
    Event::Access(AccessEvent::ApiKeyIssued(ApiKeyIssued {
        key_id: key(number),
        label: "robot".to_owned(),
        prefix: format!("key-{number}"),
        roles: roles(given),
        sites: sites.iter().map(|site| site_id(site)).collect(),
        expires_at: now().plus_micros(HOUR),
    }))
}

fn drafted(number: u128) -> Event {
    let definition = definition();
    Event::PipelineDrafted(PipelineDrafted { pipeline_id: pipeline(number), name: format!("P{number}"), definition })
}

fn definition() -> Definition {
    let task = Task { id: "a".to_owned(), kind: "extract.csv".to_owned(), config: serde_json::Value::Null };
    Definition { tasks: vec![task], edges: Vec::new() }
}

fn access(command: AccessCommand) -> Command {
    Command::Access(command)
}

fn give(number: u128, site: Option<&str>, given: &[Role]) -> Command {
    let site = site.map(str::to_owned);
    access(AccessCommand::ChangeMembership { user_id: user(number), site, roles: roles(given) })
}

fn appoint(number: u128, recovery: bool) -> Command {
    access(AccessCommand::AppointAdmin { appointee: Appointee::User(user(number)), recovery })
}

fn issue(prefix: &str, given: &[Role], sites: &[&str]) -> IssueApiKey {
    IssueApiKey {
        label: "robot".to_owned(),
        prefix: prefix.to_owned(),
        roles: roles(given),
        sites: sites.iter().map(|site| (*site).to_owned()).collect(),
        expires_at: now().plus_micros(HOUR),
    }
}
