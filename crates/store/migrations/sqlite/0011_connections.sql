-- A secret that was replaced and is accepted from the service for a while.
ALTER TABLE settings ADD COLUMN sealed_earlier TEXT;
ALTER TABLE settings ADD COLUMN earlier_until INTEGER;

ALTER TABLE connections ADD COLUMN http_status INTEGER;
ALTER TABLE connections ADD COLUMN latency_ms INTEGER;
ALTER TABLE connections ADD COLUMN insisted BOOLEAN NOT NULL DEFAULT FALSE;  -- saved though the test had failed
ALTER TABLE connections ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;      -- in a row
ALTER TABLE connections ADD COLUMN failing_since INTEGER;                    -- null: the last test passed

-- What tests of a connection said: a row for as long as they say the same.
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
