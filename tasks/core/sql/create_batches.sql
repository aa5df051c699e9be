-- One row a batch that is durable, written in the transaction that wrote its vectors; and one a
-- batch that its run ended without, for what it had sent: prices add up to the bill.
CREATE TABLE IF NOT EXISTS birdwalk.batches (
    run_id bigint NOT NULL REFERENCES birdwalk.runs,
    batch integer NOT NULL,
    images bigint NOT NULL,
    embedded bigint NOT NULL,
    recovered bigint NOT NULL,
    refused bigint NOT NULL,
    gone bigint NOT NULL,
    pending bigint NOT NULL,
    calls bigint NOT NULL,
    answers bigint NOT NULL,
    retries bigint NOT NULL,
    deferrals bigint NOT NULL,
    durable boolean NOT NULL DEFAULT true,
    inserted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, batch)
)
