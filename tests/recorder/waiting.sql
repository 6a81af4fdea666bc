-- What holds tasks back, as `airflow db migrate` of 3.3.2 makes it: the columns that matter here.
CREATE TABLE dag (
    dag_id varchar(250) PRIMARY KEY,
    is_paused boolean NOT NULL DEFAULT false,
    is_stale boolean NOT NULL DEFAULT false,
    max_active_tasks integer NOT NULL DEFAULT 16,
    max_active_runs integer DEFAULT 16,
    has_task_concurrency_limits boolean NOT NULL DEFAULT false
);
CREATE TABLE slot_pool (
    id serial PRIMARY KEY,
    pool varchar(256) UNIQUE,
    slots integer NOT NULL,
    include_deferred boolean NOT NULL
);
CREATE TABLE backfill (
    id serial PRIMARY KEY,
    is_paused boolean DEFAULT false,
    max_active_runs integer NOT NULL DEFAULT 10
);
CREATE TABLE serialized_dag (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    dag_id varchar(250) NOT NULL,
    data jsonb,
    data_compressed bytea,
    last_updated timestamptz NOT NULL DEFAULT now()
);
INSERT INTO dag (dag_id) VALUES ('d');
INSERT INTO slot_pool (pool, slots, include_deferred) VALUES ('default_pool', 128, false);
