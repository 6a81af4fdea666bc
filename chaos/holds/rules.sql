-- A delay and a hold at two kinds of points: INSIDE a statement, after its snapshot and before its
-- row locks, and AT COMMIT, with every lock of the transaction held.
--
--   statement --> snapshot --> scan of a table --> LockRows --> rest          COMMIT --> over
--                                  |                                             |
--                        policy: (SELECT chaos.pass())          deferred constraint trigger
--                                  |                                             |
--                     rule for this process, this table and this statement?  rule noted
--                     sleep, or wait for the rule's advisory lock            when a row changed?
--
-- The policy's sub-select does not depend on a row, so the planner makes it an InitPlan: it runs
-- once a scan of a table, and lazily: for the first row that the scan has to filter, which an
-- index condition has let through by then. The executor takes the snapshot before any scan, and
-- LockRows gets its first row only from the finished join, so the hold is between the two in every
-- plan. What finds no row of the table is never held: a join without a candidate before it reaches
-- it (nothing is locked then, either), and a scan for a key that is not there.
--
-- The trigger's condition is asked when a row changes: where no rule is for it, nothing is put off
-- until the commit, and the commit pays nothing. What it finds is noted in a setting of the
-- transaction, since at COMMIT current_query() says COMMIT.
--
-- An explored rule (explore/) gives everybody a ticket: whoever comes to a point, once a statement,
-- draws the next number and waits for that number's advisory lock (57619, number). The explorer
-- holds the locks of the next WINDOW numbers, so nobody passes until it gives up one of them:
--
--   at a point --> draw t --> wait for (57619, t)        explorer: chaos.step(t) unlocks t, and waits
--                                 |                      until who held t stands again, is blocked,
--                             goes on  <---------------- is idle, or patience ends
--
-- While there is no rule at all, neither function is called: who puts a rule holds (57620, 0) shared,
-- for as long as its session lives. A statement tries to take it alone, and gives it back in the
-- same expression, where no interrupt can come between: who gets it knows that there is no rule. Two
-- that try at once are in each other's way; the loser reads the rules, and finds none.
--
-- A rule is in force while its controller holds the advisory lock (57618, key) exclusively: a
-- controller that dies loses its locks, and with them its holds and delays are over.
--
-- Everything stands in schema chaos, but for what stands on the tables that are watched: two
-- policies and two flags, or two triggers (installer.py). SCHEMA_OF_DAG becomes the schema of
-- Airflow's tables, as a literal.

CREATE SCHEMA chaos;
-- Every role that may use a watched table runs these functions, also where a database's default
-- privileges give PUBLIC nothing; the rights at the end let a backup under another role go on.
GRANT USAGE ON SCHEMA chaos TO PUBLIC;

CREATE SEQUENCE chaos.key AS integer;
CREATE SEQUENCE chaos.draw;
CREATE SEQUENCE chaos.ticket AS integer START 1;

-- UNLOGGED: no subscriber of this database gets it, and a crash ends every rule anyway.
CREATE UNLOGGED TABLE chaos.rule (
    key integer PRIMARY KEY,
    process text NOT NULL,                                    -- LIKE pattern of application_name
    relation text NOT NULL,                                   -- the table that is scanned, or changed
    statement text NOT NULL,                                  -- LIKE pattern of the query's text
    contents jsonb,                                           -- of a changed row; null: inside a scan
    delay double precision,                                   -- seconds; null: hold
    jitter double precision NOT NULL DEFAULT 0,               -- seconds, either way
    seed bigint NOT NULL DEFAULT 0,
    explored boolean NOT NULL DEFAULT false,                  -- hold everybody by a ticket
    first_draw bigint NOT NULL DEFAULT nextval('chaos.draw')  -- draws count from here
);
GRANT SELECT ON chaos.rule TO PUBLIC;

CREATE FUNCTION chaos.announce() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_lock_shared(57620, 0);
    RETURN NULL;
END $$;
CREATE TRIGGER announced BEFORE INSERT ON chaos.rule EXECUTE FUNCTION chaos.announce();

