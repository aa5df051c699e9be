-- Postgres counts heap pages to choose workers; wide rows would get none.
ALTER TABLE {table} SET (parallel_workers = 4)
