-- Whether a space has any vector.
SELECT EXISTS (SELECT FROM {table})