GRANT USAGE, SELECT ON SEQUENCE chaos.draw, chaos.ticket TO PUBLIC;
GRANT SELECT ON SEQUENCE chaos.key TO PUBLIC;

CREATE FUNCTION chaos.in_force(rule chaos.rule) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN NOT pg_try_advisory_xact_lock_shared(57618, rule.key);
END $$;

-- How long the next statement is delayed, in seconds: evenly from delay - jitter to delay + jitter.
CREATE FUNCTION chaos.seconds(rule chaos.rule) RETURNS double precision
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    drawn bigint;  -- of 32 bits
BEGIN
    IF rule.jitter = 0 THEN
        RETURN rule.delay;
    END IF;
    drawn := hashint8extended(nextval('chaos.draw') - rule.first_draw, rule.seed) & 4294967295;
    RETURN rule.delay + rule.jitter * (drawn / 2147483648.0 - 1);
END $$;

-- Sleeps in slices, so that a delay that is healed ends within 50 ms, also for who sleeps already.
CREATE FUNCTION chaos.sleep(rule chaos.rule) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    waking timestamptz := clock_timestamp() + make_interval(secs => chaos.seconds(rule));
BEGIN
    WHILE clock_timestamp() < waking AND chaos.in_force(rule) LOOP
        PERFORM pg_sleep(least(extract(epoch FROM waking - clock_timestamp()), 0.05));
    END LOOP;
END $$;

-- Once a statement, however many tables it scans: the setting remembers which statement it was. A
-- transaction that is rolled back takes the memory with it, and later statements have later times.
CREATE FUNCTION chaos.stand() RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    drawn integer;
BEGIN
    IF current_setting('chaos.stood', true) = statement_timestamp()::text THEN
        RETURN;
    END IF;
    PERFORM set_config('chaos.stood', statement_timestamp()::text, false);
    drawn := nextval('chaos.ticket');
    PERFORM pg_advisory_xact_lock_shared(57619, drawn);  -- the transaction's: see chaos.wait
END $$;

CREATE FUNCTION chaos.wait(rule chaos.rule) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF rule.explored THEN
        PERFORM chaos.stand();
    ELSIF rule.delay IS NOT NULL THEN
        PERFORM chaos.sleep(rule);
    ELSE
        -- The transaction's, not the session's: who is cancelled at the moment of its release has
        -- the lock and an error, and would keep it for as long as it is connected.
        PERFORM pg_advisory_xact_lock_shared(57618, rule.key);
    END IF;
END $$;

-- The statement as Airflow wrote it: where tables have a schema of their own (sql_alchemy_schema),
-- SQLAlchemy writes it before each.
CREATE FUNCTION chaos.statement() RETURNS text
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
AS $$ SELECT pg_catalog.replace(pg_catalog.current_query(), SCHEMA_OF_DAG || '.', '') $$;

