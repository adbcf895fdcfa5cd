-- Times are microseconds since 1970 (UTC), ids UUIDs, JSON is text. Columns named sealed_* hold JSON in which secret
-- values are sealed (seal.rs).

CREATE TABLE workers (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- the epoch: a later worker has a larger one
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    stopped_at INTEGER                             -- null: still running, or ended without saying so
);

CREATE TABLE bots (
    id         TEXT PRIMARY KEY,
    definition TEXT NOT NULL,
    updated_at INTEGER NOT NULL
);

CREATE TABLE channels (
    id              BLOB PRIMARY KEY,
    client_id       TEXT NOT NULL UNIQUE,
    bot_id          TEXT NOT NULL,
    display_name    TEXT,
    options         TEXT NOT NULL,
    sealed_target   TEXT,
    created_at      INTEGER NOT NULL
);

CREATE TABLE bindings (
    id              BLOB PRIMARY KEY,
    channel_id      BLOB NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    client_id       TEXT NOT NULL,
    display_name    TEXT,
    event_filter    TEXT,
    sealed_target   TEXT,
    created_at      INTEGER NOT NULL,
    UNIQUE (channel_id, client_id)
);

CREATE TABLE sessions (
    id            BLOB PRIMARY KEY,
    client_id     TEXT NOT NULL,
    bot_id        TEXT NOT NULL,
    thread        TEXT NOT NULL,                   -- '' when the session has none
    channel_id    BLOB,
    sealed_target TEXT,
    seq           INTEGER NOT NULL,                -- number of the newest message: what orders a session
    head          BLOB,                            -- the task that runs or is next to run; null when there is none
    active        BOOLEAN NOT NULL,
    created_at    INTEGER NOT NULL,
    last_at       INTEGER NOT NULL
);
CREATE UNIQUE INDEX sessions_active ON sessions (client_id, bot_id, thread) WHERE active;
CREATE INDEX sessions_recent ON sessions (last_at);

CREATE TABLE messages (
    id          BLOB PRIMARY KEY,
    session_id  BLOB NOT NULL,
    seq         INTEGER NOT NULL,
    role        TEXT NOT NULL,
    content     TEXT NOT NULL,
    source      TEXT,
    task_id     BLOB,
    delivery_id BLOB,
    trusted     BOOLEAN NOT NULL,
    hops        INTEGER NOT NULL,
    metadata    TEXT,
    created_at  INTEGER NOT NULL,
    UNIQUE (session_id, seq)
);

CREATE TABLE tasks (
    id               BLOB PRIMARY KEY,
    session_id       BLOB NOT NULL,
    message_id       BLOB NOT NULL,
    channel_id       BLOB,
    delivery_id      BLOB,
    bot_id           TEXT NOT NULL,
    origin           TEXT NOT NULL,                -- the integration that started it, or `api`
    seq              INTEGER NOT NULL,             -- of its message
    status           TEXT NOT NULL,                -- pending running waiting complete failed cancelled
    ready            BOOLEAN NOT NULL,             -- first of its session
    execution_config TEXT,
    sealed_target    TEXT,
    trusted          BOOLEAN NOT NULL,
    hops             INTEGER NOT NULL,
    rehearse         BOOLEAN NOT NULL,
    worker           INTEGER,
    attempt          INTEGER NOT NULL,
    cancelled        BOOLEAN NOT NULL,             -- asked to stop
    run_at           INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    started_at       INTEGER,
    completed_at     INTEGER,
    context_seq      INTEGER,                      -- newest message when it was first claimed: what it may see
    result           TEXT,
    error            TEXT,
    tokens           INTEGER NOT NULL
);
CREATE INDEX tasks_ready ON tasks (run_at) WHERE ready AND status = 'pending';
CREATE INDEX tasks_queued ON tasks (session_id, seq) WHERE status = 'pending';
CREATE INDEX tasks_held ON tasks (worker) WHERE status = 'running';
CREATE INDEX tasks_waiting ON tasks (created_at) WHERE status = 'waiting';
CREATE INDEX tasks_delivery ON tasks (delivery_id) WHERE delivery_id IS NOT NULL;

CREATE TABLE steps (
    task_id    BLOB NOT NULL,
    n          INTEGER NOT NULL,                   -- from 1
    attempt    INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (task_id, n)
) WITHOUT ROWID;

CREATE TABLE deliveries (
    id           BLOB PRIMARY KEY,
    integration  TEXT NOT NULL,
    connection   TEXT NOT NULL,
    event        TEXT NOT NULL,
    state        TEXT NOT NULL,                    -- received processing processed failed
    outcome      TEXT,                             -- run stored ignored duplicate reply
    reason       TEXT,
    verified_by  TEXT NOT NULL,
    headers      TEXT NOT NULL,
    body         BLOB,                             -- packed (deliveries.rs); null once retention has taken it, and for duplicates
    answer       TEXT,
    generation   INTEGER NOT NULL,                 -- raised by an operator's replay
    received_at  INTEGER NOT NULL
);
CREATE INDEX deliveries_received ON deliveries (received_at);

