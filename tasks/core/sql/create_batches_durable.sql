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
