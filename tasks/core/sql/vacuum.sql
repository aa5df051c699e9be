-- The planner needs to know the table it has now, and index-only scans what is visible to all.
VACUUM (ANALYZE) {table}
