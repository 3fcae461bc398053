-- The schema of AgileQuant.Bench. Times are the database's own (clock_timestamp()); states are text with checks, so that
-- a person can read the tables. A driver's writes carry the epoch of its lease (functions at the end).

create table cluster (
    only_row boolean primary key default true check (only_row),
    id uuid not null default gen_random_uuid(),
    created_at timestamptz not null default clock_timestamp()
);
insert into cluster default values;

create table node (
    id uuid primary key,
    name text not null check (length(name) between 1 and 100),
    version text not null,
    boot_id text,
    started_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    stopped_at timestamptz
);

-- Epochs of all leases come from one counter: a board remembers the highest it has seen, so a device that is removed and added
-- again must not start from the beginning.
create sequence lease_epoch as bigint;

create table device (
    id uuid primary key,
    name text not null check (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    address text not null check (length(address) <= 300),
    kind text not null check (kind in ('real', 'emulated', 'simulated')),
    host_key text not null,
    identity_file text,
    state text not null default 'registering'
        check (state in ('registering', 'ready', 'busy', 'cooling', 'offline', 'bad', 'retired')),
    state_reason text,
    desired_state text not null default 'active' check (desired_state in ('active', 'retired')),
    -- A check is wanted while requested > done; adoption likewise.
    check_requested bigint not null default 1,
    check_done bigint not null default 0,
    adopt_requested boolean not null default false,
    -- Set by whoever finds the board's numbers wrong; the driver turns it into state bad, a check clears it.
    quarantine text,
    failures int not null default 0,
    retry_at timestamptz,
    lease_node uuid references node (id),
    lease_until timestamptz,
    epoch bigint not null default 0,
    boot_id text,
    idle_celsius double precision,
    best_loop_ns bigint,
    facts jsonb,
    selftest jsonb,
    engine_sha256 text,
    created_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz
);
create unique index device_name on device (name) where state <> 'retired';
create index device_lease on device (lease_node) where lease_node is not null;

create table artifact (
    sha256 text primary key check (sha256 ~ '^[0-9a-f]{64}$'),
    kind text not null check (kind in ('engine', 'model', 'dataset', 'pack', 'tokens')),
    bytes bigint not null check (bytes >= 0),
    created_at timestamptz not null default clock_timestamp()
);

create table engine (
    id uuid primary key,
    target text not null,
    version text not null,
    build text not null,
    sha256 text not null references artifact (sha256),
    bytes bigint not null,
    current boolean not null,
    created_at timestamptz not null default clock_timestamp(),
    unique (target, sha256)
);
create unique index engine_current on engine (target) where current;

create table model (
    id uuid primary key,
    name text not null unique check (length(name) between 1 and 100),
    architecture text not null,
    parameters bigint not null,
    layers int not null,
    dimension int not null,
    feed_forward int not null,
    heads int not null,
    kv_heads int not null,
    context_length int not null,
    vocabulary_size int not null,
    random_weights boolean not null,
    has_tokenizer boolean not null,
    source text not null,
    sha256 text not null references artifact (sha256),
    bytes bigint not null,
    created_at timestamptz not null default clock_timestamp()
);

create table dataset (
    id uuid primary key,
    name text not null unique check (length(name) between 1 and 100),
    format text not null,
    sha256 text not null references artifact (sha256),
    bytes bigint not null,
    created_at timestamptz not null default clock_timestamp()
);

create table pack (
    id uuid primary key,
    model_id uuid not null references model (id),
    precision text not null,
    recipe text not null,
    recipe_sha text not null,
    sha256 text references artifact (sha256),
    bytes bigint,
    created_at timestamptz not null default clock_timestamp(),
    unique (model_id, precision, recipe_sha)
);

create table token_file (
    id uuid primary key,
    model_id uuid not null references model (id),
    dataset_id uuid not null references dataset (id),
    sha256 text references artifact (sha256),
    ids bigint,
    created_at timestamptz not null default clock_timestamp(),
    unique (model_id, dataset_id)
);

-- The whole text scored once per pack, on a node.
create table score (
    id uuid primary key,
    pack_id uuid not null references pack (id),
    token_file_id uuid not null references token_file (id),
    convention text not null,
    windows int,
    engine_sha256 text,
    isa text,
    figures jsonb,
    created_at timestamptz not null default clock_timestamp(),
    unique (pack_id, token_file_id, convention)
);
create table score_window (
    score_id uuid not null references score (id) on delete cascade,
    window_index int not null,
    nll bytea not null,
    primary key (score_id, window_index)
);

-- Work that nodes do themselves, each once however many matrices wait for it.
create table node_job (
    id uuid primary key,
    kind text not null check (kind in ('pack', 'tokens', 'score')),
    subject_id uuid not null,
    state text not null default 'waiting' check (state in ('waiting', 'running', 'done', 'failed', 'cancelled')),
    reason text,
    attempts int not null default 0,
    max_attempts int not null default 3,
    not_before timestamptz not null default clock_timestamp(),
    progress double precision not null default 0,
    lease_node uuid references node (id),
    lease_until timestamptz,
    epoch bigint not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    unique (kind, subject_id)
);
create index node_job_open on node_job (created_at) where state in ('waiting', 'running');

create table matrix (
    id uuid primary key,
    name text not null check (length(name) between 1 and 100),
    spec jsonb not null,
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    cancel_requested_at timestamptz,
    cancel_requested_by text,
    finished_at timestamptz
);
create index matrix_created on matrix (created_at desc);

create table matrix_node_job (
    matrix_id uuid not null references matrix (id) on delete cascade,
    node_job_id uuid not null references node_job (id),
    primary key (matrix_id, node_job_id)
);
create index matrix_node_job_node_job on matrix_node_job (node_job_id);

create table run (
    id uuid primary key,
    matrix_id uuid not null references matrix (id) on delete cascade,
    device_id uuid not null references device (id),
    model_id uuid not null references model (id),
    precision text not null,
    workload_index int not null,
    workload text not null,
    pack_id uuid not null references pack (id),
    token_file_id uuid references token_file (id),
    asks_speed boolean not null,
    asks_perplexity boolean not null,
    convention text,
    -- How it ended; waiting, packing, queued and running are worked out from its jobs.
    state text not null default 'open' check (state in ('open', 'complete', 'incomplete', 'cancelled')),
    reason text,
    finished_at timestamptz,
    unique (matrix_id, device_id, model_id, precision, workload_index),
    check (asks_speed or asks_perplexity)
);
create index run_open on run (matrix_id) where state = 'open';
create index run_device on run (device_id);

create table job (
    id uuid primary key,
    matrix_id uuid not null references matrix (id) on delete cascade,
    device_id uuid not null references device (id),
    model_id uuid not null references model (id),
    workload_index int not null,
    kind text not null check (kind in ('timing', 'perplexity')),
    settings jsonb not null,
    token_file_id uuid references token_file (id),
    state text not null default 'waiting' check (state in ('waiting', 'running', 'done', 'failed', 'cancelled')),
    reason text,
    attempts int not null default 0,
    max_attempts int not null default 3 check (max_attempts between 1 and 20),
    not_before timestamptz not null default clock_timestamp(),
    progress double precision not null default 0,
    position int not null,
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz
);
create index job_open on job (device_id, created_at, position) where state in ('waiting', 'running');
create index job_matrix on job (matrix_id);

create table attempt (
    id uuid primary key,
    job_id uuid not null references job (id) on delete cascade,
    device_id uuid not null references device (id),
    number int not null,
    node_id uuid not null references node (id),
    epoch bigint not null,
    state text not null default 'starting'
        check (state in ('starting', 'running', 'done', 'failed', 'lost', 'stopped')),
    reason text,
    plan text not null,
    engine_sha256 text not null,
    engine_version text,
    engine_build text,
    isa text,
    boot_id text,
    fingerprint text,
    kernel text,
    transport text not null,
    gate jsonb,
    journal_offset bigint not null default 0,
    -- How often its results could not be brought home; after some it counts as failed.
    collect_failures int not null default 0,
    progress double precision not null default 0,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    unique (job_id, number)
);
-- Jobs of one device are strictly one at a time.
create unique index attempt_live on attempt (device_id) where state in ('starting', 'running');

-- A block of a job's plan; its outcome is the one accepted attempt's.
create table block (
    job_id uuid not null references job (id) on delete cascade,
    index int not null,
    run_id uuid not null references run (id) on delete cascade,
    precision text not null,
    kind text not null check (kind in ('prefill', 'generate', 'perplexity')),
    round int not null,
    state text not null default 'planned' check (state in ('planned', 'done', 'failed', 'impossible')),
    reason text,
    attempt_id uuid references attempt (id),
    tokens int,
    load_ms double precision,
    peak_rss bigint,
    primary key (job_id, index)
);
create index block_run on block (run_id);

create table sample (
    attempt_id uuid not null references attempt (id) on delete cascade,
    block int not null,
    warmup boolean not null,
    index int not null,
    ns bigint not null check (ns > 0),
    primary key (attempt_id, block, warmup, index)
);

create table nll (
    run_id uuid not null references run (id) on delete cascade,
    window_index int not null,
    attempt_id uuid not null references attempt (id),
    nll bytea not null,
    primary key (run_id, window_index)
);

create table result (
    id uuid primary key default gen_random_uuid(),
    run_id uuid not null references run (id) on delete cascade,
    kind text not null check (kind in ('speed', 'perplexity')),
    attempt_id uuid not null references attempt (id),
    accepted boolean not null,
    figures jsonb not null,
    grade jsonb,
    -- Perplexity: the largest difference a token to the node's score; null while not compared.
    node_agreement double precision,
    created_at timestamptz not null default clock_timestamp()
);
create unique index result_accepted on result (run_id, kind) where accepted;

create table telemetry (
    id bigint generated always as identity primary key,
    device_id uuid not null references device (id),
    attempt_id uuid references attempt (id) on delete cascade,
    at timestamptz not null default clock_timestamp(),
    points jsonb not null
);
create index telemetry_device on telemetry (device_id, id desc);
create index telemetry_attempt on telemetry (attempt_id, id);

-- Staging: written by COPY without locks, keyed by attempt and epoch, moved by accept_attempt.
create table staged_block (
    attempt_id uuid not null, epoch bigint not null, block int not null, state text not null, reason text,
    tokens int, load_ms double precision, peak_rss bigint
);
create index staged_block_attempt on staged_block (attempt_id);
create table staged_sample (
    attempt_id uuid not null, epoch bigint not null, block int not null, warmup boolean not null, index int not null, ns bigint not null
);
create index staged_sample_attempt on staged_sample (attempt_id);
create table staged_nll (
    attempt_id uuid not null, epoch bigint not null, run_id uuid not null, window_index int not null, nll bytea not null
);
create index staged_nll_attempt on staged_nll (attempt_id);
create table staged_result (
    attempt_id uuid not null, epoch bigint not null, run_id uuid not null, kind text not null, figures jsonb not null, grade jsonb
);
create index staged_result_attempt on staged_result (attempt_id);

-- Who uses a physical host (boot id) now: timing jobs exclusively, everything else of ours shared.
create table host_use (
    boot_id text not null,
    holder uuid not null,
    exclusive boolean not null,
    granted boolean not null,
    what text not null,
    asked_at timestamptz not null default clock_timestamp(),
    until timestamptz not null,
    primary key (boot_id, holder)
);

create table sign_in_token (
    hash text primary key check (hash ~ '^[0-9a-f]{64}$'),
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    used_at timestamptz
);

create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    who text not null,
    what text not null,
    subject uuid,
    details text
);

