-- The planner needs to know the table it has now.
ANALYZE {table}
