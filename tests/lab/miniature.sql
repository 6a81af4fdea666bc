-- Airflow's tables as far as the statements under test read them; the rest of the columns that
-- they name is added from their text.
CREATE TABLE dag (
    dag_id varchar(250) PRIMARY KEY,
    is_paused boolean NOT NULL DEFAULT false,
    is_stale boolean NOT NULL DEFAULT false,
    max_active_runs integer NOT NULL DEFAULT 16
);
CREATE TABLE backfill (
    id serial PRIMARY KEY,
    is_paused boolean,
    max_active_runs integer
);
CREATE TABLE dag_run (
    id serial PRIMARY KEY,
    dag_id varchar(250) NOT NULL,
    run_id varchar(250) NOT NULL,
    state varchar(50) NOT NULL,
    backfill_id integer,
    run_after timestamptz NOT NULL DEFAULT now(),
    last_scheduling_decision timestamptz,
    UNIQUE (dag_id, run_id)
);
CREATE INDEX idx_dag_run_running_dags ON dag_run (state, dag_id) WHERE state = 'running';
CREATE TABLE backfill_dag_run (
    id serial PRIMARY KEY,
    backfill_id integer NOT NULL,
    dag_run_id integer REFERENCES dag_run (id) ON DELETE SET NULL,
    sort_ordinal integer NOT NULL
);
CREATE TABLE task_instance (
    id serial PRIMARY KEY,
    dag_id varchar(250) NOT NULL,
    run_id varchar(250) NOT NULL,
    task_id varchar(250) NOT NULL,
    state varchar(20),
    try_number integer NOT NULL DEFAULT 0,
    FOREIGN KEY (dag_id, run_id) REFERENCES dag_run (dag_id, run_id) ON DELETE CASCADE
);
CREATE INDEX ti_dag_run ON task_instance (dag_id, run_id);

INSERT INTO dag (dag_id) SELECT 'dag-' || n FROM generate_series(1, 20) AS n;
INSERT INTO dag_run (dag_id, run_id, state) VALUES ('dag-1', 'run-1', 'running');
INSERT INTO task_instance (dag_id, run_id, task_id) VALUES ('dag-1', 'run-1', 'start');
