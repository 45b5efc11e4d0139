//! Who may do what, as people see it: lists of users, roles, keys and grants, and what the audit trail says of their changes.

use lotline_domain::access::command::{AccessCommand, Appointee, IssueApiKey, Profile};
use lotline_domain::access::event::{AccessEvent, AccessSubject};
use lotline_domain::access::grant::{PipelineRight, RightSet};
use lotline_domain::access::role::{Role, RoleSet};
use lotline_domain::command::Command;
use lotline_domain::event::Event;
use lotline_domain::id::{ApiKeyId, PipelineId, UserId};
use lotline_domain::personal::PersonalKey;
use lotline_domain::pipeline::{Definition, Task};
use lotline_projections::access;
use lotline_projections::audit::{self, AuditFilter};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{FakeLog, Plant, start, tenant};
use crate::rig::Rig;

const KEY: PersonalKey = PersonalKey { id: Uuid::from_u128(7), secret: [7; 32] };

fn sealed(name: &str) -> Profile {
    Profile { name: KEY.seal("name", name), email: KEY.seal("email", &format!("{name}@dairy.example")) }
}

/// Decides what must be accepted.
fn accept(plant: &mut Plant, command: AccessCommand) -> AccessSubject {
    match plant.decide("_tenant", Command::Access(command)).0 {
        Event::Access(event) => event.subject(),
        refused => panic!("refused: {refused:?}"),
    }
}

fn user(plant: &mut Plant, name: &str) -> UserId {
    let AccessSubject::User(id) = accept(plant, AccessCommand::RegisterUser(sealed(name))) else { panic!("no user") };
    id
}

fn key(plant: &mut Plant, prefix: &str, sites: &[&str]) -> ApiKeyId {
    let command = AccessCommand::IssueApiKey(IssueApiKey {
        label: "robot".into(),
        prefix: prefix.into(),
        roles: RoleSet::of(&[Role::Operator, Role::Viewer]),
        sites: sites.iter().map(|site| (*site).to_owned()).collect(),
        expires_at: start().plus_micros(3_600_000_000),
    });
    let AccessSubject::ApiKey(id) = accept(plant, command) else { panic!("no key") };
    id
}

fn give(plant: &mut Plant, user_id: UserId, site: Option<&str>, roles: &[Role]) {
    let (site, roles) = (site.map(str::to_owned), RoleSet::of(roles));
    accept(plant, AccessCommand::ChangeMembership { user_id, site, roles });
}

fn grant(plant: &mut Plant, pipeline_id: PipelineId, user_id: UserId, rights: &[PipelineRight]) {
    let rights = RightSet::of(rights);
    accept(plant, AccessCommand::SetPipelineAccess { pipeline_id, user_id, rights });
}

fn register_site(plant: &mut Plant, site: &str) {
    let (site, name, time_zone) = (site.to_owned(), format!("Plant {site}"), "Europe/Copenhagen".to_owned());
    accept(plant, AccessCommand::RegisterSite { site, name, time_zone });
}

/// Something of everything, in the middle of a day of other things.
pub(crate) fn day(plant: &mut Plant, round: usize, pipeline: PipelineId) {
    let site = format!("site-{round}");
    register_site(plant, &site);
    let (ann, bob) = (user(plant, "ann"), user(plant, "bob"));
    if round == 0 {
        accept(plant, AccessCommand::AppointAdmin { appointee: Appointee::New(sealed("eve")), recovery: false });
    }
    give(plant, ann, None, &[Role::Manager, Role::Engineer]);
    give(plant, ann, Some(&site), &[Role::Operator]);
    give(plant, bob, Some(&site), &[Role::Operator]);
    plant.day("north", 200);
    give(plant, bob, Some(&site), &[]);
    accept(plant, AccessCommand::ChangeUserProfile { user_id: bob, profile: sealed("bobby") });
    accept(plant, AccessCommand::DeactivateUser { user_id: ann });
    let robot = key(plant, &format!("key-{round}"), &[&site]);
    grant(plant, pipeline, ann, &[PipelineRight::Edit]);
    grant(plant, pipeline, bob, &[PipelineRight::View]);
    plant.day("south", 200);
    accept(plant, AccessCommand::RevokeApiKey { key_id: robot });
    accept(plant, AccessCommand::ReactivateUser { user_id: ann });
    accept(plant, AccessCommand::IssuePasswordReset { user_id: ann });
    grant(plant, pipeline, bob, &[]);
    // Refused: it changes nothing.
    plant.decide("_tenant", Command::Access(AccessCommand::RevokeApiKey { key_id: robot }));
}