-- Asks for a host. True: the holder may use it until the time to live has passed (call again to renew).
-- An exclusive wish that waits keeps new shared users out, so that it cannot starve.
create function take_host(p_boot text, p_holder uuid, p_exclusive boolean, p_what text, p_ttl interval) returns boolean
language plpgsql as $$
declare
    ok boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended('host:' || p_boot, 0));
    delete from host_use where boot_id = p_boot and until < clock_timestamp() and holder <> p_holder;
    insert into host_use (boot_id, holder, exclusive, granted, what, until)
    values (p_boot, p_holder, p_exclusive, false, p_what, clock_timestamp() + p_ttl)
    on conflict (boot_id, holder) do update set until = clock_timestamp() + p_ttl;
    select h.granted or not exists (
        select 1 from host_use o
        where o.boot_id = p_boot and o.holder <> p_holder
          and (case when h.exclusive then o.granted or (o.exclusive and (o.asked_at, o.holder) < (h.asked_at, h.holder))
                    else o.exclusive end))
    into ok from host_use h where h.boot_id = p_boot and h.holder = p_holder;
    if ok then
        update host_use set granted = true where boot_id = p_boot and holder = p_holder and not granted;
    elsif not p_exclusive then
        delete from host_use where boot_id = p_boot and holder = p_holder;
    end if;
    return ok;
