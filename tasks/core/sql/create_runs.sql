-- One row a run: what was asked, what became of it, what it cost.
CREATE TABLE IF NOT EXISTS birdwalk.runs (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key uuid NOT NULL DEFAULT gen_random_uuid(),
    index_name text NOT NULL,
    bucket text NOT NULL,
    prefix text NOT NULL,
    model text NOT NULL,
    dimension integer NOT NULL,
    preprocessing text NOT NULL,
    requested_by text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    objects bigint NOT NULL DEFAULT 0,
    listed bigint NOT NULL DEFAULT 0,
    skipped jsonb NOT NULL DEFAULT '{}',
    seconds jsonb NOT NULL DEFAULT '{}',
    embedded bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    retries bigint NOT NULL DEFAULT 0,
    deferrals bigint NOT NULL DEFAULT 0,
    price_usd numeric NOT NULL DEFAULT 0,
    verdict text NOT NULL DEFAULT 'running'
        CHECK (verdict IN ('running', 'completed', 'failed', 'cancelled')),
    message text NOT NULL DEFAULT ''
)
