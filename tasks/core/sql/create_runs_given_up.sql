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
