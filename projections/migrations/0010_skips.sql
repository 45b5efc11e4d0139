-- What administrators have decided about events that could not be applied. The decisions themselves are in the ledger.

-- `due`: somebody has decided that the stream is to be tried again, and no worker has done it yet.
ALTER TABLE read.projection_halt ADD COLUMN due BOOLEAN NOT NULL DEFAULT FALSE;

-- Events that a model leaves out.
CREATE TABLE read.projection_skip (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    stream TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant, model, stream, sequence)
);
