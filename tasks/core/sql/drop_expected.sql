-- What an earlier attempt at a plan left in its transaction.
DROP TABLE IF EXISTS pg_temp.diff, pg_temp.recovered
