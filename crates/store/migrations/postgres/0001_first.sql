-- Times are microseconds since 1970 (UTC), ids UUIDs, JSON is text. Columns named sealed_* hold JSON in which secret
-- values are sealed (seal.rs). What is looked up or sorted by is compared byte by byte, as SQLite does.

CREATE TABLE workers (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- the epoch: a later worker has a larger one
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,                    -- by the clock of the database
    stopped_at BIGINT,                             -- null: still running, or ended without saying so
    commits    BIGINT NOT NULL DEFAULT 0           -- number of its last transaction: tells whether a COMMIT that nobody answered was one
) WITH (fillfactor = 10);

CREATE TABLE bots (
    id         TEXT COLLATE "C" PRIMARY KEY,
    definition TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE channels (
    id              UUID PRIMARY KEY,
    client_id       TEXT COLLATE "C" NOT NULL UNIQUE,
    bot_id          TEXT NOT NULL,
    display_name    TEXT,
    options         TEXT NOT NULL,
    sealed_target   TEXT,
    created_at      BIGINT NOT NULL
);

CREATE TABLE bindings (
    id              UUID PRIMARY KEY,
    channel_id      UUID NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    client_id       TEXT COLLATE "C" NOT NULL,
    display_name    TEXT,
    event_filter    TEXT,
    sealed_target   TEXT,
    created_at      BIGINT NOT NULL,
    UNIQUE (channel_id, client_id)
);

CREATE TABLE sessions (
    id            UUID PRIMARY KEY,
    client_id     TEXT COLLATE "C" NOT NULL,
    bot_id        TEXT COLLATE "C" NOT NULL,
    thread        TEXT COLLATE "C" NOT NULL,     -- '' when the session has none
    channel_id    UUID,
    sealed_target TEXT,
    seq           BIGINT NOT NULL,                 -- number of the newest message: what orders a session
    head          UUID,                            -- the task that runs or is next to run; null when there is none
    active        BOOLEAN NOT NULL,
    created_at    BIGINT NOT NULL,
    last_at       BIGINT NOT NULL
);
CREATE UNIQUE INDEX sessions_active ON sessions (client_id, bot_id, thread) WHERE active;
CREATE INDEX sessions_recent ON sessions (last_at);

CREATE TABLE messages (
    id          UUID PRIMARY KEY,
    session_id  UUID NOT NULL,
    seq         BIGINT NOT NULL,
    role        TEXT NOT NULL,
    content     TEXT NOT NULL,
    source      TEXT,
    task_id     UUID,
    delivery_id UUID,
    trusted     BOOLEAN NOT NULL,
    hops        BIGINT NOT NULL,
    metadata    TEXT,
    created_at  BIGINT NOT NULL,
    UNIQUE (session_id, seq)
);

CREATE TABLE tasks (
    id               UUID PRIMARY KEY,
    session_id       UUID NOT NULL,
    message_id       UUID NOT NULL,
    channel_id       UUID,
    delivery_id      UUID,
    bot_id           TEXT NOT NULL,
    origin           TEXT NOT NULL,                -- the integration that started it, or `api`
    seq              BIGINT NOT NULL,              -- of its message
    status           TEXT NOT NULL,                -- pending running waiting complete failed cancelled
    ready            BOOLEAN NOT NULL,             -- first of its session
    execution_config TEXT,
    sealed_target    TEXT,
    trusted          BOOLEAN NOT NULL,
    hops             BIGINT NOT NULL,
    rehearse         BOOLEAN NOT NULL,
    worker           BIGINT,
    attempt          BIGINT NOT NULL,
    cancelled        BOOLEAN NOT NULL,             -- asked to stop
    run_at           BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    started_at       BIGINT,
    completed_at     BIGINT,
    context_seq      BIGINT,                       -- newest message when it was first claimed: what it may see
    result           TEXT,
    error            TEXT,
    tokens           BIGINT NOT NULL
);
CREATE INDEX tasks_ready ON tasks (run_at) WHERE ready AND status = 'pending';
CREATE INDEX tasks_queued ON tasks (session_id, seq) WHERE status = 'pending';
CREATE INDEX tasks_held ON tasks (worker) WHERE status = 'running';
CREATE INDEX tasks_waiting ON tasks (created_at) WHERE status = 'waiting';
CREATE INDEX tasks_delivery ON tasks (delivery_id) WHERE delivery_id IS NOT NULL;

CREATE TABLE steps (
    task_id    UUID NOT NULL,
    n          BIGINT NOT NULL,                    -- from 1
    attempt    BIGINT NOT NULL,
    kind       TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (task_id, n)
);

CREATE TABLE deliveries (
    id           UUID PRIMARY KEY,
    integration  TEXT COLLATE "C" NOT NULL,
    connection   TEXT NOT NULL,
    event        TEXT NOT NULL,
    state        TEXT NOT NULL,                    -- received processing processed failed
    outcome      TEXT,                             -- run stored ignored duplicate reply
    reason       TEXT,
    verified_by  TEXT NOT NULL,
    headers      TEXT NOT NULL,
    body         BYTEA,                            -- packed (deliveries.rs); null once retention has taken it, and for duplicates
    answer       TEXT,
    generation   BIGINT NOT NULL,                  -- raised by an operator's replay
    received_at  BIGINT NOT NULL
);
CREATE INDEX deliveries_received ON deliveries (received_at);

CREATE TABLE dedupe (
    key        TEXT COLLATE "C" PRIMARY KEY,
    subject    UUID NOT NULL,                      -- the delivery, message or document that came first
    expires_at BIGINT NOT NULL
);
CREATE INDEX dedupe_expiry ON dedupe (expires_at);

CREATE TABLE targets (
    key  TEXT COLLATE "C" PRIMARY KEY,
    seq  BIGINT NOT NULL,
    head UUID                                      -- the outbox row that is next to leave
);

CREATE TABLE outbox (
    id              UUID PRIMARY KEY,
    target          TEXT COLLATE "C" NOT NULL,   -- key of targets
    seq             BIGINT NOT NULL,
    ready           BOOLEAN NOT NULL,              -- first of its target
    task_id         UUID,
    session_id      UUID,
    bot_id          TEXT NOT NULL,
    dispatch_type   TEXT NOT NULL,
    sealed_target   TEXT NOT NULL,
    text            TEXT NOT NULL,
    part            BIGINT NOT NULL,
    parts           BIGINT NOT NULL,
    hops            BIGINT NOT NULL,
    rehearse        BOOLEAN NOT NULL,
    state           TEXT NOT NULL,                 -- pending sending sent withheld held parked dead dropped expired
    attempts        BIGINT NOT NULL,
    unknown         BOOLEAN NOT NULL,              -- an attempt went out and nobody knows what became of it
    next_at         BIGINT NOT NULL,
    worker          BIGINT,
    receipt         TEXT,
    error           TEXT,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT,
    ended_at        BIGINT
);
CREATE INDEX outbox_ready ON outbox (next_at) WHERE ready AND state = 'pending';
CREATE INDEX outbox_queued ON outbox (target, seq) WHERE state = 'pending';
CREATE INDEX outbox_held ON outbox (worker) WHERE state = 'sending';
CREATE INDEX outbox_task ON outbox (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX outbox_stuck ON outbox (created_at) WHERE state IN ('held', 'parked', 'dead');

CREATE TABLE attempts (
    outbox_id  UUID NOT NULL,
    n          BIGINT NOT NULL,                    -- from 1
    started_at BIGINT NOT NULL,
    ended_at   BIGINT,                             -- null: the worker died in the middle
    outcome    TEXT,
    error      TEXT,
    PRIMARY KEY (outbox_id, n)
);

CREATE TABLE usage (
    scope  TEXT COLLATE "C" NOT NULL,            -- integration:forge, channel:<client_id>, bot:default, server
    bucket BIGINT NOT NULL,                        -- hours or days since 1970, as the scope's ceiling counts
    runs   BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    PRIMARY KEY (scope, bucket)
);

CREATE TABLE notices (
    id        UUID PRIMARY KEY,
    key       TEXT COLLATE "C" NOT NULL,
    severity  TEXT NOT NULL,
    title     TEXT NOT NULL,
    detail    TEXT NOT NULL,
    repair    TEXT,
    count     BIGINT NOT NULL,
    first_at  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    closed_at BIGINT
);
CREATE UNIQUE INDEX notices_open ON notices (key) WHERE closed_at IS NULL;

CREATE TABLE settings (
    integration TEXT COLLATE "C" NOT NULL,
    connection  TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    value       TEXT NOT NULL,                     -- sealed when the field is a secret
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (integration, connection, key)
);

CREATE TABLE connections (
    integration TEXT COLLATE "C" NOT NULL,
    connection  TEXT COLLATE "C" NOT NULL,
    code        TEXT NOT NULL,
    message     TEXT NOT NULL,
    hint        TEXT,
    account     TEXT,
    depth       TEXT,
    checked_at  BIGINT NOT NULL,
    PRIMARY KEY (integration, connection)
);

CREATE TABLE api_keys (
    id         UUID PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       BYTEA NOT NULL UNIQUE,              -- SHA-256: the key itself has 256 random bits
    prefix     TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE documents (
    id             UUID PRIMARY KEY,
    rank           BIGINT NOT NULL UNIQUE,         -- row of the full-text index
    integration_id TEXT COLLATE "C",
    session_id     UUID,
    title          TEXT NOT NULL,
    content        TEXT NOT NULL,
    metadata       TEXT NOT NULL,
    created_at     BIGINT NOT NULL
);
CREATE INDEX documents_integration ON documents (integration_id);
CREATE TABLE documents_text (
    rowid BIGINT PRIMARY KEY,                      -- rank of the document
    words TSVECTOR NOT NULL                        -- split and folded by us (words.rs): no extension, no server locale
);
CREATE INDEX documents_words ON documents_text USING gin (words);

CREATE TABLE egress (
    at             BIGINT NOT NULL,
    integration    TEXT,
    connection     TEXT,
    task_id        UUID,
    method         TEXT NOT NULL,
    host           TEXT NOT NULL,
    path           TEXT NOT NULL,
    status         BIGINT,
    error          TEXT,
    sent_bytes     BIGINT NOT NULL,
    received_bytes BIGINT NOT NULL,
    duration_ms    BIGINT NOT NULL
);
CREATE INDEX egress_at ON egress (at);
CREATE INDEX egress_task ON egress (task_id) WHERE task_id IS NOT NULL;
