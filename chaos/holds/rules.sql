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
    first_draw bigint NOT NULL DEFAULT nextval('chaos.draw')  -- draws count from here
);
GRANT SELECT ON chaos.rule TO PUBLIC;
GRANT USAGE, SELECT ON SEQUENCE chaos.draw TO PUBLIC;
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

CREATE FUNCTION chaos.wait(rule chaos.rule) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF rule.delay IS NOT NULL THEN
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

-- Every scan of a watched table pays for this one: without a rule for its process, some 3 us.
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

-- Every change of a row of a watched table pays for this one: is its commit to be held, or delayed?
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

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chaos TO PUBLIC;
