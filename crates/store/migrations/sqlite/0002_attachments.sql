-- Files that came with messages. Their bytes are in <data>/attachments, by hash; which message has them says its metadata.
CREATE TABLE attachments (
    id         BLOB PRIMARY KEY,
    hash       TEXT NOT NULL,                      -- SHA-256 of the bytes
    filename   TEXT NOT NULL,
    mime_type  TEXT NOT NULL,                      -- as the bytes say
    size_bytes INTEGER NOT NULL,
    posted_by  TEXT,
    created_at INTEGER NOT NULL
);
