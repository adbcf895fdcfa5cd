-- Written by a test from the migrations, whose sum it is:
-- UPDATE=1 cargo test -p tercel-store --lib a_new_database

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
, opened_by TEXT);

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
, completion_tokens INTEGER NOT NULL DEFAULT 0, cost INTEGER NOT NULL DEFAULT 0);

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
, sealed_request TEXT);

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
, told BOOLEAN NOT NULL DEFAULT FALSE);

CREATE UNIQUE INDEX notices_open ON notices (key) WHERE closed_at IS NULL;

CREATE TABLE settings (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,                     -- sealed when the field is a secret
    updated_at  INTEGER NOT NULL, sealed_earlier TEXT, earlier_until INTEGER,
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
    checked_at  INTEGER NOT NULL, http_status INTEGER, latency_ms INTEGER, insisted BOOLEAN NOT NULL DEFAULT FALSE, failures INTEGER NOT NULL DEFAULT 0, failing_since INTEGER,
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

CREATE TABLE attachments (
    id         BLOB PRIMARY KEY,
    hash       TEXT NOT NULL,                      -- SHA-256 of the bytes
    filename   TEXT NOT NULL,
    mime_type  TEXT NOT NULL,                      -- as the bytes say
    size_bytes INTEGER NOT NULL,
    posted_by  TEXT,
    created_at INTEGER NOT NULL
, claimed_at INTEGER NOT NULL DEFAULT 0);

CREATE TABLE schedules (
    id            BLOB PRIMARY KEY,
    name          TEXT NOT NULL,
    definition    TEXT NOT NULL,                   -- when it fires and what it starts, as the server reads it
    sealed_target TEXT,
    active        BOOLEAN NOT NULL,                -- false while it is paused
    next_at       INTEGER,                         -- null when it never fires again
    last_at       INTEGER,
    last_task     BLOB,
    fires         INTEGER NOT NULL,                -- number of the newest row of its history
    runs          INTEGER NOT NULL,
    missed        INTEGER NOT NULL,                -- fire times that passed while nobody was there
    skipped       INTEGER NOT NULL,                -- fire times at which its last run was still open
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);

CREATE INDEX schedules_due ON schedules (next_at) WHERE active;

CREATE TABLE fires (
    schedule_id BLOB NOT NULL,
    n           INTEGER NOT NULL,                  -- from 1
    due_at      INTEGER,                           -- null: asked for by hand
    fired_at    INTEGER NOT NULL,
    outcome     TEXT NOT NULL,                     -- run skipped missed refused repeated
    missed      INTEGER NOT NULL,                  -- fire times between this one and the time it fired
    task_id     BLOB,
    reason      TEXT,
    PRIMARY KEY (schedule_id, n)
) WITHOUT ROWID;

CREATE TABLE polls (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    name        TEXT NOT NULL,
    bookmark    TEXT NOT NULL,                     -- JSON, the integration's to understand
    polled_at   INTEGER NOT NULL,
    PRIMARY KEY (integration, connection, name)
) WITHOUT ROWID;

CREATE TABLE gaps (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    since       INTEGER NOT NULL,
    up_to       INTEGER NOT NULL,
    PRIMARY KEY (integration, connection)
) WITHOUT ROWID;

CREATE TABLE usage (
    scope             TEXT NOT NULL,               -- server, integration:forge, channel:<client_id>, bot:default, model:<name>
    hour              INTEGER NOT NULL,            -- hours since 1970
    runs              INTEGER NOT NULL,
    calls             INTEGER NOT NULL,            -- of models
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost              INTEGER NOT NULL, cached_tokens INTEGER NOT NULL DEFAULT 0, cache_written_tokens INTEGER NOT NULL DEFAULT 0,            -- millionths of a dollar, at the prices of that time
    PRIMARY KEY (scope, hour)
) WITHOUT ROWID;

CREATE TABLE prices (
    model      TEXT PRIMARY KEY,                   -- or * for every other one
    prompt     INTEGER NOT NULL,                   -- millionths of a dollar for a million tokens
    completion INTEGER NOT NULL
, cached INTEGER, cache_written INTEGER);

CREATE TABLE budgets (
    id         BLOB PRIMARY KEY,
    scope      TEXT NOT NULL,                      -- as in usage; bot:*, integration:*, channel:* for each that has none
    period     TEXT NOT NULL,                      -- hour or day
    runs       INTEGER,
    tokens     INTEGER,
    cost       INTEGER,
    action     TEXT NOT NULL,                      -- park digest store
    created_at INTEGER NOT NULL,
    UNIQUE (scope, period)
);

CREATE TABLE parked (
    task_id    BLOB PRIMARY KEY,
    scope      TEXT NOT NULL,
    counted    BOOLEAN NOT NULL,                   -- it had begun, so that its run is counted
    created_at INTEGER NOT NULL
);

CREATE INDEX parked_since ON parked (created_at, task_id);

CREATE TABLE digests (
    session_id       BLOB PRIMARY KEY,
    message_id       BLOB NOT NULL,
    seq              INTEGER NOT NULL,
    channel_id       BLOB,
    delivery_id      BLOB,
    bot_id           TEXT NOT NULL,
    origin           TEXT NOT NULL,
    execution_config TEXT,
    sealed_target    TEXT,
    trusted          BOOLEAN NOT NULL,
    hops             INTEGER NOT NULL,
    messages         INTEGER NOT NULL,             -- how many
    scope            TEXT NOT NULL,
    created_at       INTEGER NOT NULL              -- since when the first of them waits
);

CREATE INDEX digests_since ON digests (created_at, session_id);

CREATE TABLE announcements (
    at        INTEGER NOT NULL,
    outbox_id BLOB NOT NULL,
    PRIMARY KEY (at, outbox_id)
) WITHOUT ROWID;

CREATE TABLE server_settings (
    key        TEXT PRIMARY KEY,
    value      TEXT NOT NULL,                      -- secrets in it are sealed
    updated_at INTEGER NOT NULL
);

CREATE TABLE providers (
    id             TEXT PRIMARY KEY,
    kind           TEXT NOT NULL,                   -- openai anthropic ollama
    base_url       TEXT NOT NULL,
    sealed_api_key TEXT,
    models         TEXT NOT NULL,                   -- JSON list of names
    defaults       TEXT NOT NULL,                   -- JSON object: what a request has unless its bot says otherwise
    updated_at     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX tasks_completed ON tasks (completed_at) WHERE completed_at IS NOT NULL;

CREATE INDEX outbox_ended ON outbox (ended_at) WHERE ended_at IS NOT NULL;

CREATE INDEX usage_hour ON usage (hour, scope);

CREATE TABLE attached (
    attachment_id BLOB NOT NULL,
    message_id    BLOB NOT NULL,
    PRIMARY KEY (attachment_id, message_id)
) WITHOUT ROWID;

CREATE INDEX attachments_hash ON attachments (hash);

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

CREATE TABLE integrations (
    id       TEXT PRIMARY KEY,
    disabled BOOLEAN NOT NULL,
    approved TEXT,                                 -- hash of the one snapshot that may run
    allowed  TEXT NOT NULL,                        -- JSON list: variables that code reads and nothing declares
    known    TEXT                                  -- JSON: what it had when it was loaded last; null for what is native
) WITHOUT ROWID;

CREATE INDEX sessions_opened ON sessions (opened_by, client_id) WHERE opened_by IS NOT NULL;

CREATE INDEX deliveries_open ON deliveries (received_at) WHERE state IN ('received', 'processing');

CREATE TABLE hooks (
    id                BLOB PRIMARY KEY,
    url               TEXT NOT NULL,
    granted           BOOLEAN NOT NULL,            -- an administrator gave the address: it may be a private one
    wants             TEXT NOT NULL,               -- JSON: which events, as the server reads it
    description       TEXT NOT NULL,
    sealed_secret     TEXT NOT NULL,
    sealed_old_secret TEXT,                        -- signs besides the new one
    old_until         INTEGER,
    enabled           BOOLEAN NOT NULL,
    stopped           TEXT,                        -- why the server disabled it
    reached           INTEGER NOT NULL,            -- events up to this one are dealt with
    attempts          INTEGER NOT NULL,            -- at the event after it
    failing_since     INTEGER,                     -- null: the last attempt got through
    next_at           INTEGER NOT NULL,
    tried             INTEGER NOT NULL,            -- number of the newest row of its attempts
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
);

CREATE TABLE hook_events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order of the commits; none is given twice
    id         BLOB NOT NULL,                      -- what receivers know repetitions by
    event      TEXT NOT NULL,
    origin     TEXT,                               -- the integration whose run it was
    bot_id     TEXT,
    channel_id BLOB,
    body       TEXT NOT NULL,                      -- as it is sent
    created_at INTEGER NOT NULL
);

CREATE INDEX hook_events_created ON hook_events (created_at);

CREATE TABLE hook_attempts (
    hook_id     BLOB NOT NULL,
    n           INTEGER NOT NULL,                  -- from 1
    seq         INTEGER,                           -- of its event; null for a test
    event_id    BLOB NOT NULL,
    event       TEXT NOT NULL,
    outcome     TEXT NOT NULL,                     -- delivered failed given_up gone
    status      INTEGER,
    error       TEXT,
    duration_ms INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (hook_id, n)
) WITHOUT ROWID;

CREATE INDEX outbox_behind ON outbox (target, seq) WHERE state = 'held';

CREATE TABLE connection_history (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    n           INTEGER NOT NULL,                  -- from 1
    code        TEXT NOT NULL,
    message     TEXT NOT NULL,                     -- of the last of them, as the rest
    hint        TEXT,
    account     TEXT,
    http_status INTEGER,
    since       INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    tests       INTEGER NOT NULL,
    PRIMARY KEY (integration, connection, n)
) WITHOUT ROWID;

CREATE TABLE collections (
    name       TEXT PRIMARY KEY,
    records    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE records (
    collection TEXT NOT NULL,
    id         TEXT NOT NULL,
    record     TEXT NOT NULL,                      -- JSON object
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,                   -- when it last became another
    PRIMARY KEY (collection, id)
);

CREATE TABLE ledger (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    collection  TEXT NOT NULL,
    record_id   TEXT NOT NULL,
    key         TEXT NOT NULL,                     -- what the record is known by there, for ever
    state       TEXT NOT NULL,                     -- there absent pushing unknown
    change      TEXT NOT NULL,                     -- of the last push: create update delete
    remote_id   TEXT,
    hash        TEXT,                              -- of what is there; null: nothing is
    sending     TEXT,                              -- what is on its way, or may have arrived
    pushes      INTEGER NOT NULL,                  -- that have ended: part of their idempotency keys
    error       TEXT,                              -- JSON: why the last push failed
    pushed_at   INTEGER,                           -- when it last became there what it was here
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (integration, connection, collection, record_id)
);

CREATE INDEX ledger_records ON ledger (collection, record_id);

CREATE TABLE ledgers (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    collection  TEXT NOT NULL,
    target      TEXT NOT NULL,                     -- names what the settings say of it
    account     TEXT,                              -- as far as it is known
    PRIMARY KEY (integration, connection, collection)
) WITHOUT ROWID;

CREATE TABLE syncs (
    id          BLOB PRIMARY KEY,
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    collection  TEXT NOT NULL,
    origin      TEXT NOT NULL,                     -- api schedule
    dry_run     BOOLEAN NOT NULL,
    partial     BOOLEAN NOT NULL,                  -- only the records that are its items
    anew        BOOLEAN NOT NULL,                  -- the ledger was begun anew with it
    asked       TEXT,                              -- names what was asked for, where it may be asked again
    status      TEXT NOT NULL,                     -- pending running waiting complete failed cancelled
    stopping    BOOLEAN NOT NULL,                  -- somebody has asked for that
    next_at     INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,                  -- since it last got on
    worker      INTEGER,
    phase       TEXT NOT NULL,                     -- records removals
    reached     TEXT NOT NULL,                     -- the last record of the phase that was looked at
    total       INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    deleted     INTEGER NOT NULL,
    skipped     INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    unknown     INTEGER NOT NULL,
    error       TEXT,                              -- JSON
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER
);

CREATE INDEX syncs_open ON syncs (next_at) WHERE status IN ('pending', 'running', 'waiting');

CREATE INDEX syncs_of ON syncs (integration, connection, created_at);

CREATE TABLE sync_items (
    sync_id   BLOB NOT NULL,
    record_id TEXT NOT NULL,
    record    TEXT,                                -- in a dry run: as it was given
    change    TEXT,
    outcome   TEXT,                                -- done withheld skipped failed unknown; null: not yet looked at
    remote_id TEXT,
    code      TEXT,
    error     TEXT,                                -- JSON
    at        INTEGER,
    PRIMARY KEY (sync_id, record_id)
);

CREATE INDEX sync_items_coded ON sync_items (sync_id, outcome, record_id) WHERE code IS NOT NULL;

CREATE TABLE sync_settings (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    definition  TEXT NOT NULL,                     -- JSON, the server's to understand
    next_at     INTEGER,                           -- null: never by itself
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (integration, connection)
) WITHOUT ROWID;
