//! Lots as the raw records have them.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{Event, Oracle, base, decimal, text};

/// What an amount of a lot is taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// To go into another lot.
    Input,
    /// To become a part of it.
    Split,
    /// Anything else.
    Other,
}

impl Oracle {
    /// An event about lots.
    pub(super) fn lots(&mut self, kind: &str, event: &Event<'_>) {
        let data = event.data();
        match kind {
            "lotline.lot.registered.v1" => {
                let parents = list(data, "parents");
                for input in &parents {
                    self.take(&text(input, "lot_id"), base(&input["quantity"]), event.sequence, Use::Input);
                }
                self.make(data, &parents, event, &Value::Null);
            }
            "lotline.lot.transformed.v1" => self.transformed(event),
            "lotline.lot.received.v1" => self.received(event),
            "lotline.lot.adjusted.v1" => {
                let amount = base(&data["quantity"]);
                let amount = if data["direction"] == "increase" { -amount } else { amount };
                self.take(&event.text("lot_id"), amount, event.sequence, Use::Other);
                self.stock(
                    event,
                    &event.text("lot_id"),
                    &data["quantity"],
                    if data["direction"] == "increase" { "increased" } else { "decreased" },
                );
            }
            "lotline.lot.scrapped.v1" | "lotline.lot.sampled.v1" => {
                self.take(&event.text("lot_id"), base(&data["quantity"]), event.sequence, Use::Other);
                self.stock(
                    event,
                    &event.text("lot_id"),
                    &data["quantity"],
                    if kind.contains("scrapped") { "scrapped" } else { "sampled" },
                );
            }
            "lotline.lot.moved.v1" => self.touch_lot(event)["location"] = data["location"].clone(),
            "lotline.lot.expired.v1" => {
                let lot = self.touch_lot(event);
                assert_eq!(lot["expires_on"], data["expires_on"]);
                lot["expired"] = json!(true);
            }
            other => panic!("the oracle does not know {other}"),
        }
    }

    fn stock(&mut self, event: &Event<'_>, lot: &str, quantity: &Value, kind: &str) {
        let row = json!({
            "site": event.stream, "kind": kind, "quantity": decimal(&quantity["value"]), "unit": quantity["unit"],
            "base": base(quantity).normalize().to_string(), "reason": event.body["reason"], "actor": event.actor,
            "occurred": event.body["occurred_at"], "decided": event.time,
        });
        self.world.stock_changes.insert(format!("{lot}/{}", event.sequence), row);
    }

    fn received(&mut self, event: &Event<'_>) {
        let data = event.data();
        self.make(data, &[], event, &Value::Null);
        let row = json!({
            "site": event.stream, "delivery": data["delivery_id"], "supplier": data["supplier_id"], "supplier_code": data["supplier_code"],
            "product": data["product_id"], "source": data["traceability_lot_code_source"], "documents": list(data, "documents"),
            "produced": data["produced_on"], "days": data["shelf_life_days"], "exception": data["exception"],
            "reason": event.body["reason"], "actor": event.actor, "occurred": event.body["occurred_at"], "decided": event.time,
            "sequence": event.sequence,
        });
        self.world.receipts.insert(event.text("lot_id"), row);
    }

    /// What left a site.
    pub(super) fn shipped(&mut self, event: &Event<'_>) {
        let (data, id) = (event.data(), event.text("shipment_id"));
        for (place, lot) in list(data, "lots").iter().enumerate() {
            let (lot_id, amount) = (text(lot, "lot_id"), base(&lot["quantity"]));
            self.take(&lot_id, amount, event.sequence, Use::Input);
            let row = json!({
                "place": place, "quantity": decimal(&lot["quantity"]["value"]), "unit": lot["quantity"]["unit"],
                "base": amount.normalize().to_string(),
            });
            self.stock(event, &lot_id, &lot["quantity"], "shipped");
            let before = self.world.shipment_lots.insert(format!("{id}/{lot_id}"), row);
            assert!(before.is_none(), "a lot stands in a shipment once");
        }
        let row = json!({
            "site": event.stream, "code": data["code"], "customer": data["customer_id"], "customer_code": data["customer_code"],
            "carrier": data["carrier_reference"], "documents": list(data, "documents"), "reason": event.body["reason"],
            "actor": event.actor, "occurred": event.body["occurred_at"], "decided": event.time, "sequence": event.sequence,
        });
        assert!(self.world.shipments.insert(id, row).is_none(), "a shipment left twice");
    }

