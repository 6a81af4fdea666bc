-- The audit: every committed change of a task instance or a DAG run, told by the database itself.
--
-- Run by the ordinary owner of Airflow's tables. All of it is the schema `oracle` and triggers that
-- call its functions, so that dropping the schema leaves no trace. Lines between a `--(` and
-- a `--)` are kept for the model that is named there only (recorder/tables.py).
--
-- No harm, in this order of weight:
--   * An error in here never fails a statement of Airflow's. That something was not recorded is told
--     by the sequence `lost`, and where a row can be written, why, by the first row of kind `gap`.
--   * No trigger names a column, in WHEN or UPDATE OF: PostgreSQL would refuse to alter its type,
--     and with it `airflow db migrate`. The functions look at the columns when they run, and what
--     is not there any more is a gap. A heartbeat returns from the first comparison.
--   * A block with EXCEPTION is a subtransaction. One that only reads costs no transaction id. One
--     that writes does, and more than 64 in a transaction slow down everybody's snapshots: so only
--     a transaction's first row is written in one. From then on the transaction holds a lock on
--     the audit, so that nobody can take it away from under the rows that follow.
--   * It stops by itself. A reader says every few seconds how far it has read, and how long that is
--     to be believed (`taken`, `lease`). Once that is over, or more is unread than a reader would
--     leave, nothing more is written: a laptop that is closed for good fills nobody's disk. What is
--     let go by then counts as lost. Sequences tell it: they are read without a query, they say the
--     same whatever a transaction's snapshot is, and none is in anybody's stream of changes.
--   * Other roles that may write Airflow's tables go on writing (SECURITY DEFINER, with a pinned
--     search_path); the application_name, by which a process is known, stays the session's own. A
--     process that has none is told by the address it connects from.

CREATE SCHEMA oracle;

CREATE TABLE oracle.audit (
    seq bigserial,
    xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    process text NOT NULL DEFAULT coalesce(
        nullif(pg_catalog.current_setting('application_name'), ''),
        pg_catalog.host(pg_catalog.inet_client_addr()),
        ''
    ),
    kind text NOT NULL,
    body jsonb NOT NULL,
    -- One index serves both: readers ask by xid.
    PRIMARY KEY (xid, seq)
);

-- One row. It is lost together with the audit's rows when a crash empties what is UNLOGGED.
CREATE TABLE oracle.epoch (since timestamptz PRIMARY KEY);
INSERT INTO oracle.epoch VALUES (pg_catalog.clock_timestamp());

-- The tables beside the two that are recorded always.
CREATE TABLE oracle.watched (name text PRIMARY KEY);

CREATE SEQUENCE oracle.lost;

-- Until when the reader is believed to be there, in unix seconds; and the last row there was when
-- all was read. Whoever installs this is the first to set them.
CREATE SEQUENCE oracle.lease;
CREATE SEQUENCE oracle.taken;

CREATE FUNCTION oracle.count_lost() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (SELECT is_called FROM oracle.lost) THEN
        PERFORM nextval('oracle.lost');
    END IF;
EXCEPTION WHEN OTHERS THEN
    NULL;  -- somebody took the schema apart, which a reader sees by itself
END $$;

