-- The vectors of a space that nothing refers to any more.
DROP TABLE IF EXISTS {table}