end $$;

-- What a matrix with no open run may still wait for: scores of the whole text, and comparisons of figures that have just come in
-- (not for ever: a comparison that cannot be made must not keep a matrix open).
create function figures_to_come(p_matrix uuid) returns boolean
language sql volatile as $$
    select exists (
        select 1 from matrix_node_job l join node_job n on n.id = l.node_job_id
        where l.matrix_id = p_matrix and n.kind = 'score' and n.state in ('waiting', 'running'))
    or exists (
        select 1 from run r join result x on x.run_id = r.id and x.kind = 'perplexity' and x.accepted and x.node_agreement is null
        join score s on s.pack_id = r.pack_id and s.token_file_id = r.token_file_id and s.convention = r.convention and s.figures is not null
        join node_job n on n.kind = 'score' and n.subject_id = s.id
        where r.matrix_id = p_matrix and greatest(x.created_at, n.finished_at) > clock_timestamp() - interval '30 seconds')
    or exists (
        select 1 from matrix_node_job l join node_job n on n.id = l.node_job_id and n.kind = 'score'
        join score s on s.id = n.subject_id and s.figures -> 'deltaPercent' = 'null'
        join pack p on p.id = s.pack_id and p.precision <> 'fp16'
        join pack f on f.model_id = p.model_id and f.precision = 'fp16'
        join score b on b.pack_id = f.id and b.token_file_id = s.token_file_id and b.convention = s.convention and b.figures is not null
        join node_job nb on nb.kind = 'score' and nb.subject_id = b.id
        where l.matrix_id = p_matrix and greatest(n.finished_at, nb.finished_at) > clock_timestamp() - interval '30 seconds');
