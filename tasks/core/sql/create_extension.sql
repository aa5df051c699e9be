-- pgvector; on Cloud SQL this takes a member of cloudsqlsuperuser.
CREATE EXTENSION IF NOT EXISTS vector
