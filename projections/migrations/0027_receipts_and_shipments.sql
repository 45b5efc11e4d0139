-- What came in and what went out: parts of the model `lots`, which moves forward with them.

CREATE TABLE read.receipts (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    lot_id UUID NOT NULL,
    delivery_id UUID NOT NULL,
    site TEXT NOT NULL,
    supplier_id UUID NOT NULL,
    supplier_code TEXT NOT NULL,
    product_id UUID,
    traceability_lot_code_source TEXT,
    documents JSONB NOT NULL,
    produced_on DATE,
    shelf_life_days INTEGER,
    exception TEXT,
    reason TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (generation, lot_id, tenant)
);
CREATE INDEX receipts_delivery ON read.receipts (tenant, generation, delivery_id);

CREATE TABLE read.shipments (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    site TEXT NOT NULL,
    code TEXT NOT NULL,
    customer_id UUID,
    customer_code TEXT,
    carrier_reference TEXT,
    documents JSONB NOT NULL,
    reason TEXT,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (generation, id, tenant)
);
CREATE UNIQUE INDEX shipments_code ON read.shipments (tenant, generation, site, code);
CREATE INDEX shipments_customer ON read.shipments (tenant, generation, customer_code, id);

CREATE TABLE read.shipment_lots (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    shipment_id UUID NOT NULL,
    lot_id UUID NOT NULL,
    place INTEGER NOT NULL,
    quantity NUMERIC NOT NULL,
    unit TEXT NOT NULL,
    quantity_base NUMERIC NOT NULL,
    PRIMARY KEY (generation, shipment_id, lot_id, tenant)
);
CREATE INDEX shipment_lots_lot ON read.shipment_lots (tenant, generation, lot_id, shipment_id);

SELECT read.bind_to_tenant('read.receipts');
SELECT read.bind_to_tenant('read.shipments');
SELECT read.bind_to_tenant('read.shipment_lots');

-- What is scanned or read off a paper: a lot's code in whichever site, the supplier's code, a product.
CREATE INDEX lots_code_anywhere ON read.lots (tenant, generation, code);
CREATE INDEX lots_supplier_lot ON read.lots (tenant, generation, supplier_lot) WHERE supplier_lot IS NOT NULL;
CREATE INDEX lots_product ON read.lots (tenant, generation, product, id);