    fn transformed(&mut self, event: &Event<'_>) {
        let data = event.data();
        let (inputs, outputs) = (list(data, "inputs"), list(data, "outputs"));
        for (place, input) in inputs.iter().enumerate() {
            let (id, amount) = (text(input, "lot_id"), base(&input["quantity"]));
            self.take(&id, amount, event.sequence, if data["kind"] == "split" { Use::Split } else { Use::Input });
            let parts = outputs.iter().map(|output| &output["parents"][place]);
            assert!(parts.clone().all(|part| part["lot_id"] == id), "parents stand in the order of the inputs");
            let sum: Decimal = parts.map(|part| base(&part["quantity"])).sum();
            assert_eq!(sum, amount, "what was taken of {id} is in the outputs, all of it and no more");
        }
        let id = event.text("transformation_id");
        for output in &outputs {
            self.make(output, &list(output, "parents"), event, &json!(id));
        }
        let made = |output: &Value| {
            let mut made = json!({ "lot_id": output["lot_id"], "quantity": output["quantity"] });
            if let Some(share) = output.get("share") {
                made["share"] = share.clone();
            }
            made
        };
        let row = json!({
            "site": event.stream, "kind": data["kind"], "inputs": inputs, "outputs": outputs.iter().map(made).collect::<Vec<_>>(),
            "loss": data["loss"], "gain": data["gain"], "step": data["step"], "location": data["location"],
            "documents": list(data, "documents"), "reason": event.body["reason"], "actor": event.actor,
            "occurred": event.body["occurred_at"], "decided": event.time, "sequence": event.sequence,
        });
        assert!(self.world.transformations.insert(id, row).is_none(), "a transformation happened twice");
    }

    fn take(&mut self, id: &str, amount: Decimal, sequence: u64, used: Use) {
        let held = self.holds_on(id);
        let lot = self.world.lots.get_mut(id).expect("a lot is there before something happens to it");
        let left = self.remaining.get_mut(id).expect("each lot has something left, or nothing");
        *left -= amount;
        assert!(*left >= Decimal::ZERO, "more was taken out of {id} than was in it");
        assert!(used == Use::Other || lot["qc"] != "FAIL", "a failed lot became a parent");
        assert!(used != Use::Input || held.is_empty(), "a lot on hold became a parent");
        lot["version"] = json!(sequence);
    }

    fn make(&mut self, data: &Value, parents: &[Value], event: &Event<'_>, made_by: &Value) {
        let id = text(data, "lot_id");
        for input in parents {
            let parent = text(input, "lot_id");
            assert!(self.world.lots.contains_key(&parent) && parent != id, "a parent is older than its child");
            let amount = base(&input["quantity"]);
            self.world.edges.insert(format!("{id}/{parent}"), json!(amount.normalize().to_string()));
            self.children.entry(parent).or_default().push(id.clone());
        }
        self.inherit(&id, parents, event);
        let row = json!({
            "site": event.stream, "code": data["code"], "type": data["lot_type"], "product": data["product"],
            "quantity": decimal(&data["quantity"]["value"]), "unit": data["quantity"]["unit"], "temperature": decimal(&data["temperature_c"]),
            "supplier_lot": data["supplier_lot"], "expires_on": data["expires_on"], "location": data["location"],
            "attributes": data.get("attributes").cloned().unwrap_or_else(|| json!({})), "qc": null, "actor": event.actor,
            "occurred": event.body["occurred_at"], "decided": event.time, "version": event.sequence, "remaining": null,
            "expired": false, "made_by": made_by,
        });
        self.remaining.insert(id.clone(), base(&data["quantity"]));
        assert!(self.world.lots.insert(id, row).is_none(), "a lot came into being twice");
    }

    fn touch_lot(&mut self, event: &Event<'_>) -> &mut Value {
        let lot =
            self.world.lots.get_mut(&event.text("lot_id")).expect("a lot is there before something happens to it");
        lot["version"] = json!(event.sequence);
        lot
    }
}

fn list(data: &Value, name: &str) -> Vec<Value> {
    data.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}