$$;

-- Cancels nodes' work of a matrix that no open matrix waits for.
create function drop_node_jobs(p_matrix uuid) returns void
language sql volatile as $$
    update node_job n set state = 'cancelled', reason = 'cancelled', finished_at = clock_timestamp()
    where n.state in ('waiting', 'running') and exists (select 1 from matrix_node_job l where l.node_job_id = n.id and l.matrix_id = p_matrix)
      and not exists (
        select 1 from matrix_node_job l join matrix m on m.id = l.matrix_id
        where l.node_job_id = n.id and m.cancel_requested_at is null and m.finished_at is null);
$$;

-- Ends the runs of a matrix that can no longer get what they ask for, and the matrix when nothing of it is left to come.
create function settle_runs(p_matrix uuid) returns void
language plpgsql as $$
begin
    -- One at a time: of two jobs that end together, the later sees the other's end.
    perform 1 from matrix where id = p_matrix for no key update;

    update run r set state = 'complete', finished_at = clock_timestamp(), reason = null
    where r.matrix_id = p_matrix and r.state = 'open'
      and (not r.asks_speed or exists (select 1 from result x where x.run_id = r.id and x.kind = 'speed' and x.accepted))
      and (not r.asks_perplexity or exists (select 1 from result x where x.run_id = r.id and x.kind = 'perplexity' and x.accepted));

    -- A run whose jobs have all ended without giving everything: say why with the job's or the block's own words.
    update run r set
        state = case when ended.cancelled then 'cancelled' else 'incomplete' end,
        finished_at = clock_timestamp(),
        reason = coalesce(ended.block_reason, ended.job_reason, 'its job ended without this result')
    from (
        select b.run_id,
               bool_or(j.state = 'cancelled') as cancelled,
               max(b.reason) filter (where b.state in ('failed', 'impossible')) as block_reason,
               max(j.reason) as job_reason
        from block b join job j on j.id = b.job_id
        where j.matrix_id = p_matrix
        group by b.run_id
        having bool_and(j.state in ('done', 'failed', 'cancelled'))
    ) ended
    where r.id = ended.run_id and r.matrix_id = p_matrix and r.state = 'open';

    update matrix m set finished_at = clock_timestamp()
    where m.id = p_matrix and m.finished_at is null
      and not exists (select 1 from run r where r.matrix_id = p_matrix and r.state = 'open')
      and (m.cancel_requested_at is not null or not figures_to_come(p_matrix));
    if found then
        perform drop_node_jobs(p_matrix);
    end if;
