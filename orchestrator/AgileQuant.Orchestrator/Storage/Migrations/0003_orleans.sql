-- What an Orleans cluster keeps in this database: its members, reminders and grain state. Empty where nodes use Postgres leases.

-- Revisions of rows (Orleans calls them etags); a sequence, so that a row that is removed and added again never has an old one.
create sequence orleans_revision;

-- One version a cluster of silos; every change of a member but its sign of life raises it.
create table silo_version (
    cluster text primary key,
    version int not null
);

create table silo (
    cluster text not null references silo_version (cluster),
    address text not null, -- address:port@generation
    name text not null, -- the node's id
    status text not null check (status in ('none', 'created', 'joining', 'active', 'shuttingdown', 'stopping', 'dead')),
    host text not null,
    role text,
    gateway_port int not null,
    update_zone int not null,
    fault_zone int not null,
    suspected jsonb not null default '[]', -- [{"by": address, "at": time}]: who voted it dead
    started_at timestamptz not null,
    alive_at timestamptz not null,
    revision bigint not null default nextval('orleans_revision'),
    primary key (cluster, address)
);

create table reminder (
    service text not null,
    grain text not null,
    name text not null,
    start_at timestamptz not null,
    period interval not null,
    hash bigint not null, -- of the grain: each silo reads the reminders of its part of the ring
    revision bigint not null default nextval('orleans_revision'),
    primary key (service, grain, name)
);
create index reminder_hash on reminder (service, hash);

create table grain_state (
    service text not null,
    grain text not null,
    state text not null,
    value jsonb not null,
    revision bigint not null default nextval('orleans_revision'),
    written_at timestamptz not null default clock_timestamp(),
    primary key (service, grain, state)
);
