//! What is tried on each root field with the things of another tenant.

use lotline_tests::client::{key, lot};
use lotline_tests::operations;
use serde_json::{Value, json};

use super::questions;
use super::things::Things;
use crate::runs::process;
use crate::site::SITE;

/// What has to become of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The answer is the one to the same about what nobody has.
    AsNobodys,
    /// Whatever comes is this tenant's.
    OwnOnly,
    /// The same, and something comes.
    Told,
}

pub(crate) struct Try {
    pub(crate) kind: Kind,
    pub(crate) query: String,
    pub(crate) variables: Value,
}

/// What is tried with some things. To add a field: what it takes of ids, codes, filters, cursors and positions; else that it shows its own.
pub(crate) fn tries(root: &str, field: &str, some: &Things, own: &Things) -> Vec<Try> {
    match root {
        "query" => questions::queries(field, some),
        "mutation" => mutations(field, some, own),
        _ => subscriptions(field, some, own),
    }
}

fn mutation(field: &str, kind: &str, given: Value) -> Try {
    let mut input = given;
    if input.get("idempotencyKey").is_none() {
        input["idempotencyKey"] = json!(key());
    }
    let shown = if kind == "ImportMasterDataInput" {
        "created changed refused lines { outcome error } userErrors { field code message }"
    } else if kind == "InviteUserInput" || kind == "IssueApiKeyInput" || kind == "IssuePasswordResetInput" {
        "userErrors { field code message }"
    } else {
        "replayed userErrors { field code message }"
    };
    let query = format!("mutation($input: {kind}!) {{ {field}(input: $input) {{ {shown} }} }}");
    Try { kind: Kind::AsNobodys, query, variables: json!({ "input": input }) }
}

fn mutations(field: &str, some: &Things, own: &Things) -> Vec<Try> {
    let make = |kind: &str, given: Value| mutation(field, kind, given);
    match field {
        "registerLot" => {
            let fresh = || format!("fresh-{}", key());
            let from = |parent: Value| {
                let mut given = lot(SITE, &fresh(), "9", &[]);
                given["parents"] = json!([{ "lot": parent, "quantity": { "value": "1", "unit": "KGM" } }]);
                given
            };
            let mut again = lot(SITE, &some["child code"], "9", &[]);
            again["idempotencyKey"] = json!(some["used"]);
            [
                lot(&some["site"], &fresh(), "9", &[]),
                from(json!({ "id": some["lot"] })),
                from(json!({ "id": some["far lot"] })),
                from(json!({ "code": some["code"] })),
                again,
            ]
            .map(|given| make("RegisterLotInput", given))
            .into()
        }
        "recordQcDecision" => {
            let decide =
                |site: &str, lot: Value| json!({ "site": site, "lot": lot, "gate": some["gate"], "outcome": "FAIL" });
            [
                decide(SITE, json!({ "id": some["lot"] })),
                decide(SITE, json!({ "code": some["code"] })),
                decide(&some["site"], json!({ "id": some["far lot"] })),
            ]
            .map(|given| make("RecordQcDecisionInput", given))
            .into()
        }
        name if name.ends_with("Pipeline") => about_pipelines(field, some),
        "startRun" => [SITE, &some["site"]]
            .map(|site| make("StartRunInput", json!({ "site": site, "scenarioId": some["scenario"] })))
            .into(),
        name if name.ends_with("Run") || name.ends_with("Alert") || name == "decideGate" => about_run(field, some),
        "placeHold" | "releaseHold" | "releaseHoldLots" => about_hold(field, some),
        name if name.ends_with("Scenario") => about_scenario(field, some),
        "declareSignal" => {
            let address = json!({ "modbus": { "unit": 1, "table": "COILS", "address": 0 } });
            let declare = |site: &str| {
                json!({ "site": site, "name": some["signal name"], "unit": "1", "dataType": "BOOL",
                    "device": some["device"], "address": address })
            };
            [declare(SITE), declare(&some["site"])].map(|given| make("DeclareSignalInput", given)).into()
        }
        "retryProjection" | "skipProjectionEvent" => about_read_model(field, some),
        _ if operations::FIELDS.contains(&field) || field.starts_with("receive") => about_lots(field, some, own),
        _ => about_access(field, some, own),
    }
}

