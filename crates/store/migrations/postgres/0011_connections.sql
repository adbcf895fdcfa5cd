-- A secret that was replaced and is accepted from the service for a while.
ALTER TABLE settings ADD COLUMN sealed_earlier TEXT;
ALTER TABLE settings ADD COLUMN earlier_until BIGINT;

ALTER TABLE connections ADD COLUMN http_status BIGINT;
ALTER TABLE connections ADD COLUMN latency_ms BIGINT;
ALTER TABLE connections ADD COLUMN insisted BOOLEAN NOT NULL DEFAULT FALSE;  -- saved though the test had failed
ALTER TABLE connections ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;      -- in a row
ALTER TABLE connections ADD COLUMN failing_since BIGINT;                    -- null: the last test passed

-- What tests of a connection said: a row for as long as they say the same.
CREATE TABLE connection_history (
    integration TEXT NOT NULL,
    connection  TEXT NOT NULL,
    n           BIGINT NOT NULL,                   -- from 1
    code        TEXT NOT NULL,
    message     TEXT NOT NULL,                     -- of the last of them, as the rest
    hint        TEXT,
    account     TEXT,
    http_status BIGINT,
    since       BIGINT NOT NULL,
    last_at     BIGINT NOT NULL,
    tests       BIGINT NOT NULL,
    PRIMARY KEY (integration, connection, n)
);
