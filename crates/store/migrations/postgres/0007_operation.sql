-- What a task took, in parts, and what that cost.
ALTER TABLE tasks ADD COLUMN completion_tokens BIGINT NOT NULL DEFAULT 0;  -- of `tokens`
ALTER TABLE tasks ADD COLUMN cost BIGINT NOT NULL DEFAULT 0;               -- millionths of a dollar, at the prices of that time

-- Hours become days when they are old, and days end.
CREATE INDEX usage_hour ON usage (hour, scope);
