-- name: create_schema
-- Everything of birdwalk's but the readers' views, and which of the statements below it has seen.
CREATE SCHEMA IF NOT EXISTS birdwalk;
CREATE TABLE IF NOT EXISTS birdwalk.schema_version (
    version integer NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: version_1
-- An index is a view that readers query; its space is the one that they see.
CREATE TABLE birdwalk.indexes (
    index_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    index_name text NOT NULL UNIQUE,
    space_id bigint,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- An embedding space of an index: its vectors are in birdwalk.vectors_<space_id>. `writes` counts
-- the transactions that wrote vectors, so that a measurement knows whether it still holds.
CREATE TABLE birdwalk.spaces (
    space_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    index_id bigint NOT NULL REFERENCES birdwalk.indexes ON DELETE CASCADE,
    model text NOT NULL,
    dimension integer NOT NULL,
    preprocessing text NOT NULL,
    writes bigint NOT NULL DEFAULT 0,
    ef_search integer NOT NULL DEFAULT 100,
    recall real,
    measured_at timestamptz,
    measured_writes bigint,
    measured_index bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    UNIQUE (index_id, model, dimension, preprocessing)
);

ALTER TABLE birdwalk.indexes
    ADD CONSTRAINT indexes_space_id_fkey FOREIGN KEY (space_id) REFERENCES birdwalk.spaces;

-- One row a run: what was asked, what became of it, what it cost. A run is listed when its listing
-- is written, and published when readers see it.
CREATE TABLE birdwalk.runs (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key uuid NOT NULL DEFAULT gen_random_uuid(),
    index_name text NOT NULL,
    bucket text NOT NULL,
    prefix text NOT NULL,
    model text NOT NULL,
    dimension integer NOT NULL,
    preprocessing text NOT NULL,
    plan_only boolean NOT NULL,
    requested_by text NOT NULL,
    options jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    listed_at timestamptz,
    published_at timestamptz,
    finished_at timestamptz,
    objects bigint NOT NULL DEFAULT 0,
    listed bigint NOT NULL DEFAULT 0,
    skipped jsonb NOT NULL DEFAULT '{}',
    seconds jsonb NOT NULL DEFAULT '{}',
    recovered bigint NOT NULL DEFAULT 0,
    taken_over bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    removed bigint NOT NULL DEFAULT 0,
    embedded bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    retries bigint NOT NULL DEFAULT 0,
    deferrals bigint NOT NULL DEFAULT 0,
    price_usd numeric NOT NULL DEFAULT 0,
    verdict text NOT NULL DEFAULT 'running'
        CHECK (verdict IN ('running', 'completed', 'failed', 'cancelled')),
    message text NOT NULL DEFAULT ''
);
CREATE INDEX runs_index_name ON birdwalk.runs (index_name, run_id);

-- The last listing of an index: the images of the bucket, by name.
CREATE TABLE birdwalk.listings (
    run_id bigint NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_key text COLLATE "C" NOT NULL,
    size bigint,
    content_type text,
    content_encoding text,
    updated timestamptz,
    metadata jsonb,
    PRIMARY KEY (run_id, image_id)
);
CREATE INDEX listings_content_key ON birdwalk.listings (run_id, content_key, image_id);

-- The contents that a run asks for, cut into batches, and the object that each is asked by. An
-- error says why a content is left for the next run; a gone one has no object any more.
CREATE TABLE birdwalk.work (
    run_id bigint NOT NULL,
    batch integer NOT NULL,
    content_key text COLLATE "C" NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_type text,
    gone boolean NOT NULL DEFAULT false,
    error text,
    PRIMARY KEY (run_id, batch, content_key)
);

-- One row a batch: what it has sent so far, and, once it is durable, what became of its contents.
-- It is durable in the transaction that writes its vectors.
CREATE TABLE birdwalk.batches (
    run_id bigint NOT NULL REFERENCES birdwalk.runs,
    batch integer NOT NULL,
    images bigint NOT NULL DEFAULT 0,
    embedded bigint NOT NULL DEFAULT 0,
    recovered bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    gone bigint NOT NULL DEFAULT 0,
    leftover bigint NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    answers bigint NOT NULL DEFAULT 0,
    retries bigint NOT NULL DEFAULT 0,
    deferrals bigint NOT NULL DEFAULT 0,
    durable boolean NOT NULL DEFAULT false,
    inserted_at timestamptz,
    PRIMARY KEY (run_id, batch)
);

-- Contents that the model will never accept, so that no run pays for asking again.
CREATE TABLE birdwalk.refusals (
    space_id bigint NOT NULL REFERENCES birdwalk.spaces ON DELETE CASCADE,
    content_key text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    last_refused timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, content_key)
);

-- Contents of a space that no image has any more, and since when; they are kept for a while.
CREATE TABLE birdwalk.unused_contents (
    space_id bigint NOT NULL REFERENCES birdwalk.spaces ON DELETE CASCADE,
    content_key text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, content_key)
);
