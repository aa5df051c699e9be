-- What a run did without calls: vectors recovered, vectors reused, rows removed.
UPDATE birdwalk.runs SET
    recovered = recovered + $2, reused = reused + $3, removed = removed + $4
WHERE run_id = $1
