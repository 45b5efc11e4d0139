//! Who may ask for what: one table of every root field, looked at before any resolver runs.
//!
//! [`TABLE`] names what each field of Query, Mutation and Subscription takes. [`demands`] reads from a parsed operation what it takes altogether,
//! [`Demand::check`] compares one demand with what the ledger says of the actor. A field that is not in the table is refused, and a test
//! finds it.
//!
//! Roles can hold at single sites. A field with a `site` is asked for there. Without one it takes the permission somewhere, and the resolver
//! narrows the answer to where that is ([`super::sight`]). Mutations are judged by the writer, whose refusals stand in the ledger; the table
//! names what it will ask for.

use async_graphql::Value as Given;
use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{ID, Name, Variables};
use lotline_domain::access::actor::Actor;
use lotline_domain::access::grant::PipelineRight;
use lotline_domain::access::refusal::Denial;
use lotline_domain::access::role::Permission;
use lotline_domain::access::state::AccessState;
use lotline_domain::id::{PipelineId, SiteId};
use lotline_domain::timestamp::Timestamp;

use super::global_id::NodeId;
use crate::auth::proof::Asked;

/// What a root field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// To have come in.
    Admitted,
    /// A permission at the argument `site`; without it at some site, and the answer has nothing of others.
    AtSite(Permission),
    /// A permission at the site that the argument `filter.stream` names; everywhere without it.
    AtStream(Permission),
    /// A permission everywhere.
    Everywhere(Permission),
    /// LOOK_UP everywhere or VIEW on some pipeline; the answer has nothing of others.
    ByGrant,
    /// For each id in `id` or `ids`: of a signal LOOK_UP at its site, of a lot, a decision, an alert, a run or a hold LOOK_UP at some site, and those
    /// of others are not found; of a product, partner or scenario, which are for all sites, LOOK_UP at some site; of a pipeline VIEW on it, of an event VALIDATE
    /// everywhere, of anything else LOOK_UP everywhere.
    ById,
    /// To have come in; what the command needs, mostly this permission, is for the writer to judge and to record.
    Command(Permission),
}

/// A root of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// What can be read.
    Query,
    /// What can be changed.
    Mutation,
    /// What can be followed.
    Subscription,
}

impl Root {
    /// As an operation names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }

    fn of(kind: OperationType) -> Self {
        match kind {
            OperationType::Query => Self::Query,
            OperationType::Mutation => Self::Mutation,
            OperationType::Subscription => Self::Subscription,
        }
    }
}

