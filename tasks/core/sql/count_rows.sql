-- Rows of a space, all buckets.
SELECT count(*) FROM {table}
