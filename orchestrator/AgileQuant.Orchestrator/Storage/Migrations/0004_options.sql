-- Options of precisions. Pruned packs leave a mask beside their NLLs (a byte a target: 1 where the position that predicts it stayed
-- to the end), on boards and in nodes' scores, and the share of rows that a timing block ran.

alter table nll add column survivors bytea, add constraint nll_survivors check (octet_length(survivors) * 4 = octet_length(nll));
alter table score_window add column survivors bytea, add constraint score_survivors check (octet_length(survivors) * 4 = octet_length(nll));
alter table staged_nll add column survivors bytea;
alter table block add column row_share double precision check (row_share between 0 and 1);
alter table staged_block add column row_share double precision;

-- Accepts what an attempt has staged, in one statement: checks the lease's epoch under FOR SHARE, moves the staged rows,
-- ends the attempt and settles job, runs and matrix.
-- Returns 'accepted', 'already' (a repeated call), or 'lease lost' (nothing has changed).
create or replace function accept_attempt(
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

    update block b set state = s.state, reason = s.reason, attempt_id = p_attempt, tokens = s.tokens, load_ms = s.load_ms, peak_rss = s.peak_rss,
        row_share = s.row_share
    from staged_block s
    where s.attempt_id = p_attempt and s.epoch = p_epoch and b.job_id = a.job_id and b.index = s.block and b.state <> 'done';

    insert into sample (attempt_id, block, warmup, index, ns)
    select s.attempt_id, s.block, s.warmup, s.index, s.ns from staged_sample s
    join block b on b.job_id = a.job_id and b.index = s.block and b.attempt_id = p_attempt
    where s.attempt_id = p_attempt and s.epoch = p_epoch
    on conflict do nothing;

    insert into nll (run_id, window_index, attempt_id, nll, survivors)
    select run_id, window_index, attempt_id, nll, survivors from staged_nll
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
