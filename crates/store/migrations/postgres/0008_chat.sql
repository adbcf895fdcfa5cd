-- What providers found in their caches and put there, of what models read.
ALTER TABLE usage ADD COLUMN cached_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN cache_written_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE prices ADD COLUMN cached BIGINT;           -- as prompt; NULL: the price of prompt
ALTER TABLE prices ADD COLUMN cache_written BIGINT;

-- Which files a message has. One that none has is not kept for long.
CREATE TABLE attached (
    attachment_id UUID NOT NULL,
    message_id    UUID NOT NULL,
    PRIMARY KEY (attachment_id, message_id)
);
ALTER TABLE attachments ADD COLUMN claimed_at BIGINT NOT NULL DEFAULT 0;  -- when a message last asked for it
CREATE INDEX attachments_hash ON attachments (hash);
-- Each message names its files, so that no message is compared with every file.
INSERT INTO attached (attachment_id, message_id)
    SELECT DISTINCT a.id, m.id FROM messages m
    CROSS JOIN LATERAL regexp_matches(m.metadata, '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'g') named(ids)
    JOIN attachments a ON a.id = named.ids[1]::UUID WHERE m.metadata LIKE '%"attachments"%';

-- Calls of tools that the client of a conversation has, while they are waited for.
CREATE TABLE client_calls (
    task_id    UUID NOT NULL,
    session_id UUID NOT NULL,
    call_id    TEXT COLLATE "C" NOT NULL,
    name       TEXT NOT NULL,
    arguments  TEXT NOT NULL,                            -- JSON
    answer     TEXT,                                     -- JSON, once it is there
    asked_at   BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (task_id, call_id)
);
CREATE INDEX client_calls_session ON client_calls (session_id);
CREATE INDEX client_calls_expire ON client_calls (expires_at);
