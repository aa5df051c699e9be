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