/// Mutations about pipelines.
fn about_pipelines(field: &str, some: &Things) -> Vec<Try> {
    let definition = json!({ "tasks": [{ "id": "read", "kind": "sql" }] });
    let (kind, given) = match field {
        "draftPipeline" => ("DraftPipelineInput", json!({ "name": some["pipeline name"], "definition": definition })),
        "revisePipeline" => {
            let given = json!({ "pipelineId": some["pipeline"], "name": "taken over", "definition": definition });
            ("RevisePipelineInput", given)
        }
        _ => ("PipelineInput", json!({ "pipelineId": some["pipeline"] })),
    };
    vec![mutation(field, kind, given)]
}

/// Mutations about a read model.
fn about_read_model(field: &str, some: &Things) -> Vec<Try> {
    let mut given = json!({ "reason": "x", "readModel": "LOTS", "stream": some["site"] });
    if field == "skipProjectionEvent" {
        given["sequence"] = json!(1);
    }
    vec![mutation(field, &(field[..1].to_uppercase() + &field[1..] + "Input"), given)]
}

/// Mutations about products and partners.
fn about_master_data(field: &str, some: &Things) -> Vec<Try> {
    let make = |kind: &str, given: Value| mutation(field, kind, given);
    match field {
        "defineProduct" => {
            let define = |code: &str, gtin: Value| json!({ "code": code, "name": "x", "unit": "KGM", "gtin": gtin });
            [define(&some["product code"], Value::Null), define(&format!("fresh-{}", key()), json!(some["gtin"]))]
                .map(|given| make("DefineProductInput", given))
                .into()
        }
        "definePartner" => {
            let given = json!({ "code": some["partner code"], "name": "x", "buys": true });
            vec![make("DefinePartnerInput", given)]
        }
        _ => {
            let file = |kind: &str, csv: String, site: Value| json!({ "kind": kind, "csv": csv, "site": site });
            let stock = |site: &str| {
                let csv = format!("code,lot_type,product,quantity,unit\nfresh-{},raw,milk,1,LTR\n", key());
                file("OPENING_STOCK", csv, json!(site))
            };
            [
                file("PRODUCTS", format!("code,name,unit\n{},x,KGM\n", some["product code"]), Value::Null),
                file("PARTNERS", format!("code,name,buys\n{},x,yes\n", some["partner code"]), Value::Null),
                stock(&some["site"]),
            ]
            .map(|given| make("ImportMasterDataInput", given))
            .into()
        }
    }
}

/// Mutations about lots that are there.
fn about_lots(field: &str, some: &Things, own: &Things) -> Vec<Try> {
    if field.starts_with("receive") || field == "shipLots" {
        return about_the_dock(field, some, own);
    }
    let far = json!({ "id": some["far lot"] });
    let lots = [json!({ "id": some["lot"] }), json!({ "code": some["code"] }), far.clone()];
    let given =
        |site: &str, lot: &Value| operations::operation(field, site, &[lot.clone(), json!({ "id": own["lot"] })]);
    let tries = lots.iter().map(|lot| given(SITE, lot)).chain([given(&some["site"], &far)]);
    tries.flatten().map(|given| mutation(field, &operations::input_type(field), given)).collect()
}

