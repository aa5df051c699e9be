-- An index shows one space at a time. Looked up first, as in create_pending_twins.
DO $$
BEGIN
    IF to_regclass('birdwalk.spaces_one_active') IS NULL THEN
        CREATE UNIQUE INDEX spaces_one_active
        ON birdwalk.spaces (index_name) WHERE status = 'active';
    END IF;
END
$$
