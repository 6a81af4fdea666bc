-- The audit: every committed change of a task instance or a DAG run, told by the database itself.
--
-- Run by the ordinary owner of Airflow's tables. All of it is the schema `oracle` and four triggers
-- that call its functions, so that dropping the schema leaves no trace.
-- Row triggers, because only they have WHEN: it looks at the essentials, and a heartbeat, which is
-- the most frequent update of a busy Airflow, never calls a function or writes a row.
-- A process is its application_name; one that has none is told by the address it connects from.
-- search_path is pinned in the functions, since the gate puts a schema of its own in front.
-- An error in here fails Airflow's statement, on purpose: a change that happened without a record
-- would make a false history, and a loud failure is better than that.

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

CREATE FUNCTION oracle.record_ti() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO oracle.audit (kind, body) VALUES ('ti', jsonb_build_object(
        'op', lower(TG_OP),
        'dag_id', coalesce(NEW.dag_id, OLD.dag_id),
        'run_id', coalesce(NEW.run_id, OLD.run_id),
        'task_id', coalesce(NEW.task_id, OLD.task_id),
        'map_index', coalesce(NEW.map_index, OLD.map_index),
        'old', CASE WHEN TG_OP <> 'INSERT' THEN jsonb_build_object(
            'id', OLD.id,
            'state', OLD.state,
            'try_number', OLD.try_number,
            'max_tries', OLD.max_tries,
            'queued_by_job_id', OLD.queued_by_job_id,
            'external_executor_id', OLD.external_executor_id
        ) END,
        'new', CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object(
            'id', NEW.id,
            'state', NEW.state,
            'try_number', NEW.try_number,
            'max_tries', NEW.max_tries,
            'queued_by_job_id', NEW.queued_by_job_id,
            'external_executor_id', NEW.external_executor_id
        ) END
    ));
    RETURN NULL;
END $$;

CREATE FUNCTION oracle.record_run() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO oracle.audit (kind, body) VALUES ('run', jsonb_build_object(
        'op', lower(TG_OP),
        'dag_id', coalesce(NEW.dag_id, OLD.dag_id),
        'run_id', coalesce(NEW.run_id, OLD.run_id),
        'old', CASE WHEN TG_OP <> 'INSERT' THEN jsonb_build_object('state', OLD.state) END,
        'new', CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object('state', NEW.state) END
    ));
    RETURN NULL;
END $$;

CREATE TRIGGER oracle_changed AFTER UPDATE ON task_instance
FOR EACH ROW WHEN (
    OLD.state IS DISTINCT FROM NEW.state
    OR OLD.try_number IS DISTINCT FROM NEW.try_number
    OR OLD.id IS DISTINCT FROM NEW.id
    OR OLD.max_tries IS DISTINCT FROM NEW.max_tries
    OR OLD.queued_by_job_id IS DISTINCT FROM NEW.queued_by_job_id
    OR OLD.external_executor_id IS DISTINCT FROM NEW.external_executor_id
) EXECUTE FUNCTION oracle.record_ti();

CREATE TRIGGER oracle_came_or_went AFTER INSERT OR DELETE ON task_instance
FOR EACH ROW EXECUTE FUNCTION oracle.record_ti();

CREATE TRIGGER oracle_changed AFTER UPDATE ON dag_run
FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION oracle.record_run();

CREATE TRIGGER oracle_came_or_went AFTER INSERT OR DELETE ON dag_run
FOR EACH ROW EXECUTE FUNCTION oracle.record_run();
