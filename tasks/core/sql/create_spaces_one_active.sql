-- An index shows one space at a time.
CREATE UNIQUE INDEX IF NOT EXISTS spaces_one_active
ON birdwalk.spaces (index_name) WHERE status = 'active'
