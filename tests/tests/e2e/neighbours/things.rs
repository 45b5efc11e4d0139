//! What a tenant has: one of everything that has an id, a code, a cursor or a position.

use std::collections::BTreeMap;
use std::ops::Index;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lotline_domain::id::{DeviceId, SiteId};
use lotline_domain::timestamp::Timestamp;
use lotline_tests::client::{key, lot};
use serde_json::{Value, json};

use crate::runs::process;
use crate::site::SITE;
use crate::visitor::{ADMIN, House, PATIENCE};

/// By name.
pub(crate) struct Things {
    /// How its names begin.
    word: String,
    by_name: BTreeMap<&'static str, String>,
    /// Ids of events in the trail.
    events: Vec<String>,
}

/// Of whoever it is, since they only say where to go on.
const PLACES: [&str; 15] = [
    "position",
    "after alerts",
    "after lots",
    "after products",
    "after partners",
    "after qcDecisions",
    "after pipelines",
    "after scenarios",
    "after runs",
    "after shipments",
    "after holds",
    "after signals",
    "after auditTrail",
    "after users",
    "after apiKeys",
];

impl Index<&str> for Things {
    type Output = String;

    fn index(&self, name: &str) -> &String {
        self.by_name.get(name).unwrap_or_else(|| panic!("there is no thing {name}"))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn uuid_in(global: &str) -> String {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(global).unwrap()).unwrap();
    text.split_once(':').unwrap().1.to_owned()
}

fn global(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A number that is made of a word, as it could stand on an item.
fn gtin(word: &str) -> String {
    let number: u64 = word.bytes().fold(7, |number, byte| (number * 31 + u64::from(byte)) % 1_000_000_000_000);
    let digits = format!("{number:012}");
    let weighted = digits.bytes().enumerate().map(|(place, digit)| u32::from(digit - b'0') * [1, 3][place % 2]);
    format!("{digits}{}", (10 - weighted.sum::<u32>() % 10) % 10)
}

fn definition() -> Value {
    json!({ "tasks": [{ "id": "read", "kind": "sql" }] })
}

/// The payload of a mutation that has to be accepted.
async fn done(house: &House, bearer: &str, name: &str, more: &str, input: &Value) -> Value {
    let payload = house.mutate(bearer, name, more, input).await;
    assert_eq!(payload["userErrors"], json!([]), "{name} {input}");
    payload
}

impl Things {
    /// Gives a tenant lots, a decision, a pipeline, so many signals at the common site, a person, a key, and some of it at a site that only it has.
    /// All names begin with a word.
    pub(crate) async fn of(house: &House, word: &str, far: &str, signals: u32) -> Self {
        let bearer = house.bearer(ADMIN).await;
        let mut by_name = BTreeMap::new();
        for (name, value) in [
            ("tenant", house.plant.settings.tenant.clone()),
            ("site", far.to_owned()),
            ("used", key().to_string()),
            ("code", format!("{word}-1")),
            ("child code", format!("{word}-2")),
            ("pipeline name", format!("{word} line")),
            ("product code", format!("{word}-product")),
            ("partner code", format!("{word}-partner")),
            ("supplier lot", format!("{word}-supplied")),
            ("shipment code", format!("{word}-shipment")),
            ("gtin", gtin(word)),
            ("scenario name", format!("{word} process")),
            ("run code", format!("{word}-run")),
            ("signal name", format!("{word}.1")),
            ("device", format!("{word}-press")),
            ("gate", format!("{word}-gate")),
            ("email", format!("{word}@dairy.example")),
            ("prefix", format!("{word}_robot")),
            ("signal", global(&format!("signal:{SITE}:{signals}"))),
            ("far signal", global(&format!("signal:{far}:1"))),
        ] {
            by_name.insert(name, value);
        }
        let mut things = Self { word: format!("{word}-"), by_name, events: Vec::new() };
        things.work(house, &bearer, signals).await;
        things.admit(house, &bearer).await;
        things.sample(house, 1).await;
        things.look(house, &bearer).await;
        things
    }

    /// What stands in the plant.
    async fn work(&mut self, house: &House, bearer: &str, signals: u32) {
        let mut first = lot(SITE, &self["code"], "9", &[]);
        first["idempotencyKey"] = json!(self["used"]);
        let first = done(house, bearer, "registerLot", "lotId", &first).await;
        let child = lot(SITE, &self["child code"], "9", &[(&self["code"], "1")]);
        done(house, bearer, "registerLot", "lotId", &child).await;
        let distant = lot(&self["site"], &format!("{}3", self.word), "9", &[]);
        let distant = done(house, bearer, "registerLot", "lotId", &distant).await;
        let decided = done(house, bearer, "recordQcDecision", "qcDecisionId", &self.pass(&self["code"])).await;
        let spare = lot(SITE, &format!("{}held", self.word), "9", &[]);
        done(house, bearer, "registerLot", "lotId", &spare).await;
        let hold = json!({ "site": SITE, "reason": "x", "lots": [{ "code": format!("{}held", self.word) }] });
        let hold = done(house, bearer, "placeHold", "holdId", &hold).await;
        let pipeline = json!({ "name": self["pipeline name"], "definition": definition() });
        let drafted = done(house, bearer, "draftPipeline", "pipelineId", &pipeline).await;
        let scenario = json!({ "name": self["scenario name"], "definition": process() });
        let process = done(house, bearer, "draftScenario", "scenarioId", &scenario).await;
        done(house, bearer, "publishScenario", "", &json!({ "scenarioId": process["scenarioId"] })).await;
        let start = |site: &str, code: &str| json!({ "site": site, "scenarioId": process["scenarioId"], "code": code });
        let run = done(house, bearer, "startRun", "runId", &start(SITE, &self["run code"])).await;
        let far = start(&self["site"], &format!("{}far-run", self.word));
        let far = done(house, bearer, "startRun", "runId", &far).await;
        for (site, number) in (1..=signals).map(|number| (SITE, number)).chain([(self["site"].as_str(), 1)]) {
            let address = json!({ "modbus": { "unit": 1, "table": "COILS", "address": number } });
            let name = if number == 1 { self["signal name"].clone() } else { format!("{}{number}", self.word) };
            let given = json!({ "site": site, "name": name, "unit": "1", "dataType": "BOOL", "device": self["device"],
                "address": address });
            done(house, bearer, "declareSignal", "name", &given).await;
        }
        let product = json!({ "code": self["product code"], "name": "x", "unit": "KGM", "gtin": self["gtin"] });
        let product = done(house, bearer, "defineProduct", "productId", &product).await;
        let partner = json!({ "code": self["partner code"], "name": "x", "supplies": true, "buys": true });
        let partner = done(house, bearer, "definePartner", "partnerId", &partner).await;
        let held = format!("{}4", self.word);
        done(house, bearer, "registerLot", "", &lot(SITE, &held, "9", &[])).await;
        let judged = done(house, bearer, "recordQcDecision", "position", &self.judge(&held, "HOLD")).await;
        let query = "query($at: PositionToken) { alerts(first: 1, consistentWith: $at) { nodes { id } } }";
        let alert =
            house.data(bearer, query, &json!({ "at": judged["position"] })).await["alerts"]["nodes"][0]["id"].take();
        self.by_name.insert("alert", text(&alert));
        let shipment = self.at_the_dock(house, bearer).await;
        let ids = [("lot", &first["lotId"]), ("far lot", &distant["lotId"]), ("decision", &decided["qcDecisionId"])];
        let others = [
            ("pipeline", &drafted["pipelineId"]),
            ("product", &product["productId"]),
            ("partner", &partner["partnerId"]),
            ("scenario", &process["scenarioId"]),
            ("run", &run["runId"]),
            ("far run", &far["runId"]),
            ("shipment", &shipment),
            ("hold", &hold["holdId"]),
        ];
        for (name, id) in ids.into_iter().chain(others) {
            self.by_name.insert(name, text(id));
        }
        self.name_uuids();
    }

    /// What comes and goes: a delivery, and a shipment of some of it.
    async fn at_the_dock(&self, house: &House, bearer: &str) -> Value {
        let (partner, code) = (&self["partner code"], format!("{}delivered", self.word));
        let kilograms = |value: &str| json!({ "value": value, "unit": "KGM" });
        let received = json!({ "site": SITE, "supplier": partner, "code": code, "lotType": "RAW", "product": self["product code"],
            "quantity": kilograms("9"), "supplierLot": self["supplier lot"] });
        done(house, bearer, "receiveLot", "", &received).await;
        let lots = json!([{ "lot": { "code": code }, "quantity": kilograms("1") }]);
        let shipped = json!({ "site": SITE, "customer": partner, "code": self["shipment code"], "lots": lots });
        done(house, bearer, "shipLots", "shipmentUuid", &shipped).await["shipmentUuid"].take()
    }

    /// Who works there.
    async fn admit(&mut self, house: &House, bearer: &str) {
        let person = json!({ "email": self["email"], "name": format!("{} Li", self.word) });
        let invited = done(house, bearer, "inviteUser", "subjectId secret", &person).await;
        let roles = json!({ "userId": invited["subjectId"], "roles": ["ENGINEER"] });
        done(house, bearer, "setRoles", "subjectId", &roles).await;
        let robot = json!({ "label": format!("{}robot", self.word), "prefix": self["prefix"], "roles": ["VIEWER"],
            "expiresAt": "2100-01-01T00:00:00Z" });
        let issued = done(house, bearer, "issueApiKey", "subjectId secret", &robot).await;
        let there = json!({ "userId": invited["subjectId"], "site": self["site"], "roles": ["VIEWER"] });
        let last = done(house, bearer, "setRoles", "position", &there).await;
        for (name, value) in [
            ("user", &invited["subjectId"]),
            ("link", &invited["secret"]),
            ("key", &issued["subjectId"]),
            ("secret", &issued["secret"]),
            ("position", &last["position"]),
        ] {
            self.by_name.insert(name, text(value));
        }
    }

    fn pass(&self, code: &str) -> Value {
        self.judge(code, "PASS")
    }

    fn judge(&self, code: &str, outcome: &str) -> Value {
        json!({ "site": SITE, "lot": { "code": code }, "gate": self["gate"], "outcome": outcome })
    }

    fn name_uuids(&mut self) {
        for (name, of) in [
            ("lot uuid", "lot"),
            ("far lot uuid", "far lot"),
            ("decision uuid", "decision"),
            ("pipeline uuid", "pipeline"),
            ("scenario uuid", "scenario"),
            ("run uuid", "run"),
            ("far run uuid", "far run"),
            ("alert uuid", "alert"),
            ("hold uuid", "hold"),
        ] {
            let uuid = uuid_in(&self[of]);
            self.by_name.insert(name, uuid);
        }
    }

    /// Finds out what only a query tells.
    async fn look(&mut self, house: &House, bearer: &str) {
        let at = json!({ "at": self["position"] });
        for (list, shown) in [
            ("alerts", "uuid"),
            ("lots", "uuid"),
            ("qcDecisions", "uuid"),
            ("pipelines", "uuid"),
            ("products", "id"),
            ("partners", "id"),
            ("scenarios", "uuid"),
            ("runs", "uuid"),
            ("shipments", "uuid"),
            ("holds", "uuid"),
            ("signals", "id"),
            ("auditTrail", "id subject correlationId actor"),
            ("users", "userId"),
            ("apiKeys", "keyId"),
        ] {
            let query = format!(
                "query($at: PositionToken) {{ {list}(first: 100, consistentWith: $at) {{ \
                 pageInfo {{ startCursor }} nodes {{ {shown} }} }} }}"
            );
            let page = house.data(bearer, &query, &at).await[list].take();
            let place = PLACES.iter().find(|place| place.strip_prefix("after ") == Some(list)).unwrap();
            self.by_name.insert(*place, text(&page["pageInfo"]["startCursor"]));
            if list == "auditTrail" {
                let (events, newest) = (page["nodes"].as_array().unwrap(), &page["nodes"][0]);
                self.events = events.iter().map(|event| text(&event["id"])).collect();
                self.by_name.insert("event", text(&newest["id"]));
                self.by_name.insert("correlation", text(&newest["correlationId"]));
                self.by_name.insert("subject", text(&newest["subject"]));
                self.by_name.insert("actor", text(&newest["actor"]));
            }
        }
    }

    /// Things of the same kinds that nobody has.
    pub(crate) fn nobodys(&self) -> Self {
        let mut things = self.by_name.clone();
        let own = self.word.trim_end_matches('-');
        let other = |text: &str| text.replace(own, "nil").replace(&self["site"], "gamma");
        for name in [
            "tenant",
            "site",
            "code",
            "child code",
            "pipeline name",
            "product code",
            "partner code",
            "scenario name",
            "run code",
            "supplier lot",
            "shipment code",
            "signal name",
            "device",
            "gate",
            "email",
            "prefix",
        ] {
            things.insert(name, other(&self[name]));
        }
        for (name, kind) in [
            ("lot", "lot"),
            ("far lot", "lot"),
            ("decision", "qc_decision"),
            ("pipeline", "pipeline"),
            ("product", "product"),
            ("partner", "partner"),
            ("scenario", "scenario"),
            ("run", "run"),
            ("far run", "run"),
            ("alert", "alert"),
            ("hold", "hold"),
            ("event", "audit_entry"),
        ] {
            things.insert(name, global(&format!("{kind}:{}", key())));
        }
        things.insert("gtin", gtin("nobody"));
        things.insert("signal", global(&format!("signal:{SITE}:77")));
        things.insert("far signal", global("signal:gamma:1"));
        for name in ["user", "key", "correlation", "used", "shipment"] {
            things.insert(name, key().to_string());
        }
        things.insert("actor", format!("user:{}", key()));
        things.insert("subject", format!("user/{}", key()));
        let mut nobodys = Self { word: "nil-".to_owned(), by_name: things, events: Vec::new() };
        nobodys.name_uuids();
        nobodys
    }

    /// A text with names in place of these things.
    pub(crate) fn named(&self, text: &str) -> String {
        let mut longest: Vec<_> = self.by_name.iter().collect();
        longest.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        longest.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("<{name}>")))
    }

