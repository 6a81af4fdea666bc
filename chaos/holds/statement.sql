-- A delay and a hold INSIDE a statement: after its snapshot, before its row locks.
--
--   statement of a process --> snapshot --> scan of dag --> LockRows --> rest
--                                              |
--                                    policy: (SELECT chaos.pass())
--                                              |
--                                    rule for this process and this statement?
--                                    sleep, or wait for the rule's advisory lock
--
-- The policy's sub-select does not depend on a row, so the planner makes it an InitPlan: it runs
-- once a statement, and lazily: for the first row that the scan of dag has to filter, which an
-- index condition has let through by then. The executor takes the snapshot before any scan, and
-- LockRows gets its first row only from the finished join, so the hold is between the two in every
-- plan. What finds no row of dag is never held: a join without a candidate before it reaches dag
-- (nothing is locked then, either), and a scan for a dag_id that is not there.
--
-- A rule is in force while its controller holds the advisory lock (57618, key) exclusively: a
-- controller that dies loses its locks, and with them its holds and delays are over.
--
-- Everything stands in schema chaos, but for two policies and two flags on dag, which the session
-- that runs this finds by its search_path; SCHEMA_OF_DAG becomes its schema, as a literal.

CREATE SCHEMA chaos;
-- Every role that may use dag runs the policy's functions, also where a database's default
-- privileges give PUBLIC nothing; the rights at the end let a backup under another role go on.
GRANT USAGE ON SCHEMA chaos TO PUBLIC;

CREATE SEQUENCE chaos.key AS integer;
CREATE SEQUENCE chaos.draw;

-- UNLOGGED: no subscriber of this database gets it, and a crash ends every rule anyway.
CREATE UNLOGGED TABLE chaos.rule (
    key integer PRIMARY KEY,
    process text NOT NULL,                                    -- LIKE pattern of application_name
    statement text NOT NULL,                                  -- LIKE pattern of the query's text
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
    IF pg_try_advisory_lock_shared(57618, rule.key) THEN
        PERFORM pg_advisory_unlock_shared(57618, rule.key);
        RETURN false;
    END IF;
    RETURN true;
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

-- Every statement that scans dag pays for this one: without a rule for its process, some 3 us.
-- Where tables have a schema of their own (sql_alchemy_schema), SQLAlchemy writes it before each.
CREATE FUNCTION chaos.pass() RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule chaos.rule;
BEGIN
    FOR rule IN
        SELECT * FROM chaos.rule AS r
        WHERE current_setting('application_name') LIKE r.process
          AND replace(current_query(), SCHEMA_OF_DAG || '.', '') LIKE r.statement
    LOOP
        IF rule.delay IS NOT NULL THEN
            PERFORM chaos.sleep(rule);
        ELSE
            PERFORM pg_advisory_lock_shared(57618, rule.key);
            PERFORM pg_advisory_unlock_shared(57618, rule.key);
        END IF;
    END LOOP;
    RETURN true;
END $$;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chaos TO PUBLIC;

CREATE POLICY chaos_all ON dag USING (true) WITH CHECK (true);
CREATE POLICY chaos_pass ON dag AS RESTRICTIVE FOR SELECT
    USING ((SELECT chaos.pass()) IS NOT NULL);
ALTER TABLE dag ENABLE ROW LEVEL SECURITY;
ALTER TABLE dag FORCE ROW LEVEL SECURITY;
