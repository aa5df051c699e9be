-- The approximate index, of the operator class that the query's <-> uses.
CREATE INDEX {name} ON {table} USING hnsw (embedding vector_l2_ops)