    /// By what it is noticed that a text is about these.
    pub(crate) fn marks(&self) -> impl Iterator<Item = &str> {
        let things = self.by_name.iter().filter(|(name, _)| !PLACES.contains(*name) && **name != "subject");
        let events = self.events.iter().map(String::as_str);
        things.map(|(_, value)| value.as_str()).chain(events).chain([self.word.as_str()])
    }

    /// Something of everything that can be followed happens.
    pub(crate) async fn change(&self, house: &House) {
        let bearer = house.bearer(ADMIN).await;
        let code = format!("{}{}", self.word, key());
        let revised = json!({ "pipelineId": self["pipeline"], "name": self["pipeline name"], "definition": definition(),
            "reason": "again" });
        let held = json!({ "site": SITE, "reason": "x", "lots": [{ "code": code }] });
        let started = json!({ "site": SITE, "scenarioId": self["scenario"], "code": format!("{code}-run") });
        let advanced = json!({ "site": SITE, "run": { "code": format!("{code}-run") }, "fromPhase": 0 });
        let mut position = Value::Null;
        for (name, input) in [
            ("registerLot", lot(&self["site"], &format!("{code}-far"), "9", &[])),
            ("registerLot", lot(SITE, &code, "9", &[])),
            ("recordQcDecision", self.pass(&code)),
            ("recordQcDecision", self.judge(&code, "HOLD")),
            ("placeHold", held),
            ("revisePipeline", revised),
            ("startRun", started),
            ("advanceRun", advanced),
        ] {
            position = done(house, &bearer, name, "position", &input).await["position"].take();
        }
        self.sample(house, 2).await;
        let query = "query($at: PositionToken) { runs(first: 1, consistentWith: $at) { nodes { id } } }";
        house.data(&bearer, query, &json!({ "at": position })).await;
    }