/// Every root field.
pub const TABLE: &[(Root, &str, Rule)] = {
    use Permission::{Administer, Decide, Engineer, LookUp, Release, Validate};
    use Root::{Mutation, Query, Subscription};
    use Rule::{Admitted, AtSite, AtStream, ByGrant, ById, Command, Everywhere};
    &[
        (Query, "__schema", Admitted),
        (Query, "__type", Admitted),
        (Query, "alert", AtSite(LookUp)),
        (Query, "alerts", AtSite(LookUp)),
        (Query, "apiKeys", Everywhere(Administer)),
        (Query, "auditTrail", AtStream(Validate)),
        (Query, "findLots", AtSite(LookUp)),
        (Query, "hold", AtSite(LookUp)),
        (Query, "holds", AtSite(LookUp)),
        (Query, "lot", AtSite(LookUp)),
        (Query, "lotGenealogy", Everywhere(Validate)),
        (Query, "lots", AtSite(LookUp)),
        (Query, "massBalance", AtSite(Validate)),
        (Query, "me", Admitted),
        (Query, "node", ById),
        (Query, "nodes", ById),
        (Query, "partners", AtSite(LookUp)),
        (Query, "pipeline", ById),
        (Query, "pipelines", ByGrant),
        (Query, "products", AtSite(LookUp)),
        (Query, "projectionStatus", Everywhere(LookUp)),
        (Query, "qcDecisions", AtSite(LookUp)),
        (Query, "recallScope", AtSite(Validate)),
        (Query, "run", AtSite(LookUp)),
        (Query, "runs", AtSite(LookUp)),
        (Query, "scenario", ById),
        (Query, "scenarioDiff", ById),
        (Query, "scenarios", AtSite(LookUp)),
        (Query, "shipment", AtSite(LookUp)),
        (Query, "shipments", AtSite(LookUp)),
        (Query, "signalHistory", ById),
        (Query, "signalLatest", ById),
        (Query, "signals", AtSite(LookUp)),
        (Query, "sites", Admitted),
        (Query, "skippedEvents", Everywhere(Validate)),
        (Query, "tenant", Admitted),
        (Query, "trace", AtSite(Validate)),
        (Query, "users", Everywhere(Validate)),
        (Mutation, "abortRun", Command(Decide)),
        (Mutation, "acknowledgeAlert", Command(Decide)),
        (Mutation, "adjustLot", Command(Decide)),
        (Mutation, "advanceRun", Command(Decide)),
        (Mutation, "archivePipeline", Command(Engineer)),
        (Mutation, "changeUserProfile", Command(Administer)),
        (Mutation, "completeRun", Command(Decide)),
        (Mutation, "deactivateUser", Command(Administer)),
        (Mutation, "decideGate", Command(Decide)),
        (Mutation, "declareSignal", Command(Engineer)),
        (Mutation, "definePartner", Command(Engineer)),
        (Mutation, "defineProduct", Command(Engineer)),
        (Mutation, "draftPipeline", Command(Engineer)),
        (Mutation, "draftScenario", Command(Engineer)),
        (Mutation, "expireLot", Command(Decide)),
        (Mutation, "holdRun", Command(Decide)),
        (Mutation, "importMasterData", Command(Engineer)),
        (Mutation, "inviteUser", Command(Administer)),
        (Mutation, "issueApiKey", Command(Administer)),
        (Mutation, "issuePasswordReset", Command(Administer)),
        (Mutation, "linkLotToRun", Command(Decide)),
        (Mutation, "mergeLots", Command(Decide)),
        (Mutation, "moveLot", Command(Decide)),
        (Mutation, "placeHold", Command(Decide)),
        (Mutation, "publishPipeline", Command(Engineer)),
        (Mutation, "publishScenario", Command(Engineer)),
        (Mutation, "reactivateUser", Command(Administer)),
        (Mutation, "receiveLot", Command(Decide)),
        (Mutation, "receiveLots", Command(Decide)),
        (Mutation, "recordQcDecision", Command(Decide)),
        (Mutation, "registerLot", Command(Decide)),
        (Mutation, "registerSite", Command(Administer)),
        (Mutation, "releaseHold", Command(Release)),
        (Mutation, "releaseHoldLots", Command(Release)),
        (Mutation, "resolveAlert", Command(Decide)),
        (Mutation, "resumeRun", Command(Decide)),
        (Mutation, "retireScenario", Command(Engineer)),
        (Mutation, "retryProjection", Command(Administer)),
        (Mutation, "revisePipeline", Command(Engineer)),
        (Mutation, "reviseScenario", Command(Engineer)),
        (Mutation, "revokeApiKey", Command(Administer)),
        (Mutation, "reworkLots", Command(Decide)),
        (Mutation, "sampleLot", Command(Decide)),
        (Mutation, "scrapLot", Command(Decide)),
        (Mutation, "setPipelineAccess", Command(Engineer)),
        (Mutation, "setRoles", Command(Administer)),
        (Mutation, "shipLots", Command(Decide)),
        (Mutation, "skipProjectionEvent", Command(Administer)),
        (Mutation, "splitLot", Command(Decide)),
        (Mutation, "startRun", Command(Decide)),
        (Mutation, "transformLots", Command(Decide)),
        (Mutation, "unlinkLotFromRun", Command(Decide)),
        (Subscription, "alertChanged", AtSite(LookUp)),
        (Subscription, "alertRaised", AtSite(LookUp)),
        (Subscription, "auditTrail", AtStream(Validate)),
        (Subscription, "holdChanged", AtSite(LookUp)),
        (Subscription, "lotChanged", AtSite(LookUp)),
        (Subscription, "phaseAdvanced", AtSite(LookUp)),
        (Subscription, "pipelineChanged", ByGrant),
        (Subscription, "qcDecisionRecorded", AtSite(LookUp)),
        (Subscription, "runChanged", AtSite(LookUp)),
        (Subscription, "signalValues", ById),
    ]
};