-- Every scan of a watched table pays for this one while there is a rule, for whomever.
CREATE FUNCTION chaos.pass(scanned text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule chaos.rule;
BEGIN
    FOR rule IN
        SELECT * FROM chaos.rule AS r
        WHERE current_setting('application_name') LIKE r.process
          AND r.relation = scanned AND r.contents IS NULL
          AND chaos.statement() LIKE r.statement
    LOOP
        PERFORM chaos.wait(rule);
    END LOOP;
    RETURN true;
END $$;

-- So does every change of a row of a watched table for this one: is its commit to be held, or delayed?
CREATE FUNCTION chaos.changes(changed text, written anyelement) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    noted text := coalesce(current_setting('chaos.due', true), '');
    due integer;
    found_any boolean := false;
BEGIN
    FOR due IN
        SELECT r.key FROM chaos.rule AS r
        WHERE current_setting('application_name') LIKE r.process
          AND r.relation = changed AND r.contents IS NOT NULL
          AND chaos.statement() LIKE r.statement
          AND to_jsonb(written) @> r.contents
    LOOP
        found_any := true;
        IF NOT due::text = ANY (string_to_array(noted, ',')) THEN
            noted := concat_ws(',', nullif(noted, ''), due);
            PERFORM set_config('chaos.due', noted, true);
        END IF;
    END LOOP;
    RETURN found_any;
END $$;

CREATE FUNCTION chaos.at_commit() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule chaos.rule;
BEGIN
    FOR rule IN
        SELECT * FROM chaos.rule AS r
        WHERE r.key::text = ANY (string_to_array(current_setting('chaos.due', true), ','))
    LOOP
        PERFORM chaos.wait(rule);
    END LOOP;
    -- Once a commit, however many rows it changed.
    PERFORM set_config('chaos.due', '', true);
    RETURN NULL;
END $$;

-- The explorer's one step (explore/controller.py): let `opened` pass, and wait in here, where a look
-- costs microseconds, until `runner` has come to rest: it `arrived` at its next point, is `blocked`
-- by a lock, was `idle` outside of any transaction for `grace` seconds, or `ended`; else until
-- `patience` seconds are over (`late`). Without a runner, until anybody arrives. Who belongs to the
-- runner's `family` (sessions of one process that take turns) and arrives rests for it. Answers with
-- who stands at a point, by number, and who waits for a lock of whom; `query` of those after `known`
-- alone.
--
-- A look, every ms and every other after ten, is at what costs least: who has drawn; whom the runner
-- waits for, which is this session when it stands; whether its transaction is over, with which its
-- number's lock goes. What a session does costs some times as much, and is looked at from then on; all
-- locks of the server cost most, and are looked at where there is something to tell.
CREATE FUNCTION chaos.step(
    opened integer, runner integer, family text, known integer, named bigint[],
    patience double precision, grace double precision
) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ending timestamptz := clock_timestamp() + make_interval(secs => patience);
    began timestamptz := clock_timestamp();
    drawn integer;
    low integer := known;  -- who has a number up to this one was there before, or is not of interest
    looked integer;
    blockers integer[];
    is_over boolean := false;
    reason text;
BEGIN
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO drawn FROM chaos.ticket;
    PERFORM chaos.window(drawn);
    IF opened IS NOT NULL THEN
        PERFORM pg_advisory_unlock(57619, opened);
    END IF;
    LOOP
        blockers := pg_blocking_pids(runner);
        reason := CASE
            WHEN pg_backend_pid() = ANY (blockers) THEN 'arrived'
            WHEN cardinality(blockers) > 0 THEN 'blocked'
        END;
        EXIT WHEN reason IS NOT NULL;
        IF runner IS NULL OR family IS NOT NULL THEN
            SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO drawn FROM chaos.ticket;
            IF drawn > low THEN
                reason := chaos.has_come(low, runner, family);
                EXIT WHEN reason IS NOT NULL;
                IF looked = drawn THEN
                    low := drawn;  -- others; who has drawn waits a moment later, so look at them twice
                END IF;
                looked := drawn;
            END IF;
        END IF;
        IF runner IS NOT NULL THEN
            -- With a transaction's end goes its share of the lock that it waited for.
            IF NOT is_over AND pg_try_advisory_lock(57619, opened) THEN
                is_over := pg_advisory_unlock(57619, opened);
            END IF;
            IF is_over THEN
                reason := chaos.rests(runner, grace);
            END IF;
        END IF;
        IF clock_timestamp() > ending THEN
            reason := coalesce(reason, 'late');
        END IF;
        EXIT WHEN reason IS NOT NULL;
        -- Of whole milliseconds, rounded up: with 0.001 it sleeps for two.
        PERFORM pg_sleep(CASE WHEN clock_timestamp() < began + '10 ms' THEN 0.0009 ELSE 0.0019 END);
    END LOOP;
    RETURN json_build_object(
        'reason', reason,
        'waited', extract(epoch FROM clock_timestamp() - began),
        'there', coalesce(chaos.standing(named), '[]')
    );
END $$;

-- Tickets that nobody has drawn yet, held beforehand: as many as sessions can come at once.
CREATE FUNCTION chaos.window(drawn integer) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last integer := coalesce(nullif(current_setting('chaos.window_end', true), ''), '0')::integer;
    number integer;
BEGIN
    FOR number IN greatest(last, drawn) + 1 .. drawn + 64 LOOP
        PERFORM pg_advisory_lock(57619, number);
    END LOOP;
    PERFORM set_config('chaos.window_end', greatest(last, drawn + 64)::text, false);
END $$;

-- From here on the step's own parts, which have its search_path. Why a session rests: it has `ended`, or
-- was `idle` outside of any transaction for `grace` seconds.
CREATE FUNCTION chaos.rests(runner integer, grace double precision)
    RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    act record;
BEGIN
    PERFORM pg_stat_clear_snapshot();
    SELECT a.state, a.state_change INTO act FROM pg_stat_get_activity(runner) AS a;
    RETURN CASE
        WHEN act.state IS NULL THEN 'ended'
        WHEN act.state = 'idle'
            AND clock_timestamp() > act.state_change + make_interval(secs => grace) THEN 'idle'
    END;
END $$;

-- Does one that drew a number after `low` belong to the runner's family (or to anybody, without a
-- runner), and wait for it by now?
CREATE FUNCTION chaos.has_come(low integer, runner integer, family text)
    RETURNS text LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM pg_stat_clear_snapshot();
    RETURN (SELECT 'arrived' WHERE EXISTS (
        SELECT FROM pg_stat_get_activity(NULL) AS a
        WHERE a.wait_event_type = 'Lock' AND a.wait_event = 'advisory'
            AND (runner IS NULL OR a.application_name = family)
    ) AND EXISTS (
        SELECT FROM pg_lock_status() AS l JOIN pg_stat_get_activity(NULL) AS a USING (pid)
        WHERE l.locktype = 'advisory' AND l.classid = 57619 AND NOT l.granted
            AND l.objid::bigint > low AND (runner IS NULL OR a.application_name = family)
    ));
