-- An index that is invalid, of another operator class, or in the way of a large change. Readers
-- are not kept waiting: they search exactly until it is built anew.
DROP INDEX CONCURRENTLY IF EXISTS birdwalk.{name}
