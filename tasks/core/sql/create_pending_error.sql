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
