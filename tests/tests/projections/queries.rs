//! What the queries give: paging without gaps, lineage without doubles, changes with before and after.

use lotline_domain::command::Command;
use lotline_domain::event::Event;
use lotline_domain::pipeline::{Definition, Task};
use lotline_domain::qc::QcOutcome;
use lotline_projections::audit::{self, AuditFilter};
use lotline_projections::genealogy::{self, LineageLimit};
use lotline_projections::lots::{self, LotFilter};
use lotline_projections::page::Page;
use lotline_projections::{pipelines, qc_decisions};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{FakeLog, Plant, decide_qc, register, tenant};
use crate::rig::Rig;

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

fn lot_id(event: &Event) -> Uuid {
    let Event::LotRegistered(lot) = event else { panic!("the lot is registered: {event:?}") };
    lot.lot_id.0
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_tells_before_and_after() {
    let mut plant = plant();
    let (milk, _) = plant.decide("north", register("milk", &[]));
    let (mix, _) = plant.decide("north", register("mix", &[("milk", "12.5")]));
    plant.decide("north", decide_qc("mix", QcOutcome::Hold));
    plant.decide("north", decide_qc("mix", QcOutcome::Pass));
    plant.decide("north", register("mix", &[]));
    let step = |id: &str| Definition {
        tasks: vec![Task { id: id.into(), kind: "k".into(), config: Value::Null }],
        edges: vec![],
    };
    let (draft, _) = plant.decide("_tenant", Command::DraftPipeline { name: "a".into(), definition: step("one") });
    let Event::PipelineDrafted(drafted) = draft else { panic!("the draft is accepted") };
    let pipeline_id = drafted.pipeline_id;
    plant.decide("_tenant", Command::RevisePipeline { pipeline_id, name: "b".into(), definition: step("one") });
    plant.decide("_tenant", Command::PublishPipeline { pipeline_id });
    plant.decide("_tenant", Command::ArchivePipeline { pipeline_id });
    let rig = projected("audit", &plant).await;

    let mut rows = audit::list(rig.pool(), &tenant(), &AuditFilter::default(), &Page::first(100)).await.unwrap();
    rows.reverse();
    let changes: Vec<&Value> = rows.iter().map(|row| &row.changes).collect();
    assert_eq!(changes[0]["code"], json!({ "before": null, "after": "milk" }));
    assert_eq!(changes[0]["quantity"], json!({ "before": null, "after": { "value": "100", "unit": "KGM" } }));
    assert_eq!(changes[1]["code"], json!({ "before": null, "after": "mix" }));
    let remaining = format!("lot/{}.remaining_base", lot_id(&milk));
    assert_eq!(changes[1][remaining], json!({ "before": "100", "after": "87.5" }));
    assert_eq!(changes[2]["code"], json!({ "before": null, "after": "H-1" }));
    assert_eq!(*changes[3], json!({ "qc_status": { "before": null, "after": "HOLD" } }));
    assert_eq!(changes[4]["kind"], json!({ "before": null, "after": "decision" }), "the alert of the HOLD");
    assert_eq!(*changes[5], json!({ "open": { "before": true, "after": false } }));
    assert_eq!(*changes[6], json!({ "qc_status": { "before": "HOLD", "after": "PASS" } }));
    assert_eq!(*changes[7], json!({}), "a refusal changes nothing");
    assert_eq!(rows[7].data["code"], "DUPLICATE_LOT_CODE");
    assert_eq!(*changes[9], json!({ "name": { "before": "a", "after": "b" } }));
    assert_eq!(*changes[10], json!({ "published_version": { "before": null, "after": 1 } }));
    assert_eq!(*changes[11], json!({ "archived": { "before": false, "after": true } }));

    let row = &rows[1];
    assert_eq!((row.stream.as_str(), row.sequence, row.actor.as_str()), ("north", 2, "ann"));
    assert_eq!(row.subject, format!("lot/{}", lot_id(&mix)));
    assert_eq!(row.reason.as_deref(), Some("as planned"));
    assert!(row.occurred_at < row.decided_at);
    let filter = AuditFilter { subject: Some(row.subject.clone()), ..AuditFilter::default() };
    let about = audit::list(rig.pool(), &tenant(), &filter, &Page::first(100)).await.unwrap();
    assert_eq!(about.iter().map(|row| row.sequence).collect::<Vec<_>>(), [7, 4, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_neither_skip_nor_repeat() {
    let mut plant = plant();
    plant.day("north", 50);
    plant.day("south", 50);
    let rig = projected("pages", &plant).await;
    let all = lots::list(rig.pool(), &tenant(), &LotFilter::default(), &Page::first(1_000)).await.unwrap();
    let (mut paged, mut page) = (Vec::new(), Page::first(7));
    loop {
        let rows = lots::list(rig.pool(), &tenant(), &LotFilter::default(), &page).await.unwrap();
        let Some(last) = rows.last() else { break };
        page.after = Some(last.id);
        paged.extend(rows);
    }
    assert!(all.len() > 50 && all.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert_eq!(paged, all);

    let filter = LotFilter { site: Some("south".into()), qc_status: Some("HOLD".into()), ..LotFilter::default() };
    let held = lots::list(rig.pool(), &tenant(), &filter, &Page::first(1_000)).await.unwrap();
    assert!(!held.is_empty() && held.iter().all(|lot| lot.site == "south" && lot.qc_status.as_deref() == Some("HOLD")));
    let within = |sites: &[&str]| {
        let sites = sites.iter().map(|site| (*site).to_owned()).collect();
        LotFilter { sites: Some(sites), ..LotFilter::default() }
    };
    let both = lots::list(rig.pool(), &tenant(), &within(&["south", "north"]), &Page::first(1_000)).await.unwrap();
    assert_eq!(both, all);
    let one = lots::list(rig.pool(), &tenant(), &within(&["south", "west"]), &Page::first(1_000)).await.unwrap();
    assert_eq!(one, all.iter().filter(|lot| lot.site == "south").cloned().collect::<Vec<_>>());
    assert_eq!(lots::list(rig.pool(), &tenant(), &within(&[]), &Page::first(10)).await.unwrap(), []);
    let other = lotline_domain::id::TenantId::new("bakery").unwrap();
    assert_eq!(lots::list(rig.pool(), &other, &filter, &Page::first(10)).await.unwrap(), []);

    let mut page = Page::first(9);
    let mut offsets = Vec::new();
    loop {
        let rows = audit::list(rig.pool(), &tenant(), &AuditFilter::default(), &page).await.unwrap();
        let Some(last) = rows.last() else { break };
        page.after = Some(last.key());
        offsets.extend(rows.iter().map(|row| row.log_offset));
    }
    assert_eq!(offsets.len(), plant.log.0.len());
    assert!(offsets.windows(2).all(|pair| pair[0] > pair[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_read_on_from_a_position() {
    let mut plant = plant();
    plant.decide("north", register("a", &[]));
    plant.decide("north", register("b", &[]));
    let (_, third) = plant.decide("north", register("c", &[("a", "1"), ("b", "2")]));
    let rig = projected("changes", &plant).await;
    let rows = lots::changed_since(rig.pool(), &tenant(), 0, 0, 1).await.unwrap();
    assert_eq!(rows.len(), 3, "all that one event touched comes together");
    assert!(rows.iter().all(|lot| lot.changed_offset == third && lot.version == 3));
    let a = lots::find_by_code(rig.pool(), &tenant(), "north", "a").await.unwrap().unwrap();
    assert_eq!(a.remaining().to_string(), "99");
    assert_eq!(lots::find(rig.pool(), &tenant(), a.id).await.unwrap(), Some(a));
    assert_eq!(lots::changed_since(rig.pool(), &tenant(), 0, third + 1, 10).await.unwrap(), []);
    let events = audit::changed_since(rig.pool(), &tenant(), 0, 1, 10).await.unwrap();
    assert_eq!(events.iter().map(|row| row.sequence).collect::<Vec<_>>(), [2, 3]);
}

/// A ladder of diamonds: 2^20 paths, 40 lots, each edge once.
#[tokio::test(flavor = "multi_thread")]
async fn lineage_visits_each_lot_once() {
    let mut plant = plant();
    let (root, _) = plant.decide("north", register("top0", &[]));
    for level in 0..20 {
        let top = format!("top{level}");
        plant.decide("north", register(&format!("left{level}"), &[(&top, "1")]));
        plant.decide("north", register(&format!("right{level}"), &[(&top, "1")]));
        let parents = [(&*format!("left{level}"), "1"), (&*format!("right{level}"), "1")];
        plant.decide("north", register(&format!("top{}", level + 1), &parents));
    }
    let (bottom, _) = plant.decide("north", register("bottom", &[("top20", "1")]));
    let rig = projected("lineage", &plant).await;
    let (root, bottom) = (lot_id(&root), lot_id(&bottom));
    let within = LineageLimit { depth: 100, edges: 1_000 };
    let down = genealogy::descendants(rig.pool(), &tenant(), &[root], within).await.unwrap();
    let up = genealogy::ancestors(rig.pool(), &tenant(), &[bottom], within).await.unwrap();
    assert_eq!((down.edges.len(), down.truncated), (81, false));
    assert_eq!((up.edges.len(), up.truncated), (81, false));
    assert_eq!(down.edges.last().map(|last| (last.depth, last.edge.child_id)), Some((41, bottom)));
    assert_eq!(up.edges.last().map(|last| (last.depth, last.edge.parent_id)), Some((41, root)));
    for limit in [LineageLimit { depth: 40, edges: 1_000 }, LineageLimit { depth: 100, edges: 80 }] {
        assert!(genealogy::descendants(rig.pool(), &tenant(), &[root], limit).await.unwrap().truncated);
    }
    let exact = LineageLimit { depth: 41, edges: 81 };
    assert!(!genealogy::descendants(rig.pool(), &tenant(), &[root], exact).await.unwrap().truncated);
    let children = genealogy::children_of(rig.pool(), &tenant(), &[root, bottom], 1).await.unwrap();
    assert_eq!(children.len(), 1);
    let parents = genealogy::parents_of(rig.pool(), &tenant(), &[bottom]).await.unwrap();
    assert_eq!(parents[0].quantity.to_string(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_and_versions_come_newest_first_for_many_at_once() {
    let mut plant = plant();
    let mut ids = Vec::new();
    for code in ["a", "b", "c"] {
        ids.push(lot_id(&plant.decide("north", register(code, &[])).0));
    }
    for outcome in [QcOutcome::Hold, QcOutcome::Pass, QcOutcome::Fail] {
        plant.decide("north", decide_qc("a", outcome));
        plant.decide("north", decide_qc("b", outcome));
    }
    let definition =
        |id: String| Definition { tasks: vec![Task { id, kind: "k".into(), config: Value::Null }], edges: vec![] };
    let draft = Command::DraftPipeline { name: "p".into(), definition: definition("v0".into()) };
    let Event::PipelineDrafted(drafted) = plant.decide("_tenant", draft).0 else { panic!("the draft is accepted") };
    let pipeline_id = drafted.pipeline_id;
    for version in 1..=3 {
        plant.decide("_tenant", Command::PublishPipeline { pipeline_id });
        let definition = definition(format!("v{version}"));
        plant.decide("_tenant", Command::RevisePipeline { pipeline_id, name: "p".into(), definition });
    }
    let rig = projected("many", &plant).await;
    let rows = qc_decisions::by_lots(rig.pool(), &tenant(), &ids, 2).await.unwrap();
    let found: Vec<(Uuid, &str)> = rows.iter().map(|row| (row.lot_id, row.outcome.as_str())).collect();
    assert_eq!(found, [(ids[0], "FAIL"), (ids[0], "PASS"), (ids[1], "FAIL"), (ids[1], "PASS")]);
    let versions = pipelines::versions_of(rig.pool(), &tenant(), &[pipeline_id.0], 2).await.unwrap();
    assert_eq!(versions.iter().map(|row| row.version).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(versions[0].definition.tasks[0].id, "v2");
    assert_eq!(versions[0].definition.hash().to_string(), versions[0].definition_hash);
    let current = pipelines::find(rig.pool(), &tenant(), pipeline_id.0).await.unwrap().unwrap();
    assert!(current.has_unpublished_changes());
    assert_eq!((current.published_version, current.version), (Some(3), 7));
    let first = pipelines::version(rig.pool(), &tenant(), pipeline_id.0, 1).await.unwrap().unwrap();
    assert_eq!(first.definition.tasks[0].id, "v0");
}