CREATE TABLE dedupe (
    key        TEXT PRIMARY KEY,
    subject    BLOB NOT NULL,                      -- the delivery, message or document that came first
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX dedupe_expiry ON dedupe (expires_at);

CREATE TABLE targets (
    key  TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL,
    head BLOB                                      -- the outbox row that is next to leave
) WITHOUT ROWID;

CREATE TABLE outbox (
    id              BLOB PRIMARY KEY,
    target          TEXT NOT NULL,                 -- key of targets
    seq             INTEGER NOT NULL,
    ready           BOOLEAN NOT NULL,              -- first of its target
    task_id         BLOB,
    session_id      BLOB,
    bot_id          TEXT NOT NULL,
    dispatch_type   TEXT NOT NULL,
    sealed_target   TEXT NOT NULL,
    text            TEXT NOT NULL,
    part            INTEGER NOT NULL,
    parts           INTEGER NOT NULL,
    hops            INTEGER NOT NULL,
    rehearse        BOOLEAN NOT NULL,
    state           TEXT NOT NULL,                 -- pending sending sent withheld held parked dead dropped expired
    attempts        INTEGER NOT NULL,
    unknown         BOOLEAN NOT NULL,              -- an attempt went out and nobody knows what became of it
    next_at         INTEGER NOT NULL,
    worker          INTEGER,
    receipt         TEXT,
    error           TEXT,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    ended_at        INTEGER
);
CREATE INDEX outbox_ready ON outbox (next_at) WHERE ready AND state = 'pending';
CREATE INDEX outbox_queued ON outbox (target, seq) WHERE state = 'pending';
CREATE INDEX outbox_held ON outbox (worker) WHERE state = 'sending';
CREATE INDEX outbox_task ON outbox (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX outbox_stuck ON outbox (created_at) WHERE state IN ('held', 'parked', 'dead');

CREATE TABLE attempts (
    outbox_id  BLOB NOT NULL,
    n          INTEGER NOT NULL,                   -- from 1
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,                            -- null: the worker died in the middle
    outcome    TEXT,
    error      TEXT,
    PRIMARY KEY (outbox_id, n)
) WITHOUT ROWID;

CREATE TABLE usage (
    scope  TEXT NOT NULL,                          -- integration:forge, channel:<client_id>, bot:default, server
    bucket INTEGER NOT NULL,                       -- hours or days since 1970, as the scope's ceiling counts
    runs   INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (scope, bucket)
) WITHOUT ROWID;

CREATE TABLE notices (
    id        BLOB PRIMARY KEY,
    key       TEXT NOT NULL,
    severity  TEXT NOT NULL,
    title     TEXT NOT NULL,
    detail    TEXT NOT NULL,
    repair    TEXT,
    count     INTEGER NOT NULL,
    first_at  INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,
    closed_at INTEGER
);
CREATE UNIQUE INDEX notices_open ON notices (key) WHERE closed_at IS NULL;

CREATE TABLE settings (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,                     -- sealed when the field is a secret
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (integration, connection, key)
) WITHOUT ROWID;

CREATE TABLE connections (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    code        TEXT NOT NULL,
    message     TEXT NOT NULL,
    hint        TEXT,
    account     TEXT,
    depth       TEXT,
    checked_at  INTEGER NOT NULL,
    PRIMARY KEY (integration, connection)
) WITHOUT ROWID;

CREATE TABLE api_keys (
    id         BLOB PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,               -- SHA-256: the key itself has 256 random bits
    prefix     TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
);

CREATE TABLE documents (
    id             BLOB PRIMARY KEY,
    rank           INTEGER NOT NULL UNIQUE,        -- row of the full-text index
    integration_id TEXT,
    session_id     BLOB,
    title          TEXT NOT NULL,
    content        TEXT NOT NULL,
    metadata       TEXT NOT NULL,
    created_at     INTEGER NOT NULL
);
CREATE INDEX documents_integration ON documents (integration_id);
CREATE VIRTUAL TABLE documents_text USING fts5 (title, content, tokenize = "unicode61 remove_diacritics 2");

CREATE TABLE egress (
    at             INTEGER NOT NULL,
    integration    TEXT,
    connection     TEXT,
    task_id        BLOB,
    method         TEXT NOT NULL,
    host           TEXT NOT NULL,
    path           TEXT NOT NULL,
    status         INTEGER,
    error          TEXT,
    sent_bytes     INTEGER NOT NULL,
    received_bytes INTEGER NOT NULL,
    duration_ms    INTEGER NOT NULL
);
CREATE INDEX egress_at ON egress (at);
CREATE INDEX egress_task ON egress (task_id) WHERE task_id IS NOT NULL;
