-- The work lists of an index's earlier runs are of no use, but where their parts wait for recovery;
-- neither is this run's own of an earlier attempt at its plan.
DELETE FROM birdwalk.pending
WHERE run_id IN (SELECT run_id FROM birdwalk.runs WHERE index_name = $1)
    AND (run_id = $2 OR run_id <> ALL ($3::bigint[]))
