//! The GraphQL schema: one file per topic, merged into three roots here.
//!
//! To add a field on an existing column: one line in the topic's file, then `make schema` (or the snapshot test with `UPDATE_SCHEMA=1`).

pub mod alert;
pub mod audit;
pub mod authority;
pub mod balance;
pub mod connection;
pub mod failure;
pub mod flow;
pub mod genealogy;
pub mod global_id;
pub mod hold;
pub mod live;
pub mod loaders;
pub mod lookup;
pub mod lot;
pub mod master;
pub mod mutation;
pub mod node;
pub mod payload;
pub mod people;
pub mod pipeline;
pub mod qc;
pub mod reading;
pub mod run;
pub mod scalar;
pub mod scenario;
pub mod scope;
pub mod sight;
pub mod signal;
pub mod status;
pub mod trace;
pub mod transformation;

use async_graphql::{MergedObject, MergedSubscription, Schema};

use crate::config::Limits;
use crate::guard::cost::CostLimit;
use crate::guard::document::MAX_LEVELS;

/// What can be read.
#[derive(MergedObject, Default)]
pub struct Query(
    lot::LotQuery,
    lookup::LookupQuery,
    flow::FlowQuery,
    genealogy::GenealogyQuery,
    trace::TraceQuery,
    balance::BalanceQuery,
    qc::QcQuery,
    alert::AlertQuery,
    pipeline::PipelineQuery,
    scenario::ScenarioQuery,
    run::RunQuery,
    hold::HoldQuery,
    signal::SignalQuery,
    master::MasterQuery,
    audit::AuditQuery,
    node::NodeQuery,
    people::PeopleQuery,
    status::StatusQuery,
);

/// What can be changed. Every mutation is idempotent under its `idempotencyKey`.
#[derive(MergedObject, Default)]
pub struct Mutation(
    mutation::lot::LotMutation,
    mutation::transformation::TransformationMutation,
    mutation::stock::StockMutation,
    mutation::flow::FlowMutation,
    mutation::qc::QcMutation,
    mutation::alert::AlertMutation,
    mutation::pipeline::PipelineMutation,
    mutation::scenario::ScenarioMutation,
    mutation::run::RunMutation,
    mutation::hold::HoldMutation,
    mutation::signal::SignalMutation,
    mutation::master::MasterMutation,
    mutation::import::ImportMutation,
    mutation::projection::ProjectionMutation,
    mutation::access::AccessMutation,
    mutation::people::PeopleMutation,
);

/// What can be followed. Each item comes after its commit and carries the position from which to go on.
#[derive(MergedSubscription, Default)]
pub struct Subscription(
    lot::LotSubscription,
    qc::QcSubscription,
    alert::AlertSubscription,
    pipeline::PipelineSubscription,
    run::RunSubscription,
    hold::HoldSubscription,
    signal::SignalSubscription,
    audit::AuditSubscription,
);

/// The schema with its roots.
pub type LotlineSchema = Schema<Query, Mutation, Subscription>;

/// Builds the schema. Resolvers find all they need in the request's [`scope::Scope`].
pub fn build(limits: &Limits) -> LotlineSchema {
    let mut builder = Schema::build(Query::default(), Mutation::default(), Subscription::default())
        .limit_recursive_depth(MAX_LEVELS + 1)
        .extension(CostLimit { limit: limits.cost });
    if !limits.suggestions {
        builder = builder.disable_suggestions();
    }
    if !limits.introspection {
        builder = builder.disable_introspection();
    }
    builder.finish()
}

/// The schema in the schema definition language, as checked in under `api/schema.graphql`.
pub fn sdl() -> String {
    build(&Limits::default()).sdl()
}

#[cfg(test)]
mod tests;
