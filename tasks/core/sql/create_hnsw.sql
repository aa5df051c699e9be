-- The approximate index, of the operator class that the query's <-> uses. Building at 64, the
-- default, takes half the time, and leaves whole clusters of a table where no search gets to.
CREATE INDEX {name} ON {table} USING hnsw (embedding vector_l2_ops) WITH (ef_construction = 128)
