-- What the operator said about integrations, and what those were whose folder is gone.
CREATE TABLE integrations (
    id       TEXT COLLATE "C" PRIMARY KEY,
    disabled BOOLEAN NOT NULL,
    approved TEXT,                                 -- hash of the one snapshot that may run
    allowed  TEXT NOT NULL,                        -- JSON list: variables that code reads and nothing declares
    known    TEXT                                  -- JSON: what it had when it was loaded last; null for what is native
);

ALTER TABLE sessions ADD COLUMN opened_by TEXT COLLATE "C";    -- the integration whose code made it
CREATE INDEX sessions_opened ON sessions (opened_by, client_id) WHERE opened_by IS NOT NULL;

-- Method, address and headers, sealed: code in a folder checks the request itself, each time that it is processed.
ALTER TABLE deliveries ADD COLUMN sealed_request TEXT;
CREATE INDEX deliveries_open ON deliveries (received_at) WHERE state IN ('received', 'processing');
