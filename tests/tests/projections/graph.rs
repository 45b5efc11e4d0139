//! The genealogy in memory on real PostgreSQL: it says what the tables say while edges are added, and after a rebuild.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::record::Offset;
use lotline_projections::graph::{
    self, Amount, GraphOptions, GraphState, GraphStatus, LiveGraph, MOST_LOTS, Moment, Question, Source, Trace,
    TracedLot, Ways,
};
use lotline_projections::model::Model;
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::fixture::{FakeLog, Plant, quantity, register, start, tenant};
use crate::rig::{Rig, soon};

/// So that a few commits are merged while others come.
const MERGE_FROM: usize = 25;

/// A graph that is kept up until this is dropped.
struct Kept {
    graph: LiveGraph,
    _running: DropGuard,
}

impl Kept {
    fn new(rig: &Rig) -> Self {
        let (graph, cancel) = (LiveGraph::new(GraphOptions { merge_from: MERGE_FROM }), CancellationToken::new());
        let (pool, progress) = (rig.pool().clone(), rig.progress.clone());
        tokio::spawn(graph.clone().run(pool, tenant(), progress, cancel.clone()));
        Self { graph, _running: cancel.drop_guard() }
    }

    async fn loaded(&self) {
        let until = soon();
        while self.graph.status().state != GraphState::Following {
            assert!(Instant::now() < until, "the graph is loaded: {:?}", self.graph.status());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn trace(&self, rig: &Rig, lot: Uuid, ways: Ways, seen: Offset) -> Trace {
        let seen = Position::at(TopicKind::Ledger, 0, seen);
        let asked = Question { start: lot, ways, moment: Moment::default(), most: MOST_LOTS, seen: &seen };
        let found = self.graph.trace(rig.pool(), &rig.progress, &tenant(), asked, soon()).await.unwrap();
        found.expect("the lot is there")
    }
}

async fn tables(pool: &PgPool, lot: Uuid, ways: Ways, moment: Moment) -> Trace {
    let found = graph::from_tables(pool, &tenant(), lot, ways, moment, MOST_LOTS).await.unwrap();
    let found = found.expect("the lot is there");
    assert_eq!(found.source, Source::Tables);
    found
}

/// All that an answer says, in order.
fn told(trace: &Trace) -> Vec<String> {
    let line = |lot: &TracedLot| {
        let (site, amount) = (trace.site_of(lot), lot.amount.map(Amount::to_decimal));
        format!("{:?} {} {} {site} {amount:?} {:?} {}", lot.direction, lot.depth, lot.id, lot.dimension, lot.is_end)
    };
    trace.lots.iter().map(line).collect()
}

async fn lots(pool: &PgPool) -> Vec<Uuid> {
    sqlx::query_scalar("SELECT id FROM read.lots ORDER BY changed_offset").fetch_all(pool).await.unwrap()
}

/// Ids and smallest depths by plain recursive SQL.
async fn recursive(pool: &PgPool, lot: Uuid, ways: Ways) -> BTreeMap<Uuid, u32> {
    let (next, from) = if ways == Ways::Forward { ("child_id", "parent_id") } else { ("parent_id", "child_id") };
    let query = format!(
        "WITH RECURSIVE way (id, depth) AS (
            SELECT $1::UUID, 0 UNION SELECT edge.{next}, way.depth + 1 FROM way JOIN read.genealogy AS edge ON edge.{from} = way.id
         ) SELECT id, MIN(depth) FROM way WHERE depth > 0 GROUP BY id"
    );
    let query = sqlx::query_as::<_, (Uuid, i32)>(sqlx::AssertSqlSafe(query)).bind(lot);
    query.fetch_all(pool).await.unwrap().into_iter().map(|(id, depth)| (id, depth as u32)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_tables_agree_while_edges_are_added() {
    let rig = Rig::new("graph").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    let worker = rig.ledger(&plant.log);
    plant.decide("north", register("Q0", &[]));
    for number in 1..12 {
        let parents: Vec<(String, String)> =
            (1..=number.min(2)).map(|back| (format!("Q{}", number - back), format!("{number}.{back}"))).collect();
        let parents: Vec<_> = parents.iter().map(|(lot, amount)| (lot.as_str(), amount.as_str())).collect();
        plant.decide("north", register(&format!("Q{number}"), &parents));
    }
    plant.day("north", 40);
    rig.ledger_at(plant.log.0.next()).await;
    let kept = Kept::new(&rig);
    kept.loaded().await;
    let mut edges = kept.graph.status().edges;
    assert!(edges > 10, "{edges} edges were loaded");
    for round in 0..6 {
        plant.day(if round % 2 == 0 { "north" } else { "south" }, 30);
        let next = plant.log.0.next();
        rig.ledger_at(next).await;
        for lot in lots(rig.pool()).await.into_iter().step_by(7) {
            for ways in [Ways::Forward, Ways::Backward, Ways::Both] {
                let found = kept.trace(&rig, lot, ways, next).await;
                assert_eq!((found.source, &found.gaps), (Source::Memory, &vec![]));
                assert_eq!(told(&found), told(&tables(rig.pool(), lot, ways, Moment::default()).await));
                if ways != Ways::Both {
                    let shown = found.lots.iter().map(|lot| (lot.id, lot.depth)).collect::<BTreeMap<_, _>>();
                    assert_eq!(shown, recursive(rig.pool(), lot, ways).await);
                }
            }
        }
        let now = kept.graph.status().edges;
        assert!(now > edges, "round {round} has added edges");
        edges = now;
    }
    let rows = rig.count("SELECT COUNT(*) FROM read.genealogy").await;
    assert_eq!(edges as i64, rows, "none twice, none lost");
    let until = soon();
    loop {
        // An eighth of what there is may wait; the rest has been merged on the way.
        let GraphStatus { tail, lots, edges, .. } = kept.graph.status();
        if tail < MERGE_FROM.max((lots + edges) / 8) {
            break;
        }
        assert!(Instant::now() < until, "the tail is merged: {tail} of {lots} and {edges}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    worker.stop().await;
}

/// Each answer has what its position promises, whoever adds meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_before_the_position_is_in_the_answer() {
    let rig = Rig::new("graph-wait").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    let worker = rig.ledger(&plant.log);
    plant.decide("north", register("root", &[]));
    rig.ledger_at(plant.log.0.next()).await;
    let root = lots(rig.pool()).await[0];
    let kept = Kept::new(&rig);
    for number in 1..=60 {
        plant.decide("north", register(&format!("N{number}"), &[("root", "1")]));
        let next = plant.log.0.next();
        let at = Position::at(TopicKind::Ledger, 0, next);
        rig.progress.wait_for(&[Model::Genealogy, Model::Lots], &at, soon()).await.unwrap();
        let found = kept.trace(&rig, root, Ways::Forward, next).await;
        assert_eq!(found.lots.len(), number);
        assert!(found.lots.iter().all(|lot| lot.amount.map(Amount::to_decimal) == Some(1.into())));
    }
    kept.loaded().await;
    worker.stop().await;
}

/// The rebuilt generation has edges that the old one lacked; the graph takes them over, and goes on with what comes after.
#[tokio::test(flavor = "multi_thread")]
async fn a_swap_of_generations_is_noticed() {
    let rig = Rig::new("graph-swap").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    let worker = rig.ledger(&plant.log);
    plant.day("north", 100);
    rig.ledger_at(plant.log.0.next()).await;
    let whole = rig.count("SELECT COUNT(*) FROM read.genealogy").await as usize;
    sqlx::query("DELETE FROM read.genealogy WHERE log_offset % 2 = 0").execute(rig.pool()).await.unwrap();
    let kept = Kept::new(&rig);
    kept.loaded().await;
    assert!((1..whole).contains(&kept.graph.status().edges), "some are missing");
    rig.rebuild(plant.log.clone(), &[Model::Genealogy]).run(&mut |_| {}).await.unwrap();
    let until = soon();
    while kept.graph.status().edges != whole {
        assert!(Instant::now() < until, "the graph is loaded anew: {:?}", kept.graph.status());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    plant.day("north", 20);
    let next = plant.log.0.next();
    rig.ledger_at(next).await;
    for lot in lots(rig.pool()).await.into_iter().step_by(5) {
        let found = kept.trace(&rig, lot, Ways::Both, next).await;
        assert_eq!(found.source, Source::Memory);
        assert_eq!(told(&found), told(&tables(rig.pool(), lot, Ways::Both, Moment::default()).await));
    }
    worker.stop().await;
}

struct Edge {
    child: Uuid,
    parent: Uuid,
    occurred_at: DateTime<Utc>,
    decided_at: DateTime<Utc>,
}

/// Against a walk over all edges in a list, with times taken from the lots.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_answered_as_it_was() {
    let rig = Rig::new("graph-past").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    let worker = rig.ledger(&plant.log);
    plant.day("north", 120);
    rig.ledger_at(plant.log.0.next()).await;
    let rows: Vec<(Uuid, Uuid, DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(
        "SELECT edge.child_id, edge.parent_id, lot.occurred_at, lot.decided_at
         FROM read.genealogy AS edge JOIN read.lots AS lot ON lot.id = edge.child_id",
    )
    .fetch_all(rig.pool())
    .await
    .unwrap();
    let edges: Vec<Edge> = rows
        .into_iter()
        .map(|(child, parent, occurred_at, decided_at)| Edge { child, parent, occurred_at, decided_at })
        .collect();
    let at = |events: i64| Some(start().plus_micros(events * 1_000).to_utc());
    let root: Uuid = sqlx::query_scalar("SELECT parent_id FROM read.genealogy ORDER BY log_offset LIMIT 1")
        .fetch_one(rig.pool())
        .await
        .unwrap();
    let mut sizes = BTreeSet::new();
    for events in [0, 20, 50, 90, 500] {
        let as_of = at(events).map(|time| time - chrono::TimeDelta::seconds(60));
        for moment in [Moment { as_of, known_at: None }, Moment { as_of: None, known_at: at(events) }] {
            let mut reached = BTreeSet::from([root]);
            loop {
                let counts = |edge: &&Edge| {
                    moment.as_of.is_none_or(|time| edge.occurred_at <= time)
                        && moment.known_at.is_none_or(|time| edge.decided_at <= time)
                };
                let next = edges.iter().filter(counts).filter(|edge| reached.contains(&edge.parent));
                let before = reached.len();
                reached.extend(next.map(|edge| edge.child).collect::<Vec<_>>());
                if reached.len() == before {
                    break;
                }
            }
            let found = tables(rig.pool(), root, Ways::Forward, moment).await;
            let found: BTreeSet<Uuid> = found.lots.iter().map(|lot| lot.id).chain([root]).collect();
            assert_eq!(found, reached, "{moment:?}");
            sizes.insert(found.len());
        }
    }
    assert!(sizes.len() > 3, "the past differs: {sizes:?}");
    let kept = Kept::new(&rig);
    kept.loaded().await;
    let (seen, moment) = (Position::default(), Moment { as_of: at(0), known_at: None });
    let asked = Question { start: root, ways: Ways::Forward, moment, most: MOST_LOTS, seen: &seen };
    let found = kept.graph.trace(rig.pool(), &rig.progress, &tenant(), asked, soon()).await.unwrap().unwrap();
    assert_eq!(found.source, Source::Tables, "times are not in memory");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_answer_where_there_is_no_graph_and_nobody_sees_another_tenant() {
    let rig = Rig::new("graph-off").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    let worker = rig.ledger(&plant.log);
    plant.decide("north", register("milk", &[]));
    plant.decide("north", register("curd", &[("milk", "12.5")]));
    rig.ledger_at(plant.log.0.next()).await;
    assert_eq!(quantity("12.5").unit, "KGM");
    let milk = lots(rig.pool()).await[0];
    let seen = Position::default();
    let asked = Question { start: milk, ways: Ways::Both, moment: Moment::default(), most: MOST_LOTS, seen: &seen };
    let off = LiveGraph::off();
    let found = off.trace(rig.pool(), &rig.progress, &tenant(), asked, soon()).await.unwrap().unwrap();
    assert_eq!((found.source, found.lots.len(), found.gaps.len()), (Source::Tables, 1, 0));
    let (kept, other) = (Kept::new(&rig), TenantId::new("brewery").unwrap());
    kept.loaded().await;
    assert_eq!(kept.graph.status().lots, 2);
    assert!(off.trace(rig.pool(), &rig.progress, &other, asked, soon()).await.unwrap().is_none());
    let (strange, cancel) = (LiveGraph::new(GraphOptions::default()), CancellationToken::new());
    let progress = lotline_projections::progress::Progress::new(rig.pool().clone(), other.clone());
    tokio::spawn(strange.clone().run(rig.pool().clone(), other, progress, cancel.clone()));
    let until = soon();
    while strange.status().state != GraphState::Following {
        assert!(Instant::now() < until, "an empty graph is loaded too");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(strange.status().lots, 0);
    cancel.cancel();
    worker.stop().await;
}