END $$;

-- Who stands at a point, by number, and who waits for a lock. From the functions behind the views of
-- activity and of locks: the views look up users and databases too. What is not `named` yet comes with
-- its text. Who waits has set its text before, so the locks are read first and the activity after: the
-- other way round it could be the text of the statement before.
CREATE FUNCTION chaos.standing(named bigint[])
    RETURNS json LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    pids integer[];
    tickets bigint[];
BEGIN
    SELECT array_agg(w.pid), array_agg(w.objid::bigint) INTO pids, tickets
    FROM pg_lock_status() AS w
    WHERE w.locktype = 'advisory' AND w.classid = 57619 AND NOT w.granted;
    PERFORM pg_stat_clear_snapshot();
    RETURN (
        SELECT json_agg(json_build_object(
            'ticket', l.ticket, 'pid', a.pid, 'process', a.application_name,
            'query', CASE WHEN l.ticket = ANY (named) THEN NULL ELSE a.query END,
            'writes', CASE WHEN NOT l.ticket = ANY (named) AND a.query ILIKE 'commit%' THEN (
                SELECT json_agg(c.relname ORDER BY c.relname)
                FROM pg_locks AS w JOIN pg_class AS c ON c.oid = w.relation
                WHERE w.pid = a.pid AND w.mode = 'RowExclusiveLock' AND c.relkind = 'r'
                    AND c.relnamespace = SCHEMA_OF_DAG::regnamespace
            ) END,
            'waits_for', CASE WHEN l.ticket IS NULL THEN pg_blocking_pids(a.pid) END
        ) ORDER BY l.ticket)
        FROM pg_stat_get_activity(NULL) AS a
            LEFT JOIN unnest(pids, tickets) AS l (pid, ticket) ON l.pid = a.pid
        WHERE a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (l.ticket IS NOT NULL OR (a.wait_event_type = 'Lock' AND a.wait_event <> 'advisory'))
    );
END $$;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chaos TO PUBLIC;