/// What one field of an operation takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The field, as the schema names it.
    pub field: String,
    need: Need,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    Permission(Permission, Option<SiteId>),
    /// At one site at least.
    Somewhere(Permission),
    Pipeline(PipelineId),
    /// On one pipeline at least.
    SomePipeline,
    /// The field is not in the table.
    Unlisted,
}

impl Demand {
    /// The field as the table names it; nothing for a name that a client made up.
    pub fn listed(&self) -> Option<&'static str> {
        TABLE.iter().map(|(_, listed, _)| *listed).find(|listed| *listed == self.field)
    }

    /// Whether an actor has it.
    ///
    /// # Errors
    /// The sentence that says what is missing.
    pub fn check(&self, access: &AccessState, actor: Actor, now: Timestamp) -> Result<(), String> {
        let field = &self.field;
        let (missing, verdict): (String, Result<(), Denial>) = match &self.need {
            Need::Unlisted => return Err(format!("'{field}' is no field that anybody may ask for")),
            Need::Permission(permission, None) => {
                (format!("{permission} everywhere"), access.may(actor, *permission, None, now))
            }
            Need::Permission(permission, Some(site)) => {
                (format!("{permission} at site '{site}'"), access.may(actor, *permission, Some(site), now))
            }
            Need::Somewhere(permission) => {
                (format!("{permission} at a site"), access.sites_of(actor, *permission, now).map(|_| ()))
            }
            Need::SomePipeline => {
                let verdict = access.pipelines_of(actor, PipelineRight::View, now).map(|_| ());
                ("LOOK_UP everywhere or the right VIEW on a pipeline".to_owned(), verdict)
            }
            Need::Pipeline(id) => {
                let verdict = access.may_on_pipeline(actor, PipelineRight::View, *id, now);
                (format!("LOOK_UP everywhere or the right VIEW on pipeline {id}"), verdict)
            }
        };
        verdict.map_err(|denial| format!("'{field}' needs {missing}: {denial}"))
    }
}

/// What an operation takes, field by field. Repeated fields with the same arguments count once.
pub fn demands(document: &ExecutableDocument, operation: &OperationDefinition, variables: &Variables) -> Vec<Demand> {
    let mut reading = Reading { document, operation, variables, found: Vec::new() };
    reading.selections(&operation.selection_set.node);
    reading.found
}

/// The mutations of an operation, each with its `input`; nothing for other operations.
pub fn asked(document: &ExecutableDocument, operation: &OperationDefinition, variables: &Variables) -> Vec<Asked> {
    let reading = Reading { document, operation, variables, found: Vec::new() };
    let mut asked = Vec::new();
    if operation.ty == OperationType::Mutation {
        reading.inputs(&operation.selection_set.node, &mut asked);
    }
    asked
}

struct Reading<'a> {
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    found: Vec<Demand>,
}

