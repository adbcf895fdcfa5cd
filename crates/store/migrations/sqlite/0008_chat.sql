-- What providers found in their caches and put there, of what models read.
ALTER TABLE usage ADD COLUMN cached_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN cache_written_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE prices ADD COLUMN cached INTEGER;           -- as prompt; NULL: the price of prompt
ALTER TABLE prices ADD COLUMN cache_written INTEGER;

-- Which files a message has. One that none has is not kept for long.
CREATE TABLE attached (
    attachment_id BLOB NOT NULL,
    message_id    BLOB NOT NULL,
    PRIMARY KEY (attachment_id, message_id)
) WITHOUT ROWID;
ALTER TABLE attachments ADD COLUMN claimed_at INTEGER NOT NULL DEFAULT 0;  -- when a message last asked for it
CREATE INDEX attachments_hash ON attachments (hash);
-- Each message names its files, so that no message is compared with every file.
INSERT OR IGNORE INTO attached (attachment_id, message_id)
    SELECT a.id, m.id FROM messages m
    CROSS JOIN json_tree(CASE WHEN json_valid(m.metadata) THEN m.metadata ELSE '{}' END, '$.attachments') named
    CROSS JOIN attachments a ON a.id = unhex(named.atom, '-')
    WHERE m.metadata LIKE '%"attachments"%' AND named.key = 'id' AND named.type = 'text';

-- Calls of tools that the client of a conversation has, while they are waited for.
CREATE TABLE client_calls (
    task_id    BLOB NOT NULL,
    session_id BLOB NOT NULL,
    call_id    TEXT NOT NULL,
    name       TEXT NOT NULL,
    arguments  TEXT NOT NULL,                            -- JSON
    answer     TEXT,                                     -- JSON, once it is there
    asked_at   INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (task_id, call_id)
) WITHOUT ROWID;
CREATE INDEX client_calls_session ON client_calls (session_id);
CREATE INDEX client_calls_expire ON client_calls (expires_at);