end $$;

-- Finishes the matrices that only waited for scores and comparisons. Cheap, and safe to repeat.
create function settle_matrices() returns void
language sql volatile as $$
    select settle_runs(x.id) from (
        select m.id from matrix m
        where m.finished_at is null and not exists (select 1 from run r where r.matrix_id = m.id and r.state = 'open')
        order by m.id) x;
$$;

-- The job's matrix, locked, when the lease is valid (and stays so to the end of the transaction); else null.
-- Everybody locks a matrix before its jobs, so that they do not wait for each other in a circle.
create function lock_job(p_device uuid, p_node uuid, p_epoch bigint, p_job uuid) returns uuid
language plpgsql as $$
declare
    m uuid;
begin
    perform 1 from device where id = p_device and epoch = p_epoch and lease_node = p_node for share;
    if not found then
        return null;
    end if;
    select matrix_id into m from job where id = p_job and device_id = p_device;
    perform 1 from matrix where id = m for no key update;
    return m;
end $$;

-- Ends a job without an attempt, with its runs. False: the lease is lost or the job has ended; nothing has changed.
create function end_job(p_device uuid, p_node uuid, p_epoch bigint, p_job uuid, p_state text, p_reason text) returns boolean
language plpgsql as $$
declare
    m uuid := lock_job(p_device, p_node, p_epoch, p_job);
begin
    update job set state = p_state, reason = p_reason, finished_at = clock_timestamp()
    where id = p_job and m is not null and state in ('waiting', 'running');
    if not found then
        return false;
    end if;
    perform settle_runs(m);
    return true;
end $$;

-- Counts a try that did not get as far as an attempt: the job is put off, or has failed for good and its runs with it.
create function fail_job_start(p_device uuid, p_node uuid, p_epoch bigint, p_job uuid, p_reason text, p_retry_after interval) returns boolean
language plpgsql as $$
declare
    m uuid := lock_job(p_device, p_node, p_epoch, p_job);
begin
    update job set attempts = attempts + 1, reason = p_reason, not_before = clock_timestamp() + p_retry_after,
        state = case when attempts + 1 >= max_attempts then 'failed' else 'waiting' end,
        finished_at = case when attempts + 1 >= max_attempts then clock_timestamp() end
    where id = p_job and m is not null and state = 'waiting';
    if not found then
        return false;
    end if;
    perform settle_runs(m);
    return true;
end $$;

-- Accepts what an attempt has staged, in one statement: checks the lease's epoch under FOR SHARE, moves the staged rows,
-- ends the attempt and settles job, runs and matrix.
-- Returns 'accepted', 'already' (a repeated call), or 'lease lost' (nothing has changed).
create function accept_attempt(
    p_attempt uuid, p_node uuid, p_epoch bigint, p_state text, p_reason text, p_retry_after interval) returns text
language plpgsql as $$
declare
    a attempt;
    j job;
    left_over int;
