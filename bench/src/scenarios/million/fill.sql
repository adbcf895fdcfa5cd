-- A database as schema 5 has it, for either engine. The ids are made by a function of the bench: of a kind and a number.
CREATE TEMP TABLE numbers AS
    WITH RECURSIVE counted (n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM counted WHERE n < @messages@)
    SELECT n, @start@ + n * 1000000 AS at, (n - 1) % @sessions@ + 1 AS session, (n - 1) / @sessions@ + 1 AS seq FROM counted;

INSERT INTO workers (started_at, seen_at, stopped_at) VALUES (@start@, @end@, @end@);

INSERT INTO sessions (id, client_id, bot_id, thread, channel_id, sealed_target, seq, head, active, created_at, last_at)
    SELECT id(1, n), 'github:bench/repository-' || (n % 200), 'default', 'pr/' || n, NULL, NULL, @messages@ / @sessions@, NULL,
        TRUE, at, at
    FROM numbers WHERE n <= @sessions@;

INSERT INTO messages (id, session_id, seq, role, content, source, task_id, delivery_id, trusted, hops, metadata, created_at)
    SELECT id(2, n), id(1, session), seq, CASE seq % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
        'octocat pushed commits to pull request #' || session || ' in bench/repository-' || (session % 200) || ', number '
        || n || '. Greets everybody in the room, not only the one who came in last. The list of people is read once, at the '
        || 'door; who comes later is greeted by the next call. Tests cover an empty room and a room with one person in it.',
        'github', CASE n % 10 WHEN 0 THEN id(4, n) END, CASE n % 5 WHEN 0 THEN id(3, n) END, FALSE, 0,
        CASE n % 50 WHEN 0 THEN '{"attachments":[{"id":"' || named(6, n) || '","filename":"room.png","mime_type":"image/png",'
            || '"size_bytes":20480,"url":"/api/v1/attachments/' || named(6, n) || '/content"}]}'
            ELSE '{"event":"pull_request.synchronize"}' END, at
    FROM numbers;

INSERT INTO attachments (id, hash, filename, mime_type, size_bytes, posted_by, created_at)
    SELECT id(6, n), 'a1' || '7f0c2d94b85e3167' || '7f0c2d94b85e3167' || '7f0c2d94b85e3167' || CAST(10000000000000 + n AS TEXT),
        'room.png', 'image/png', 20480, 'octocat', at
    FROM numbers WHERE n % 50 = 0;

INSERT INTO deliveries (id, integration, connection, event, state, outcome, reason, verified_by, headers, body, answer,
        generation, received_at)
    SELECT id(3, n), 'github', 'default', 'pull_request.synchronize', 'processed', CASE n % 10 WHEN 0 THEN 'run' ELSE 'stored' END,
        NULL, 'github', '{"content-type":"application/json","user-agent":"GitHub-Hookshot/044aadd","x-github-event":'
        || '"pull_request","x-github-hook-id":"292430182","x-github-delivery":"' || n || '"}', body(n),
        '{"status":"processed"}', 1, at
    FROM numbers WHERE n % 5 = 0;

INSERT INTO dedupe (key, subject, expires_at)
    SELECT 'delivery/github/default/id/' || (n * 7919 % 1000003) || '-' || n, id(3, n), at + 2592000000000
    FROM numbers WHERE n % 5 = 0;

INSERT INTO tasks (id, session_id, message_id, channel_id, delivery_id, bot_id, origin, seq, status, ready, execution_config,
        sealed_target, trusted, hops, rehearse, worker, attempt, cancelled, run_at, created_at, started_at, completed_at,
        context_seq, result, error, tokens)
    SELECT id(4, n), id(1, session), id(2, n), NULL, id(3, n), 'default', 'github', seq, 'complete', FALSE,
        '{"system_preamble":"This is a pull request of a GitHub repository. Review its code.","skills":[],"tools":[]}', NULL,
        FALSE, 0, FALSE, 1, 1, FALSE, at, at, at, at + 500000, seq, 'Looks good to me: small, tested.', NULL, 434
    FROM numbers WHERE n % 10 = 0;

INSERT INTO steps (task_id, n, attempt, kind, body, created_at)
    SELECT id(4, n), 1, 1, 'model', '{"kind":"model","answer":{"text":"Looks good to me: small, tested.","model":"bench",'
        || '"usage":{"prompt_tokens":420,"completion_tokens":14}}}', at
    FROM numbers WHERE n % 10 = 0;

INSERT INTO targets (key, seq, head)
    SELECT 'github/default/bench/' || n, @messages@ / @sessions@, NULL FROM numbers WHERE n <= @sessions@;

INSERT INTO outbox (id, target, seq, ready, task_id, session_id, bot_id, dispatch_type, sealed_target, text, part, parts, hops,
        rehearse, state, attempts, unknown, next_at, worker, receipt, error, created_at, expires_at, ended_at)
    SELECT id(5, n), 'github/default/bench/' || session, seq, FALSE, id(4, n), id(1, session), 'default', 'github',
        '{"type":"github","repo":"bench/repository","number":1}', 'Looks good to me: small, tested.', 1, 1, 0, FALSE, 'sent', 1,
        FALSE, at, 1, '{"id":1}', NULL, at, NULL, at + 600000
    FROM numbers WHERE n % 10 = 0;

INSERT INTO attempts (outbox_id, n, started_at, ended_at, outcome, error)
    SELECT id(5, n), 1, at, at + 600000, 'sent', NULL FROM numbers WHERE n % 10 = 0;

INSERT INTO egress (at, integration, connection, task_id, method, host, path, status, error, sent_bytes, received_bytes,
        duration_ms)
    SELECT at, 'github', 'default', id(4, n), 'POST', 'api.github.com', '/repos/bench/repository/issues/1/comments', 201, NULL,
        400, 900, 80
    FROM numbers WHERE n % 10 = 0;

INSERT INTO usage (scope, hour, runs, calls, prompt_tokens, completion_tokens, cost)
    SELECT 'server', at / 3600000000, COUNT(*), COUNT(*), 42000, 1400, 0 FROM numbers GROUP BY at / 3600000000;

DROP TABLE numbers;
