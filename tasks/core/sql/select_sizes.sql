-- What a table and its indexes take on disk, and the rows in it that nobody sees any more.
SELECT
    pg_table_size(oid) AS table_bytes,
    pg_indexes_size(oid) AS index_bytes,
    pg_stat_get_dead_tuples(oid) AS dead_rows
FROM pg_class
WHERE oid = $1::text::regclass