async fn projected(name: &str, plant: &Plant) -> Rig {
    let rig = Rig::new(name).await;
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    worker.stop().await;
    rig
}

fn plant() -> Plant {
    Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000))
}

fn pipeline(plant: &mut Plant) -> PipelineId {
    let task = Task { id: "read".into(), kind: "k".into(), config: Value::Null };
    let definition = Definition { tasks: vec![task], edges: vec![] };
    let draft = Command::DraftPipeline { name: "p".into(), definition };
    let Event::PipelineDrafted(drafted) = plant.decide("_tenant", draft).0 else { panic!("the draft is accepted") };
    drafted.pipeline_id
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_what_holds_now() {
    let mut plant = plant();
    for site in ["north", "south"] {
        register_site(&mut plant, site);
    }
    let pipeline = pipeline(&mut plant);
    let (ann, bob, cem) = (user(&mut plant, "ann"), user(&mut plant, "bob"), user(&mut plant, "cem"));
    give(&mut plant, ann, None, &[Role::Engineer, Role::Operator]);
    give(&mut plant, ann, Some("south"), &[Role::Manager]);
    give(&mut plant, bob, Some("north"), &[Role::Viewer]);
    give(&mut plant, bob, Some("north"), &[]);
    accept(&mut plant, AccessCommand::DeactivateUser { user_id: cem });
    let (open, closed) = (key(&mut plant, "key-1", &[]), key(&mut plant, "key-2", &["south", "north"]));
    accept(&mut plant, AccessCommand::RevokeApiKey { key_id: closed });
    grant(&mut plant, pipeline, bob, &[PipelineRight::Execute, PipelineRight::View]);
    grant(&mut plant, pipeline, ann, &[PipelineRight::Manage]);
    grant(&mut plant, pipeline, ann, &[]);
    let rig = projected("access", &plant).await;
    let (pool, tenant) = (rig.pool(), tenant());

    let users = access::users(pool, &tenant, None, &Page::first(10)).await.unwrap();
    assert_eq!(users.iter().map(|row| row.id).collect::<Vec<_>>(), [cem.0, bob.0, ann.0]);
    let page = Page { first: 1, after: Some(cem.0) };
    assert_eq!(access::users(pool, &tenant, Some(true), &page).await.unwrap()[0].id, bob.0);
    let inactive = access::users(pool, &tenant, Some(false), &Page::first(10)).await.unwrap();
    assert_eq!(inactive.iter().map(|row| row.id).collect::<Vec<_>>(), [cem.0]);
    let row = access::user(pool, &tenant, ann.0).await.unwrap().expect("ann is there");
    assert_eq!((row.version, row.active, KEY.open("name", &row.name.0).as_deref()), (8, true, Ok("ann")));
    assert_eq!(access::users_by_ids(pool, &tenant, &[ann.0, Uuid::nil()]).await.unwrap(), std::slice::from_ref(&row));
    let changed = access::users_changed_since(pool, &tenant, 0, row.changed_offset + 1, 10).await.unwrap();
    assert_eq!(changed.iter().map(|row| row.id).collect::<Vec<_>>(), [bob.0, cem.0]);

    let memberships = access::memberships_of(pool, &tenant, &[ann.0, bob.0, cem.0]).await.unwrap();
    let found: Vec<_> = memberships.iter().map(|row| (row.user_id, row.site.as_str(), row.roles.join(" "))).collect();
    assert_eq!(found, [(ann.0, "", "OPERATOR ENGINEER".into()), (ann.0, "south", "MANAGER".to_owned())]);

    let keys = access::keys(pool, &tenant, None, &Page::first(10)).await.unwrap();
    assert_eq!(keys.iter().map(|row| row.id).collect::<Vec<_>>(), [closed.0, open.0]);
    assert_eq!((keys[0].sites.join(" "), keys[1].sites.len()), ("north south".into(), 0));
    assert!(keys[0].revoked_at.is_some() && keys[1].revoked_at.is_none());
    let valid = access::keys(pool, &tenant, Some(false), &Page::first(10)).await.unwrap();
    assert_eq!(valid, std::slice::from_ref(&keys[1]));
    assert_eq!(access::key(pool, &tenant, open.0).await.unwrap(), Some(keys[1].clone()));

    let sites = access::sites(pool, &tenant, &Page { first: 5, after: Some("north".into()) }).await.unwrap();
    let found: Vec<_> = sites.iter().map(|row| (row.id.as_str(), row.name.as_str(), row.time_zone.as_str())).collect();
    assert_eq!(found, [("south", "Plant south", "Europe/Copenhagen")]);

    let grants = access::grants_on(pool, &tenant, &[pipeline.0]).await.unwrap();
    let found: Vec<_> = grants.iter().map(|row| (row.user_id, row.rights.join(" "))).collect();
    assert_eq!(found, [(bob.0, "VIEW EXECUTE".to_owned())]);
    assert_eq!(access::grants_of(pool, &tenant, &[ann.0, bob.0]).await.unwrap(), grants);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_tells_what_access_was_before_and_after() {
    let mut plant = plant();
    register_site(&mut plant, "north");
    let ann = user(&mut plant, "ann");
    give(&mut plant, ann, Some("north"), &[Role::Viewer]);
    give(&mut plant, ann, Some("north"), &[Role::Operator, Role::Viewer]);
    accept(&mut plant, AccessCommand::AppointAdmin { appointee: Appointee::User(ann), recovery: false });
    let bob = user(&mut plant, "bob");
    accept(&mut plant, AccessCommand::DeactivateUser { user_id: bob });
    accept(&mut plant, AccessCommand::AppointAdmin { appointee: Appointee::User(bob), recovery: true });
    let other = Profile { email: sealed("bob").email, ..sealed("bobby") };
    accept(&mut plant, AccessCommand::ChangeUserProfile { user_id: bob, profile: other.clone() });
    let robot = key(&mut plant, "key-1", &[]);
    accept(&mut plant, AccessCommand::RevokeApiKey { key_id: robot });
    let pipeline = pipeline(&mut plant);
    grant(&mut plant, pipeline, ann, &[PipelineRight::View]);
    grant(&mut plant, pipeline, ann, &[]);
    let rig = projected("access_audit", &plant).await;
    let mut rows = audit::list(rig.pool(), &tenant(), &AuditFilter::default(), &Page::first(100)).await.unwrap();
    rows.reverse();
    let of = |kind: &str| -> Vec<&Value> {
        let event_type = format!("lotline.{kind}.v1");
        rows.iter().filter(|row| row.event_type == event_type).map(|row| &row.changes).collect()
    };
    assert_eq!(of("site.registered")[0]["time_zone"], json!({ "before": null, "after": "Europe/Copenhagen" }));
    assert_eq!(of("user.registered")[0]["user_id"], json!({ "before": null, "after": ann }));
    assert_eq!(*of("membership.changed")[0], json!({ "roles.north": { "before": [], "after": ["VIEWER"] } }));
    let after = json!({ "roles.north": { "before": ["VIEWER"], "after": ["VIEWER", "OPERATOR"] } });
    assert_eq!(*of("membership.changed")[1], after);
    assert_eq!(of("admin.appointed"), [&json!({ "roles": { "before": [], "after": ["ADMIN"] } }); 2]);
    assert_eq!(*of("user.deactivated")[0], json!({ "active": { "before": true, "after": false } }));
    assert_eq!(*of("user.reactivated")[0], json!({ "active": { "before": false, "after": true } }));
    let names = json!({ "name": { "before": sealed("bob").name, "after": other.name } });
    assert_eq!(*of("user.profile_changed")[0], names, "the e-mail stays as it was");
    assert_eq!(*of("api_key.revoked")[0], json!({ "revoked": { "before": false, "after": true } }));
    assert_eq!(*of("pipeline.access_set")[0], json!({ "rights": { "before": [], "after": ["VIEW"] } }));
    assert_eq!(*of("pipeline.access_set")[1], json!({ "rights": { "before": ["VIEW"], "after": [] } }));
    let recovery = rows.iter().rfind(|row| row.event_type == "lotline.admin.appointed.v1").expect("bob was appointed");
    assert_eq!((recovery.data["recovery"].clone(), recovery.reason.as_deref()), (json!(true), Some("as planned")));
    assert_eq!(recovery.subject, format!("user/{bob}"));
    // Nothing of it says who they are.
    let all = rig.rows().await;
    assert!(all.iter().all(|(_, row)| !row.contains("dairy.example") && !row.contains("bobby")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_about_nobody_halts_the_model_and_no_other() {
    let mut plant = plant();
    user(&mut plant, "ann");
    let nobody = lotline_domain::access::event::UserDeactivated { user_id: UserId(Uuid::from_u128(5)) };
    plant.append("_tenant", &Event::Access(AccessEvent::UserDeactivated(nobody)));
    let rig = Rig::new("access_poison").await;
    let worker = rig.ledger(&plant.log);
    rig.offset_at(Model::Access, plant.log.0.next()).await;
    rig.offset_at(Model::Pipelines, plant.log.0.next()).await;
    assert!(rig.status(Model::Access).await.unwrap().is_degraded());
    assert!(!rig.status(Model::Pipelines).await.unwrap().is_degraded());
    worker.stop().await;
}