/// Mutations about deliveries and shipments.
fn about_the_dock(field: &str, some: &Things, own: &Things) -> Vec<Try> {
    let fresh = |product: &str| {
        json!({ "code": format!("fresh-{}", key()), "lotType": "RAW", "product": product,
            "quantity": { "value": "1", "unit": "C62" } })
    };
    let places = [(SITE, &some["partner code"]), (&some["site"], &own["partner code"])];
    match field {
        // In a unit that no product converts from: accepted as a name that nobody knows.
        "receiveLot" => {
            let one = |(site, supplier): (&str, &String)| {
                let mut given = fresh("x");
                (given["site"], given["supplier"]) = (json!(site), json!(supplier));
                given
            };
            places.map(|(site, supplier)| mutation(field, "ReceiveLotInput", one((site, supplier)))).into()
        }
        "receiveLots" => {
            let known = (SITE, &own["partner code"]);
            let given = |(site, supplier): (&str, &String)| json!({ "site": site, "supplier": supplier, "lots": [fresh(&some["gtin"]), fresh(&some["product code"])] });
            places.into_iter().chain([known]).map(|place| mutation(field, "ReceiveLotsInput", given(place))).collect()
        }
        _ => {
            let lots = [json!({ "id": some["lot"] }), json!({ "code": some["code"] }), json!({ "id": own["lot"] })];
            let given = |lot: &Value, customer: &str, site: &str| {
                let quantity = json!({ "value": "1", "unit": "KGM" });
                json!({ "site": site, "customer": customer, "code": some["shipment code"],
                    "lots": [{ "lot": lot, "quantity": quantity }, { "lot": { "code": "none" } }] })
            };
            let theirs = lots.iter().map(|lot| given(lot, &own["partner code"], SITE));
            let more =
                [given(&lots[2], &some["partner code"], SITE), given(&lots[2], &own["partner code"], &some["site"])];
            theirs.chain(more).map(|given| mutation(field, "ShipLotsInput", given)).collect()
        }
    }
}

/// Mutations about a scenario.
fn about_scenario(field: &str, some: &Things) -> Vec<Try> {
    let mut given = json!({ "scenarioId": some["scenario"] });
    match field {
        "draftScenario" => given = json!({ "name": some["scenario name"], "definition": process() }),
        "reviseScenario" => (given["name"], given["definition"]) = (json!("taken over"), process()),
        _ => {}
    }
    vec![mutation(field, &(field[..1].to_uppercase() + &field[1..] + "Input"), given)]
}

/// Mutations about a run that is there, by each of its names, and with a lot of theirs.
fn about_run(field: &str, some: &Things) -> Vec<Try> {
    if field.ends_with("Alert") {
        return about_alert(field, some);
    }
    let names = [json!({ "id": some["run"] }), json!({ "code": some["run code"] }), json!({ "id": some["far run"] })];
    let sites = [SITE, SITE, &some["site"]];
    let given = names.into_iter().zip(sites).map(|(run, site)| {
        let mut given = json!({ "site": site, "run": run, "reason": "x" });
        match field {
            "advanceRun" => given["fromPhase"] = json!(0),
            "decideGate" => (given["gate"], given["outcome"]) = (json!(some["gate"]), json!("PASS")),
            "linkLotToRun" | "unlinkLotFromRun" => given["lot"] = json!({ "id": some["lot"] }),
            _ => {}
        }
        given
    });
    let kind = field[..1].to_uppercase() + &field[1..] + "Input";
    given.map(|given| mutation(field, &kind, given)).collect()
}

/// Mutations about an alert that is there.
fn about_alert(field: &str, some: &Things) -> Vec<Try> {
    let kind = field[..1].to_uppercase() + &field[1..] + "Input";
    let given = [SITE, &some["site"]].map(|site| json!({ "site": site, "alert": some["alert"], "reason": "x" }));
    given.map(|given| mutation(field, &kind, given)).into()
}

/// Mutations about a hold, and about lots.
fn about_hold(field: &str, some: &Things) -> Vec<Try> {
    let kind = field[..1].to_uppercase() + &field[1..] + "Input";
    let lots = [json!({ "id": some["lot"] }), json!({ "code": some["code"] })].into_iter();
    let given = lots.map(|lot| {
        let mut given = json!({ "site": SITE, "reason": "x" });
        if field != "placeHold" {
            given["hold"] = json!({ "id": some["hold"] });
        }
        if field != "releaseHold" {
            given["lots"] = json!([lot]);
        }
        given
    });
    given.map(|given| mutation(field, &kind, given)).collect()
}

