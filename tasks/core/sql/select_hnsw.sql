-- The approximate indexes of a table: their names, whether valid, and their operator class.
SELECT index_class.relname AS name, pg_index.indisvalid AS valid, opclass.opcname AS opclass
FROM pg_index
JOIN pg_class AS index_class ON index_class.oid = pg_index.indexrelid
JOIN pg_am ON pg_am.oid = index_class.relam AND pg_am.amname = 'hnsw'
JOIN pg_opclass AS opclass ON opclass.oid = pg_index.indclass[0]
WHERE pg_index.indrelid = $1::text::regclass
