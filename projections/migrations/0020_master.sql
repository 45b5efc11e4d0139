-- Products and partners of the tenant as they are now. `gtin` stands as on the item, `gtin_14` with zeros in front.

CREATE TABLE read.products (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    gtin TEXT,
    gtin_14 TEXT,
    unit TEXT NOT NULL,
    conversions JSONB NOT NULL,
    shelf_life_days INTEGER,
    active BOOLEAN NOT NULL,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, generation, id)
);
CREATE UNIQUE INDEX products_code ON read.products (tenant, generation, code);
CREATE INDEX products_gtin ON read.products (tenant, generation, gtin_14) WHERE gtin_14 IS NOT NULL;

CREATE TABLE read.partners (
    tenant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    id UUID NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    gln TEXT,
    supplies BOOLEAN NOT NULL,
    buys BOOLEAN NOT NULL,
    active BOOLEAN NOT NULL,
    actor TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    changed_offset BIGINT NOT NULL,
    PRIMARY KEY (tenant, generation, id)
);
CREATE UNIQUE INDEX partners_code ON read.partners (tenant, generation, code);

SELECT read.bind_to_tenant(target::REGCLASS) FROM UNNEST(ARRAY['read.products', 'read.partners']) AS u (target);
