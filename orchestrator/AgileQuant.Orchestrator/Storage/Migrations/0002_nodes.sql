-- Several nodes on one database: how long each counts as alive (by its own lease time), how others reach its artifacts, and what
-- it was built with. A change of a device's owner is announced, so that others take it at once and pages show it.

alter table node
    add column alive_until timestamptz not null default clock_timestamp(),
    add column host text not null default '',
    add column ownership text not null default '',
    add column transport text not null default '',
    add column peer_url text,
    add column peer_certificate_sha256 text,
    add column peer_token text;
create index node_alive on node (alive_until) where stopped_at is null;

-- Which node brought an artifact into the cluster: named when no live node has it any more. Nodes connect under their names.
alter table artifact add column origin text not null default regexp_replace(current_setting('application_name', true), '^agilequant ', '');

create trigger device_owner after update of lease_node on device
    for each row when (old.lease_node is distinct from new.lease_node) execute function notify_change('device', 'id');

create view live_node as select * from node where stopped_at is null and alive_until > clock_timestamp();

-- Staged rows of attempts that have ended: a driver that was paused while it copied may finish after another one's acceptance.
create function sweep_staging() returns void
language sql as $$
    delete from staged_block s where not exists (select 1 from attempt a where a.id = s.attempt_id and a.state in ('starting', 'running'));
    delete from staged_sample s where not exists (select 1 from attempt a where a.id = s.attempt_id and a.state in ('starting', 'running'));
    delete from staged_nll s where not exists (select 1 from attempt a where a.id = s.attempt_id and a.state in ('starting', 'running'));
    delete from staged_result s where not exists (select 1 from attempt a where a.id = s.attempt_id and a.state in ('starting', 'running'));
$$;
