-- An invalid index, or one of another operator class, would be kept silently.
DROP INDEX birdwalk.{name}