begin
    -- FOR SHARE: a take-over of the lease waits for this statement, or this statement sees the new epoch.
    perform 1 from device d join attempt t on t.device_id = d.id
    where t.id = p_attempt and d.epoch = p_epoch and d.lease_node = p_node
    for share of d;
    if not found then
        return 'lease lost';
    end if;
    select * into a from attempt where id = p_attempt for update;
    if a.state not in ('starting', 'running') then
        return 'already';
    end if;
    perform 1 from matrix where id = (select matrix_id from job where id = a.job_id) for no key update;

    update block b set state = s.state, reason = s.reason, attempt_id = p_attempt, tokens = s.tokens, load_ms = s.load_ms, peak_rss = s.peak_rss
    from staged_block s
    where s.attempt_id = p_attempt and s.epoch = p_epoch and b.job_id = a.job_id and b.index = s.block and b.state <> 'done';

    insert into sample (attempt_id, block, warmup, index, ns)
    select s.attempt_id, s.block, s.warmup, s.index, s.ns from staged_sample s
    join block b on b.job_id = a.job_id and b.index = s.block and b.attempt_id = p_attempt
    where s.attempt_id = p_attempt and s.epoch = p_epoch
    on conflict do nothing;

    insert into nll (run_id, window_index, attempt_id, nll)
    select run_id, window_index, attempt_id, nll from staged_nll
    where attempt_id = p_attempt and epoch = p_epoch
    on conflict do nothing;

    insert into result (run_id, kind, attempt_id, accepted, figures, grade)
    select run_id, kind, attempt_id, true, figures, grade from staged_result
    where attempt_id = p_attempt and epoch = p_epoch
    on conflict (run_id, kind) where accepted do nothing;

    delete from staged_block where attempt_id = p_attempt;
    delete from staged_sample where attempt_id = p_attempt;
    delete from staged_nll where attempt_id = p_attempt;
    delete from staged_result where attempt_id = p_attempt;

    update attempt set state = p_state, reason = p_reason, finished_at = clock_timestamp(),
                       progress = case when p_state = 'done' then 1 else progress end
    where id = p_attempt;

    select count(*) into left_over from block where job_id = a.job_id and state in ('planned', 'failed');
    select * into j from job where id = a.job_id for update;
    if j.state in ('waiting', 'running') then
        if left_over = 0 then
            update job set state = 'done', reason = null, progress = 1, finished_at = clock_timestamp() where id = j.id;
        elsif exists (select 1 from matrix m where m.id = j.matrix_id and m.cancel_requested_at is not null)
           or exists (select 1 from device d where d.id = j.device_id and d.desired_state = 'retired') then
            update job set state = 'cancelled', reason = 'cancelled', finished_at = clock_timestamp() where id = j.id;
        elsif j.attempts >= j.max_attempts then
            update job set state = 'failed', finished_at = clock_timestamp(),
                reason = coalesce(p_reason, (select max(reason) from block where job_id = j.id and state = 'failed'), 'blocks failed')
                         || format(' (%s attempts)', j.attempts)
            where id = j.id;
        else
            update job set state = 'waiting', reason = p_reason, not_before = clock_timestamp() + p_retry_after where id = j.id;
            update block set state = 'planned' where job_id = j.id and state = 'failed';
        end if;
    end if;
    perform settle_runs(j.matrix_id);
    delete from host_use where holder = p_attempt;
    return 'accepted';
end $$;

-- Change notifications: "topic:id" on one channel; equal ones within a transaction are sent once.
create function notify_change() returns trigger
language plpgsql as $$
declare
    subject uuid;
begin
    execute format('select ($1).%I', tg_argv[1]) using coalesce(new, old) into subject;
    perform pg_notify('agilequant_change', tg_argv[0] || ':' || coalesce(subject::text, ''));
    return null;
end $$;

create trigger device_insert after insert on device for each row execute function notify_change('device', 'id');
create trigger device_update after update of state, state_reason, desired_state, check_requested, adopt_requested, quarantine, facts, selftest
    on device for each row execute function notify_change('device', 'id');
create trigger matrix_change after insert or update on matrix for each row execute function notify_change('matrix', 'id');
create trigger run_change after update of state, reason on run for each row execute function notify_change('matrix', 'matrix_id');
create trigger job_change after update of state, reason, progress on job for each row execute function notify_change('matrix', 'matrix_id');
create trigger model_change after insert on model for each row execute function notify_change('model', 'id');
create trigger pack_change after update on pack for each row execute function notify_change('model', 'model_id');
create trigger dataset_change after insert on dataset for each row execute function notify_change('dataset', 'id');
create trigger engine_change after insert or update of current on engine for each row execute function notify_change('engine', 'id');
create trigger node_change after insert or update of stopped_at on node for each row execute function notify_change('node', 'id');

create function notify_node_job() returns trigger
language plpgsql as $$
begin
    perform pg_notify('agilequant_change', 'matrix:' || m.matrix_id) from matrix_node_job m where m.node_job_id = new.id;
    return null;
end $$;
create trigger node_job_change after update of state, reason, progress on node_job for each row execute function notify_node_job();

create function notify_result() returns trigger
language plpgsql as $$
begin
    perform pg_notify('agilequant_change', 'matrix:' || r.matrix_id) from run r where r.id = new.run_id;
    return null;
end $$;
create trigger result_change after insert or update on result for each row execute function notify_result();
