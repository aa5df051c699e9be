-- name: create_schema
-- Everything of birdwalk's but the readers' views.
CREATE SCHEMA IF NOT EXISTS birdwalk

-- name: create_runs
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
    options jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    objects bigint NOT NULL DEFAULT 0,
    listed bigint NOT NULL DEFAULT 0,
    skipped jsonb NOT NULL DEFAULT '{}',
    seconds jsonb NOT NULL DEFAULT '{}',
    recovered bigint NOT NULL DEFAULT 0,
    reused bigint NOT NULL DEFAULT 0,
    removed bigint NOT NULL DEFAULT 0,
    embedded bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    retries bigint NOT NULL DEFAULT 0,
    deferrals bigint NOT NULL DEFAULT 0,
    price_usd numeric NOT NULL DEFAULT 0,
    verdict text NOT NULL DEFAULT 'running'
        CHECK (verdict IN ('running', 'completed', 'failed', 'cancelled')),
    message text NOT NULL DEFAULT '',
    given_up integer[] NOT NULL DEFAULT '{}'
)

-- name: create_runs_given_up
-- The runs of a database made before a shard could be given up for good. Looked up first, as in
-- create_pending_error.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'birdwalk.runs'::regclass AND attname = 'given_up'
    ) THEN
        ALTER TABLE birdwalk.runs ADD COLUMN given_up integer[] NOT NULL DEFAULT '{}';
    END IF;
END
$$

-- name: create_spaces
-- One row an embedding space of an index; its vectors are in a table of their own.
CREATE TABLE IF NOT EXISTS birdwalk.spaces (
    space_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    index_name text NOT NULL,
    model text NOT NULL,
    dimension integer NOT NULL,
    preprocessing text NOT NULL,
    status text NOT NULL DEFAULT 'loading'
        CHECK (status IN ('loading', 'active', 'retired', 'failed')),
    rows bigint NOT NULL DEFAULT 0,
    recall real,
    created_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz,
    published_at timestamptz,
    UNIQUE (index_name, model, dimension, preprocessing)
)

-- name: create_spaces_one_active
-- An index shows one space at a time. Looked up first, as in create_pending_twins.
DO $$
BEGIN
    IF to_regclass('birdwalk.spaces_one_active') IS NULL THEN
        CREATE UNIQUE INDEX spaces_one_active
        ON birdwalk.spaces (index_name) WHERE status = 'active';
    END IF;
END
$$

-- name: create_spaces_measurement
-- What the gate measured of a space's approximate index: the ef_search that searches need, when,
-- and of which state of the table. Databases made before have the table without these columns.
-- Looked up first: ALTER TABLE would wait for every reader also where it has nothing to do.
DO $$ BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'birdwalk.spaces'::regclass AND attname = 'ef_search'
    ) THEN
        ALTER TABLE birdwalk.spaces
            ADD COLUMN ef_search integer NOT NULL DEFAULT 100,
            ADD COLUMN measured_at timestamptz,
            ADD COLUMN measured_writes bigint,
            ADD COLUMN measured_index bigint;
    END IF;
END $$

-- name: create_objects
-- The last listing of each index: the images of the bucket, by name.
CREATE TABLE IF NOT EXISTS birdwalk.objects (
    run_id bigint NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_type text,
    content_hash text,
    updated timestamptz,
    PRIMARY KEY (run_id, image_id)
)

-- name: create_pending
-- The images a run is to embed, cut into batches; a batch reads its work by its number. In batch 0
-- wait the twins of an image: others of the same content, one of which takes its place where it is
-- gone. An error says why an image is left for the next run.
CREATE TABLE IF NOT EXISTS birdwalk.pending (
    run_id bigint NOT NULL,
    batch integer NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    content_type text,
    content_hash text,
    kind text NOT NULL CHECK (kind IN ('new', 'changed')),
    error text,
    PRIMARY KEY (run_id, batch, image_id)
)

-- name: create_pending_error
-- The work lists of a database made before images were left with a reason. Looked up first: ALTER
-- TABLE would wait for every run that reads the table, and keep others waiting meanwhile.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'birdwalk.pending'::regclass AND attname = 'error'
    ) THEN
        ALTER TABLE birdwalk.pending ADD COLUMN error text;
    END IF;
END
$$

-- name: create_pending_twins
-- The twins that wait, by content. Looked up first: CREATE INDEX waits for writers even where the
-- index exists.
DO $$
BEGIN
    IF to_regclass('birdwalk.pending_twins') IS NULL THEN
        CREATE INDEX pending_twins ON birdwalk.pending (run_id, content_hash, image_id)
        WHERE batch = 0;
    END IF;
END
$$

-- name: create_batches
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

-- name: create_batches_durable
-- The batches of a database made before those that are not durable had rows. Looked up first, as in
-- create_pending_error.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'birdwalk.batches'::regclass AND attname = 'durable'
    ) THEN
        ALTER TABLE birdwalk.batches ADD COLUMN durable boolean NOT NULL DEFAULT true;
    END IF;
END
$$

-- name: create_refusals
-- Object versions that the model will never accept, so that no run pays for asking again.
CREATE TABLE IF NOT EXISTS birdwalk.refusals (
    space_id bigint NOT NULL REFERENCES birdwalk.spaces ON DELETE CASCADE,
    bucket text NOT NULL,
    image_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, bucket, image_id)
)
