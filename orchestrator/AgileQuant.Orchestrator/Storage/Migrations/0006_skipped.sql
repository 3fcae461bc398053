-- A cell that its device can never run, for a reason that is known before anything starts (a CPU without the bf16 instruction), is
-- skipped: a state of its own for blocks, runs and nodes' scores, which leaves the matrix complete.

alter table block drop constraint block_state_check,
    add constraint block_state_check check (state in ('planned', 'done', 'failed', 'impossible', 'skipped'));
alter table run drop constraint run_state_check,
    add constraint run_state_check check (state in ('open', 'complete', 'incomplete', 'cancelled', 'skipped'));
alter table node_job drop constraint node_job_state_check,
    add constraint node_job_state_check check (state in ('waiting', 'running', 'done', 'failed', 'cancelled', 'skipped'));

-- Ends the runs of a matrix that can no longer get what they ask for, and the matrix when nothing of it is left to come.
create or replace function settle_runs(p_matrix uuid) returns void
language plpgsql as $$
begin
    -- One at a time: of two jobs that end together, the later sees the other's end.
    perform 1 from matrix where id = p_matrix for no key update;

    update run r set state = 'complete', finished_at = clock_timestamp(), reason = null
    where r.matrix_id = p_matrix and r.state = 'open'
      and (not r.asks_speed or exists (select 1 from result x where x.run_id = r.id and x.kind = 'speed' and x.accepted))
      and (not r.asks_perplexity or exists (select 1 from result x where x.run_id = r.id and x.kind = 'perplexity' and x.accepted));

    -- A run whose blocks are all skipped, or whose jobs have all ended without giving everything: say why with the block's or the
    -- job's own words.
    update run r set
        state = case when ended.skipped then 'skipped' when ended.cancelled then 'cancelled' else 'incomplete' end,
        finished_at = clock_timestamp(),
        reason = coalesce(ended.block_reason, ended.job_reason, 'its job ended without this result')
    from (
        select b.run_id,
               bool_and(b.state = 'skipped') as skipped,
               bool_or(j.state = 'cancelled') as cancelled,
               max(b.reason) filter (where b.state in ('failed', 'impossible', 'skipped')) as block_reason,
               max(j.reason) as job_reason
        from block b join job j on j.id = b.job_id
        where j.matrix_id = p_matrix
        group by b.run_id
        having bool_and(b.state = 'skipped' or j.state in ('done', 'failed', 'cancelled'))
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

-- Skips what a job has left to do in a precision; runs that are skipped whole end at once, while the job goes on with the others.
-- False: the lease is lost or nothing was left; nothing has changed.
create function skip_blocks(p_device uuid, p_node uuid, p_epoch bigint, p_job uuid, p_precision text, p_reason text) returns boolean
language plpgsql as $$
declare
    m uuid := lock_job(p_device, p_node, p_epoch, p_job);
begin
    update block set state = 'skipped', reason = p_reason
    where job_id = p_job and precision = p_precision and m is not null and state in ('planned', 'failed');
    if not found then
        return false;
    end if;
    perform settle_runs(m);
    return true;
end $$;

-- What earlier versions recorded as impossible with these words.
update block set state = 'skipped', reason = substr(reason, length('skipped: ') + 1)
where state = 'impossible' and reason like 'skipped: this CPU has no bf16 instruction%';
update run r set state = 'skipped', reason = substr(reason, length('skipped: ') + 1)
where r.state = 'incomplete' and r.reason like 'skipped: this CPU has no bf16 instruction%'
  and not exists (select 1 from block b where b.run_id = r.id and b.state <> 'skipped');
update node_job set state = 'skipped'
where state = 'failed' and kind = 'score' and reason like '%skipped: this CPU has no bf16 instruction%';