CREATE FUNCTION oracle.write_first(what text, told jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- One gap is enough for any verdict: whoever changes millions of rows meets it at each of them.
    IF what = 'gap' THEN
        IF (SELECT is_called FROM oracle.lost) THEN
            RETURN;
        END IF;
        PERFORM nextval('oracle.lost');
    END IF;
    INSERT INTO oracle.audit (kind, body) VALUES (what, told);
EXCEPTION WHEN OTHERS THEN
    PERFORM oracle.count_lost();
END $$;

-- A single expression, which PostgreSQL puts in the place of its call: it costs what it would there.
CREATE FUNCTION oracle.nobody_reads() RETURNS boolean
LANGUAGE sql AS $$
    SELECT coalesce(pg_sequence_last_value('oracle.lease'), 0)
            < extract(epoch FROM clock_timestamp())
        OR pg_sequence_last_value('oracle.audit_seq_seq') - pg_sequence_last_value('oracle.taken')
            > 500000
$$;

CREATE FUNCTION oracle.record_ti() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what text := 'ti';
    told jsonb;
    begun boolean := false;  -- this transaction has a row in the audit
BEGIN
    BEGIN
        IF TG_OP = 'UPDATE'
            AND OLD.state IS NOT DISTINCT FROM NEW.state
            AND OLD.try_number IS NOT DISTINCT FROM NEW.try_number
            AND OLD.id IS NOT DISTINCT FROM NEW.id
            AND OLD.max_tries IS NOT DISTINCT FROM NEW.max_tries
            AND OLD.queued_by_job_id IS NOT DISTINCT FROM NEW.queued_by_job_id
            AND OLD.external_executor_id IS NOT DISTINCT FROM NEW.external_executor_id
            --( row-per-attempt
            AND OLD.working_set IS NOT DISTINCT FROM NEW.working_set
            AND OLD.archived_reason IS NOT DISTINCT FROM NEW.archived_reason
            --)
        THEN
            RETURN NULL;
        END IF;
        IF oracle.nobody_reads() THEN
            PERFORM oracle.count_lost();
            RETURN NULL;
        END IF;
        told := jsonb_build_object(
            'op', lower(TG_OP),
            'dag_id', coalesce(NEW.dag_id, OLD.dag_id),
            'run_id', coalesce(NEW.run_id, OLD.run_id),
            'task_id', coalesce(NEW.task_id, OLD.task_id),
            --( row-per-task
            'map_index', coalesce(NEW.map_index, OLD.map_index),
            --)
            --( row-per-attempt
            'map_index', coalesce(NEW.region_index, OLD.region_index),
            --)
            'old', CASE WHEN TG_OP <> 'INSERT' THEN jsonb_build_object(
                --( row-per-attempt
                'archived', OLD.working_set IS NULL,
                'archived_reason', CASE WHEN OLD.working_set IS NULL THEN OLD.archived_reason END,
                --)
                'id', OLD.id,
                'state', OLD.state,
                'try_number', OLD.try_number,
                'max_tries', OLD.max_tries,
                'queued_by_job_id', OLD.queued_by_job_id,
                'external_executor_id', OLD.external_executor_id,
                'pool', OLD.pool,
                'pool_slots', OLD.pool_slots
            ) END,
            'new', CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object(
                --( row-per-attempt
                'archived', NEW.working_set IS NULL,
                'archived_reason', CASE WHEN NEW.working_set IS NULL THEN NEW.archived_reason END,
                --)
                'id', NEW.id,
                'state', NEW.state,
                'try_number', NEW.try_number,
                'max_tries', NEW.max_tries,
                'queued_by_job_id', NEW.queued_by_job_id,
                'external_executor_id', NEW.external_executor_id,
                'pool', NEW.pool,
                'pool_slots', NEW.pool_slots
            ) END
        );
        --( row-per-attempt
        -- Airflow's SENTINEL_REGION_ID stands for no region.
        IF coalesce(NEW.region_id, OLD.region_id) <> '00000000-0000-0000-0000-000000000000' THEN
            told := told || jsonb_build_object('region', coalesce(NEW.region_id, OLD.region_id));
        END IF;
        --)
        begun := EXISTS (SELECT FROM oracle.audit AS a WHERE a.xid = pg_current_xact_id());
    EXCEPTION WHEN OTHERS THEN
        what := 'gap';
        told := jsonb_build_object('table', TG_TABLE_NAME, 'reason', SQLERRM);
    END;
    IF begun THEN
        INSERT INTO oracle.audit (kind, body) VALUES (what, told);
    ELSE
        PERFORM oracle.write_first(what, told);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION oracle.record_run() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what text := 'run';
    told jsonb;
    begun boolean := false;  -- this transaction has a row in the audit
BEGIN
    BEGIN
        -- A run that is finished once more keeps its state, and gets another end.
        IF TG_OP = 'UPDATE'
            AND OLD.state IS NOT DISTINCT FROM NEW.state
            AND OLD.end_date IS NOT DISTINCT FROM NEW.end_date
        THEN
            RETURN NULL;
        END IF;
        IF oracle.nobody_reads() THEN
            PERFORM oracle.count_lost();
            RETURN NULL;
        END IF;
        told := jsonb_build_object(
            'op', lower(TG_OP),
            'dag_id', coalesce(NEW.dag_id, OLD.dag_id),
            'run_id', coalesce(NEW.run_id, OLD.run_id),
            'id', coalesce(NEW.id, OLD.id),
            'backfill', coalesce(NEW.backfill_id, OLD.backfill_id),
            'old', CASE WHEN TG_OP <> 'INSERT' THEN jsonb_build_object(
                'state', OLD.state, 'end', extract(epoch FROM OLD.end_date)
            ) END,
            'new', CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object(
                'state', NEW.state, 'end', extract(epoch FROM NEW.end_date)
            ) END
        );
        begun := EXISTS (SELECT FROM oracle.audit AS a WHERE a.xid = pg_current_xact_id());
    EXCEPTION WHEN OTHERS THEN
        what := 'gap';
        told := jsonb_build_object('table', TG_TABLE_NAME, 'reason', SQLERRM);
    END;
    IF begun THEN
        INSERT INTO oracle.audit (kind, body) VALUES (what, told);
    ELSE
        PERFORM oracle.write_first(what, told);
    END IF;
    RETURN NULL;
END $$;

-- Of a request for a callback, whose it is. The rest is the user's: a run's conf, a task's error.
CREATE FUNCTION oracle.whose(told jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    SELECT jsonb_build_object(
        'id', told -> 'id',
        'request', coalesce(held ->> 'req_class', told ->> 'callback_type'),
        'failed', request -> 'is_failure_callback',
        'dag_id', coalesce(request -> 'dag_id', request #> '{ti,dag_id}'),
        'run_id', coalesce(request -> 'run_id', request #> '{ti,run_id}'),
        'task_id', request #> '{ti,task_id}',
        'map_index', request #> '{ti,map_index}',
        'ti', request #> '{ti,id}',
        'try_number', request #> '{ti,try_number}'
    )
    FROM (SELECT coalesce(told #> '{data,__var}', told -> 'data') AS held) AS a,
        LATERAL (
            SELECT coalesce(held ->> 'req_data', told ->> 'callback_data')::jsonb AS request
        ) AS b
$$;

-- Other tables' rows, in the columns that the trigger names: what a promise is about.
CREATE FUNCTION oracle.record_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what text := 'row';
    told jsonb;
    old_row jsonb;
    new_row jsonb;
    begun boolean := false;  -- this transaction has a row in the audit
BEGIN
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            SELECT jsonb_object_agg(each.key, each.value) INTO old_row
            FROM jsonb_each(to_jsonb(OLD)) AS each WHERE each.key = ANY (TG_ARGV);
        END IF;
        IF TG_OP <> 'DELETE' THEN
            SELECT jsonb_object_agg(each.key, each.value) INTO new_row
            FROM jsonb_each(to_jsonb(NEW)) AS each WHERE each.key = ANY (TG_ARGV);
        END IF;
        IF TG_TABLE_NAME IN ('callback', 'callback_request') THEN
            new_row := oracle.whose(new_row);
        END IF;
        IF TG_OP = 'UPDATE' AND old_row IS NOT DISTINCT FROM new_row THEN
            RETURN NULL;
        END IF;
        IF oracle.nobody_reads() THEN
            PERFORM oracle.count_lost();
            RETURN NULL;
        END IF;
        told := jsonb_build_object(
            'op', lower(TG_OP), 'table', TG_TABLE_NAME, 'old', old_row, 'new', new_row
        );
        begun := EXISTS (SELECT FROM oracle.audit AS a WHERE a.xid = pg_current_xact_id());
    EXCEPTION WHEN OTHERS THEN
        what := 'gap';
        told := jsonb_build_object('table', TG_TABLE_NAME, 'reason', SQLERRM);
    END;
    IF begun THEN
        INSERT INTO oracle.audit (kind, body) VALUES (what, told);
    ELSE
        PERFORM oracle.write_first(what, told);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION oracle.record_emptied() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM oracle.write_first('gap', jsonb_build_object(
        'table', TG_TABLE_NAME, 'reason', 'the table was emptied by TRUNCATE'
    ));
    RETURN NULL;
END $$;

-- Triggers need nobody's right to execute; without it nobody writes in the owner's name.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA oracle FROM PUBLIC;

-- Who may read task_instance may read the audit of it, so that a backup under another role goes on;
-- who may insert there may write the ledger here, so that tasks under another role go on.
DO $$
DECLARE
    who text;
    may text;
BEGIN
    FOR who, may IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
            a.privilege_type
        FROM pg_class AS c, aclexplode(c.relacl) AS a
        WHERE c.oid = to_regclass('task_instance') AND a.privilege_type IN ('SELECT', 'INSERT')
    LOOP
        EXECUTE 'GRANT USAGE ON SCHEMA oracle TO ' || who;
        IF may = 'INSERT' THEN
            EXECUTE 'GRANT INSERT ON oracle.audit TO ' || who;
            EXECUTE 'GRANT USAGE ON SEQUENCE oracle.audit_seq_seq TO ' || who;
        ELSE
            EXECUTE 'GRANT SELECT ON ALL TABLES IN SCHEMA oracle TO ' || who;
            EXECUTE 'GRANT SELECT ON ALL SEQUENCES IN SCHEMA oracle TO ' || who;
        END IF;
    END LOOP;
END $$;