/// Mutations about people, keys and their rights.
fn about_access(field: &str, some: &Things, own: &Things) -> Vec<Try> {
    if let "defineProduct" | "definePartner" | "importMasterData" = field {
        return about_master_data(field, some);
    }
    let make = |kind: &str, given: Value| mutation(field, kind, given);
    let user = json!({ "userId": some["user"] });
    match field {
        "inviteUser" => {
            let given = json!({ "email": some["email"], "name": "X" });
            vec![make("InviteUserInput", given)]
        }
        "setRoles" => [(&some["user"], Value::Null), (&own["user"], json!(some["site"]))]
            .map(|(user, site)| make("SetRolesInput", json!({ "userId": user, "site": site, "roles": ["VIEWER"] })))
            .into(),
        "deactivateUser" => vec![make("DeactivateUserInput", user)],
        "reactivateUser" => vec![make("ReactivateUserInput", user)],
        "issuePasswordReset" => vec![make("IssuePasswordResetInput", user)],
        "changeUserProfile" => {
            let given = json!({ "userId": some["user"], "email": format!("{}@dairy.example", key()), "name": "X" });
            vec![make("ChangeUserProfileInput", given)]
        }
        "setPipelineAccess" => [(&some["pipeline"], &own["user"]), (&own["pipeline"], &some["user"])]
            .map(|(pipeline, user)| {
                make("SetPipelineAccessInput", json!({ "pipelineId": pipeline, "userId": user, "rights": ["VIEW"] }))
            })
            .into(),
        "issueApiKey" => {
            let given = |prefix: &str, sites: Value| {
                json!({ "label": "x", "prefix": prefix, "roles": ["VIEWER"], "sites": sites,
                    "expiresAt": "2100-01-01T00:00:00Z" })
            };
            let fresh = key().simple().to_string();
            [given(&some["prefix"], json!([])), given(&fresh[..20], json!([some["site"]]))]
                .map(|given| make("IssueApiKeyInput", given))
                .into()
        }
        "revokeApiKey" => vec![make("RevokeApiKeyInput", json!({ "keyId": some["key"] }))],
        "registerSite" => {
            let given = json!({ "site": some["site"], "name": "X", "timeZone": "Etc/UTC" });
            vec![make("RegisterSiteInput", given)]
        }
        _ => panic!("mutation {field} is new: say here what can be tried with another tenant's things"),
    }
}

fn subscriptions(field: &str, some: &Things, own: &Things) -> Vec<Try> {
    let (told, filters) = match field {
        "lotChanged" => ("lots { id code }", vec![format!("site: \"{}\"", some["site"])]),
        "alertChanged" | "alertRaised" => ("alert { id title }", vec![format!("site: \"{}\"", some["site"])]),
        "qcDecisionRecorded" => ("decision { id gate }", vec![format!("site: \"{}\"", some["site"])]),
        "pipelineChanged" => ("pipeline { id name }", vec![]),
        "holdChanged" => ("hold { id reason }", vec![format!("site: \"{}\"", some["site"])]),
        "runChanged" => ("run { id code }", vec![format!("site: \"{}\"", some["site"])]),
        "phaseAdvanced" => ("run { id code } phase", vec![format!("site: \"{}\"", some["site"])]),
        "signalValues" => {
            let filters = ["signal", "far signal"].map(|name| format!("ids: [\"{}\"]", some[name]));
            ("values { signalId value }", filters.into())
        }
        "auditTrail" => {
            let filters = [
                format!("stream: \"{}\"", some["site"]),
                format!("subject: \"{}\"", some["subject"]),
                format!("actor: \"{}\"", some["actor"]),
            ];
            ("entry { id subject actor }", filters.map(|filter| format!("filter: {{ {filter} }}")).into())
        }
        _ => panic!("subscription {field} is new: say here what can be tried with another tenant's things"),
    };
    let follow = |kind: Kind, arguments: &[String]| {
        let arguments = if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) };
        Try { kind, query: format!("subscription {{ {field}{arguments} {{ {told} }} }}"), variables: json!({}) }
    };
    let mut tries: Vec<Try> = filters.into_iter().map(|filter| follow(Kind::AsNobodys, &[filter])).collect();
    let mut open = if field == "signalValues" { vec![format!("ids: [\"{}\"]", own["signal"])] } else { Vec::new() };
    tries.push(follow(Kind::Told, &open));
    open.push(format!("after: \"{}\"", some["position"]));
    tries.push(follow(Kind::OwnOnly, &open));
    tries
}