impl Reading<'_> {
    /// Fragments have been found to be finite before.
    fn selections(&mut self, set: &SelectionSet) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.field(&field.node),
                Selection::InlineFragment(fragment) => self.selections(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let document = self.document;
                    if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                        self.selections(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }

    fn inputs(&self, set: &SelectionSet, asked: &mut Vec<Asked>) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) if field.node.name.node.as_str() == "__typename" => {}
                Selection::Field(field) => {
                    let input = self.argument(&field.node, "input").into_json().unwrap_or_default();
                    asked.push(Asked { mutation: field.node.name.node.to_string(), input });
                }
                Selection::InlineFragment(fragment) => self.inputs(&fragment.node.selection_set.node, asked),
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) {
                        self.inputs(&fragment.node.selection_set.node, asked);
                    }
                }
            }
        }
    }

    fn field(&mut self, field: &Field) {
        let name = field.name.node.as_str();
        if name == "__typename" {
            return;
        }
        let listed = TABLE.iter().find(|(root, listed, _)| *root == Root::of(self.operation.ty) && *listed == name);
        let needs = match listed.map(|(_, _, rule)| *rule) {
            None => vec![Need::Unlisted],
            Some(Rule::Admitted | Rule::Command(_)) => Vec::new(),
            Some(Rule::Everywhere(permission)) => vec![Need::Permission(permission, None)],
            Some(Rule::AtSite(permission)) => {
                vec![match self.argument(field, "site") {
                    Given::Null => Need::Somewhere(permission),
                    given => Need::Permission(permission, site(&given)),
                }]
            }
            Some(Rule::ByGrant) => vec![Need::SomePipeline],
            Some(Rule::AtStream(permission)) => {
                let filter = self.argument(field, "filter");
                let stream = if let Given::Object(filter) = &filter { filter.get("stream") } else { None };
                vec![Need::Permission(permission, stream.and_then(site))]
            }
            Some(Rule::ById) => {
                let (one, many) = (self.argument(field, "id"), self.argument(field, "ids"));
                let mut needs: Vec<Need> = ids(&one).into_iter().chain(ids(&many)).map(need_of).collect();
                if needs.is_empty() {
                    needs.push(Need::Permission(Permission::LookUp, None));
                }
                needs
            }
        };
        for need in needs {
            let demand = Demand { field: name.to_owned(), need };
            if !self.found.contains(&demand) {
                self.found.push(demand);
            }
        }
    }

    /// An argument with its variables put in, as the resolver will see it. Given twice it is none: which one counts is not for here.
    fn argument(&self, field: &Field, name: &str) -> Given {
        let mut given = field.arguments.iter().filter(|(argument, _)| argument.node.as_str() == name);
        let (Some((_, value)), None) = (given.next(), given.next()) else { return Given::Null };
        let value = value.node.clone().into_const_with(|name| Ok::<_, ()>(self.variable(&name)));
        value.unwrap_or(Given::Null)
    }

    fn variable(&self, name: &Name) -> Given {
        let defined = self.operation.variable_definitions.iter().find(|defined| defined.node.name.node == *name);
        let default =
            || defined.and_then(|defined| defined.node.default_value.as_ref().map(|value| value.node.clone()));
        self.variables.get(name).cloned().or_else(default).unwrap_or(Given::Null)
    }
}

fn site(value: &Given) -> Option<SiteId> {
    let Given::String(text) = value else { return None };
    SiteId::new(text.as_str()).ok()
}

fn ids(value: &Given) -> Vec<&Given> {
    match value {
        Given::Null => Vec::new(),
        Given::List(values) => values.iter().collect(),
        one => vec![one],
    }
}

/// What it takes to see the thing of an id. A text that is no id is seen by nobody; the answer says what is wrong with it.
fn need_of(id: &Given) -> Need {
    let decoded = if let Given::String(text) = id { NodeId::decode(&ID(text.clone())) } else { None };
    match decoded {
        Some(NodeId::Signal(key)) => Need::Permission(Permission::LookUp, SiteId::new(key.site).ok()),
        Some(NodeId::Pipeline(id)) => Need::Pipeline(PipelineId(id)),
        Some(NodeId::AuditEntry(_)) => Need::Permission(Permission::Validate, None),
        Some(
            NodeId::Lot(_)
            | NodeId::QcDecision(_)
            | NodeId::Product(_)
            | NodeId::Partner(_)
            | NodeId::Scenario(_)
            | NodeId::Run(_)
            | NodeId::Alert(_)
            | NodeId::Hold(_),
        ) => Need::Somewhere(Permission::LookUp),
        None => Need::Permission(Permission::LookUp, None),
    }
}

#[cfg(test)]
mod tests;
