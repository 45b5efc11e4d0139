//! Steps of the story as GraphQL mutations.

use std::collections::HashMap;

use lotline_domain::command::{DeclareSignal, QuantityInput, RecordQcDecision, RegisterLot};
use lotline_domain::id::SiteId;
use lotline_domain::lot::LotRef;
use lotline_domain::pipeline::Definition;
use lotline_domain::signal::{Address, ModbusTable, WordOrder};
use serde_json::{Value, json};

use super::story::step::Action;

/// A mutation but for its idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mutation {
    /// Name of the field.
    pub(super) field: &'static str,
    /// The document, which takes `$input`.
    pub(super) query: &'static str,
    /// Value of `$input`.
    pub(super) input: Value,
}

macro_rules! document {
    ($field:literal, $input:literal, $more:literal) => {
        concat!(
            "mutation($input: ",
            $input,
            "!) { ",
            $field,
            "(input: $input) { userErrors { code message } ",
            $more,
            "} }"
        )
    };
}

/// The mutation of an action; nothing when it names a pipeline that has no id. `pipelines` has global ids by name.
pub(super) fn of_action(
    site: &SiteId,
    action: &Action,
    pipelines: &HashMap<String, String>,
    reason: Option<&str>,
) -> Option<Mutation> {
    let mut mutation = match action {
        Action::RegisterLot(lot) => register_lot(site, lot),
        Action::RecordQcDecision(decision) => record_qc_decision(site, decision),
        Action::DraftPipeline { name, definition } => Mutation {
            field: "draftPipeline",
            query: document!("draftPipeline", "DraftPipelineInput", "pipelineId "),
            input: json!({ "name": name, "definition": graph(definition) }),
        },
        Action::RevisePipeline { name, definition } => Mutation {
            field: "revisePipeline",
            query: document!("revisePipeline", "RevisePipelineInput", ""),
            input: json!({ "pipelineId": pipelines.get(name)?, "name": name, "definition": graph(definition) }),
        },
        Action::PublishPipeline { name } => Mutation {
            field: "publishPipeline",
            query: document!("publishPipeline", "PipelineInput", ""),
            input: json!({ "pipelineId": pipelines.get(name)? }),
        },
    };
    mutation.input["reason"] = json!(reason);
    Some(mutation)
}

/// The declaration of a signal.
pub(super) fn declare_signal(site: &SiteId, signal: &DeclareSignal) -> Mutation {
    let Address::Modbus { unit, table, address, word_order } = &signal.address;
    let table = match table {
        ModbusTable::Coils => "COILS",
        ModbusTable::DiscreteInputs => "DISCRETE_INPUTS",
        ModbusTable::HoldingRegisters => "HOLDING_REGISTERS",
        ModbusTable::InputRegisters => "INPUT_REGISTERS",
    };
    let word_order = match word_order {
        WordOrder::Abcd => "ABCD",
        WordOrder::Cdab => "CDAB",
        WordOrder::Badc => "BADC",
        WordOrder::Dcba => "DCBA",
    };
    Mutation {
        field: "declareSignal",
        query: document!("declareSignal", "DeclareSignalInput", ""),
        input: json!({
            "site": site.as_str(),
            "name": signal.name,
            "description": signal.description,
            "unit": signal.unit,
            "dataType": signal.data_type.as_str().to_uppercase(),
            "device": signal.device,
            "address": { "modbus": { "unit": unit, "table": table, "address": address, "wordOrder": word_order } },
            "scale": signal.scale,
            "offset": signal.offset,
        }),
    }
}

fn register_lot(site: &SiteId, lot: &RegisterLot) -> Mutation {
    let parent = |input: &lotline_domain::command::ParentInput| json!({ "lot": reference(&input.lot), "quantity": quantity(&input.quantity) });
    let attribute = |(name, value): (&String, &String)| json!({ "name": name, "value": value });
    Mutation {
        field: "registerLot",
        query: document!("registerLot", "RegisterLotInput", ""),
        input: json!({
            "site": site.as_str(),
            "code": lot.code,
            "lotType": lot.lot_type.as_str().to_uppercase(),
            "product": lot.product,
            "quantity": quantity(&lot.quantity),
            "temperatureC": lot.temperature_c,
            "supplierLot": lot.supplier_lot,
            "expiresOn": lot.expires_on,
            "location": lot.location,
            "attributes": lot.attributes.iter().map(attribute).collect::<Vec<_>>(),
            "parents": lot.parents.iter().map(parent).collect::<Vec<_>>(),
        }),
    }
}

fn record_qc_decision(site: &SiteId, decision: &RecordQcDecision) -> Mutation {
    let measurements = decision
        .measurements
        .iter()
        .map(|measured| json!({ "name": measured.name, "value": measured.value, "unit": measured.unit }));
    let checklist =
        decision.checklist.iter().map(|answered| json!({ "item": answered.item, "answer": answered.answer }));
    Mutation {
        field: "recordQcDecision",
        query: document!("recordQcDecision", "RecordQcDecisionInput", ""),
        input: json!({
            "site": site.as_str(),
            "lot": reference(&decision.lot),
            "gate": decision.gate,
            "outcome": decision.outcome.as_str(),
            "measurements": measurements.collect::<Vec<_>>(),
            "checklist": checklist.collect::<Vec<_>>(),
        }),
    }
}

fn graph(definition: &Definition) -> Value {
    let tasks = definition.tasks.iter().map(|task| json!({ "id": task.id, "kind": task.kind, "config": task.config }));
    let edges = definition.edges.iter().map(|edge| json!({ "from": edge.from, "to": edge.to }));
    json!({ "tasks": tasks.collect::<Vec<_>>(), "edges": edges.collect::<Vec<_>>() })
}

fn quantity(given: &QuantityInput) -> Value {
    json!({ "value": given.value, "unit": given.unit })
}

fn reference(lot: &LotRef) -> Value {
    match lot {
        LotRef::Code(code) => json!({ "code": code }),
        LotRef::Id(id) => json!({ "id": id }),
    }
}