    /// Publishes a sample of both signals, and waits until they are the latest.
    async fn sample(&self, house: &House, round: u64) {
        let bearer = house.bearer(ADMIN).await;
        for (order, name) in ["signal", "far signal"].into_iter().enumerate() {
            let (site, number) = {
                let key = uuid_in(&self[name]);
                let (site, number) = key.split_once(':').unwrap();
                (SiteId::new(site).unwrap(), number.parse().unwrap())
            };
            let time = Timestamp::from_millis(1_700_000_000_000 + round as i64);
            house
                .plant
                .publish(|batch| {
                    (batch.site, batch.signals) = (site, vec![number]);
                    (batch.sequence, batch.values) = (2 * round + order as u64, vec![round as f64]);
                    batch.device = DeviceId::new(self["device"].as_str()).unwrap();
                    (batch.source_times, batch.collected_at) = (vec![time], time);
                })
                .await;
        }
        let until = Instant::now() + PATIENCE;
        let query = "query($ids: [ID!]!) { signalLatest(ids: $ids) { value } }";
        let ids = json!({ "ids": [self["signal"], self["far signal"]] });
        let (round, mut seen) = (json!({ "value": round as f64 }), Value::Null);
        while seen != json!([round, round]) {
            assert!(Instant::now() < until, "the samples are not seen: {seen}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            seen = house.data(&bearer, query, &ids).await["signalLatest"].take();
        }
    }
}
