-- Schema 1. Instants are Unix milliseconds in UTC. Nobody edits this file once it is released;
-- changes are further files.

-- Whose sites and tokens these are. There is one until people are kept apart.
CREATE TABLE tenant (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO tenant (id, name) VALUES (1, 'default');

-- Every change of the control plane, in its own transaction: when, who, on which request, what, and
-- what of.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    request TEXT,
    change TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;

CREATE TABLE site (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL DEFAULT 1 REFERENCES tenant (id),
    name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

CREATE TABLE device (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    -- A deleted device is nowhere.
    site INTEGER REFERENCES site (id),
    created INTEGER NOT NULL,
    state INTEGER NOT NULL,
    state_since INTEGER,
    -- What was reported under keys up to this generation, and of epochs below this one, is not
    -- believed: the device was reset.
    forgotten_key INTEGER NOT NULL DEFAULT 0,
    forgotten_epoch INTEGER NOT NULL DEFAULT 0,
    -- The last number of a command on the wire.
    last_command INTEGER NOT NULL DEFAULT 0,
    -- Its rows are being removed.
    deleted INTEGER,
    CHECK ((site IS NULL) = (deleted IS NOT NULL))
) STRICT;
CREATE INDEX device_site ON device (site, name);
CREATE INDEX device_deleted ON device (deleted) WHERE deleted IS NOT NULL;

CREATE TABLE device_key (
    device INTEGER NOT NULL REFERENCES device (number),
    generation INTEGER NOT NULL,
    secret BLOB NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER,
    first_epoch INTEGER NOT NULL DEFAULT 1,
    -- 0: our own; 1: that of the earlier EcoWatt. A key opens messages of its protocol only.
    protocol INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device, generation)
) STRICT, WITHOUT ROWID;

-- What devices of the earlier EcoWatt call themselves.
CREATE TABLE original_device (
    id TEXT PRIMARY KEY,
    device INTEGER NOT NULL UNIQUE REFERENCES device (number)
) STRICT, WITHOUT ROWID;

CREATE TABLE claim (
    id TEXT PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES device (number),
    secret BLOB NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    redeemed INTEGER,
    public_key BLOB,
    generation INTEGER,
    reply BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_device ON claim (device);
CREATE INDEX claim_expires ON claim (expires);

CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL DEFAULT 1 REFERENCES tenant (id),
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    expires INTEGER,
    last_used INTEGER
) STRICT;

CREATE TABLE session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    token INTEGER NOT NULL REFERENCES token (id) ON DELETE CASCADE,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    last_used INTEGER
) STRICT;
CREATE INDEX session_expires ON session (expires);
CREATE INDEX session_token ON session (token);

-- At most one row: the code of the set-up link, until it is redeemed.
CREATE TABLE setup (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    hash BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT;

-- What a device's messages have shown, one row a device, written with each message. The counter is
-- that of the key of this generation: it moves in one transaction with what the message brings.
CREATE TABLE device_state (
    device INTEGER PRIMARY KEY REFERENCES device (number),
    generation INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    digest BLOB,
    last_seen INTEGER NOT NULL,
    last_sample INTEGER,
    epoch INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    batches INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    dropped_samples INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    firmware TEXT,
    reported BLOB NOT NULL,
    -- What was received of the last epoch of all, under the last key that was heard of in it.
    received_epoch INTEGER,
    received_generation INTEGER,
    received BLOB,
    -- What the protocol of the last message keeps for the next one.
    memory BLOB
) STRICT;

-- What an inverter's next batch is added to, one row an inverter: its newest readings and edges, and
-- the day and quarter hour that are open. They get rows of their own when later ones begin.
CREATE TABLE inverter_state (
    device INTEGER NOT NULL REFERENCES device (number),
    source INTEGER NOT NULL,
    readings BLOB NOT NULL,
    date INTEGER,
    totals BLOB,
    quarter INTEGER,
    minutes BLOB,
    counter BLOB,
    power BLOB,
    PRIMARY KEY (device, source)
) STRICT;

CREATE TABLE point (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    unit INTEGER NOT NULL,
    exponent INTEGER NOT NULL,
    UNIQUE (name, unit, exponent)
) STRICT;

CREATE TABLE layout (
    id INTEGER PRIMARY KEY,
    cbor BLOB NOT NULL UNIQUE
) STRICT;

-- A stream's number is the generation of the key times 65,536 and the number that the device gave.
CREATE TABLE stream (
    device INTEGER NOT NULL REFERENCES device (number),
    number INTEGER NOT NULL,
    source INTEGER NOT NULL,
    layout INTEGER NOT NULL REFERENCES layout (id),
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (device, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE layout_point (
    layout INTEGER NOT NULL REFERENCES layout (id),
    place INTEGER NOT NULL,
    point INTEGER NOT NULL REFERENCES point (id),
    PRIMARY KEY (layout, place)
) STRICT, WITHOUT ROWID;

-- The distinct points of the streams of a key, by inverter: they are limited.
CREATE TABLE announced_point (
    device INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    source INTEGER NOT NULL,
    point INTEGER NOT NULL REFERENCES point (id),
    PRIMARY KEY (device, generation, source, point)
) STRICT, WITHOUT ROWID;

-- The truth behind exactly-once: which sequences of an epoch were received under a key. It stays
-- when retention removes the blocks. That of the last epoch is in device_state.
CREATE TABLE received (
    device INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    ranges BLOB NOT NULL,
    PRIMARY KEY (device, epoch, generation)
) STRICT, WITHOUT ROWID;

-- Clustered by device and time: what a chart or an export reads lies together.
CREATE TABLE block (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    time_offset_ms INTEGER NOT NULL,
    time_quality INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, source, first_ms, epoch, sequence)
) STRICT, WITHOUT ROWID;

-- Blocks of a day that is over, encoded together. A batch is here or in block, never in both. The key
-- is that of its first block; bytes are as in pack.rs.
CREATE TABLE pack (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    batches INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, source, first_ms, epoch, sequence)
) STRICT;

-- What the energy between blocks is derived from. Only blocks that have the kind are here, in the
-- order in which the kind goes on, and they stay when retention removes the blocks.
CREATE TABLE counter_edge (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    calm INTEGER NOT NULL,
    edge BLOB NOT NULL,
    PRIMARY KEY (device, source, epoch, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE power_edge (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    edge BLOB NOT NULL,
    PRIMARY KEY (device, source, first_ms, epoch, sequence)
) STRICT, WITHOUT ROWID;

-- Edges of past days, many in a row; bytes are as in edge_pack.rs. The number of power's is the UTC day of
-- the first sample, that of a counter's is made of epoch and sequence (row_pack.rs). An edge that is
-- in a row of its own as well counts as it is there.
CREATE TABLE counter_pack (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    number INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, source, number)
) STRICT;

CREATE TABLE power_pack (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    number INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, source, number)
) STRICT;

-- Minutes of quarter hours before the open one that are not in a pack yet. What is in a pack of the
-- same quarter hour is to be merged with it.
CREATE TABLE quarter (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    number INTEGER NOT NULL,
    minutes BLOB NOT NULL,
    PRIMARY KEY (device, source, number)
) STRICT;

-- Minutes and quarter hours of past UTC days (number: days since 1970-01-01); bytes are as in
-- rollup_pack.rs.
CREATE TABLE minute_pack (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    number INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, source, number)
) STRICT;

CREATE TABLE quarter_pack (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    number INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, source, number)
) STRICT;

-- Local days before the open one.
CREATE TABLE day (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    date INTEGER NOT NULL,
    totals BLOB NOT NULL,
    PRIMARY KEY (device, source, date)
) STRICT;

CREATE TABLE energy_gap (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    PRIMARY KEY (device, source, from_ms, to_ms)
) STRICT, WITHOUT ROWID;

-- What retention removed of an inverter: samples (0), minutes (1) or quarter hours (2), how many, and
-- what they took. All of it was before before_ms, the end of a UTC day. It changes in the transaction
-- that removes.
CREATE TABLE expired (
    device INTEGER NOT NULL,
    source INTEGER NOT NULL,
    resolution INTEGER NOT NULL,
    before_ms INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (device, source, resolution)
) STRICT, WITHOUT ROWID;

-- At most one row: the time by which retention decides, and the server's when it was last moved.
CREATE TABLE retention_clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL
) STRICT;

-- Desired configurations of a device, the newest of which is in force: when, who, on which request,
-- all values, and those that are set for the device, not by its template (bytes are as in
-- configuration.rs). The oldest ones are removed.
CREATE TABLE configuration (
    device INTEGER NOT NULL REFERENCES device (number),
    generation INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    request TEXT,
    settings BLOB NOT NULL,
    own BLOB NOT NULL,
    PRIMARY KEY (device, generation)
) STRICT, WITHOUT ROWID;

-- Values that many devices share; version grows with each change, and when, who and request are the
-- last one's.
CREATE TABLE config_template (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL DEFAULT 1 REFERENCES tenant (id),
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    request TEXT,
    settings BLOB NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

-- What a template was: all of its versions that are kept, the present one included.
CREATE TABLE config_template_version (
    template INTEGER NOT NULL REFERENCES config_template (id),
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    request TEXT,
    settings BLOB NOT NULL,
    PRIMARY KEY (template, version)
) STRICT, WITHOUT ROWID;

-- The template of a device, and the version that its newest configuration was derived from.
CREATE TABLE config_template_use (
    device INTEGER PRIMARY KEY REFERENCES device (number),
    template INTEGER NOT NULL REFERENCES config_template (id),
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX config_template_use_by_version ON config_template_use (template, version);

-- What a device last reported of its configuration, under the key of this generation; highest is the
-- newest configuration that it ever reported.
CREATE TABLE configuration_report (
    device INTEGER PRIMARY KEY REFERENCES device (number),
    highest INTEGER NOT NULL,
    key_generation INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    report BLOB NOT NULL
) STRICT;

-- Leases of limits: when, who, on which request, since which generation; the limit (unit 0 thousandths
-- of the rated power, 1 watts), Unix seconds, what holds afterwards; and who released it.
CREATE TABLE lease (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device INTEGER NOT NULL REFERENCES device (number),
    made INTEGER NOT NULL,
    who TEXT NOT NULL,
    request TEXT,
    generation INTEGER NOT NULL,
    source INTEGER,
    unit INTEGER NOT NULL,
    value INTEGER NOT NULL,
    from_s INTEGER NOT NULL,
    to_s INTEGER NOT NULL,
    ramp_s INTEGER NOT NULL,
    link_loss_s INTEGER NOT NULL,
    then_unit INTEGER,
    then_value INTEGER,
    priority INTEGER NOT NULL,
    released_at INTEGER,
    released_who TEXT,
    released_request TEXT
) STRICT;
CREATE INDEX lease_of_device ON lease (device, id);

-- The generation of a device's leases.
CREATE TABLE device_leases (
    device INTEGER PRIMARY KEY REFERENCES device (number),
    generation INTEGER NOT NULL
) STRICT;

-- What a device last reported of its leases, under the key of this generation.
CREATE TABLE lease_report (
    device INTEGER PRIMARY KEY REFERENCES device (number),
    key_generation INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    refused BLOB NOT NULL
) STRICT;

-- Changes of limits by leases, as devices reported them; epoch and monotonic time name one. The oldest
-- are removed.
CREATE TABLE limit_change (
    device INTEGER NOT NULL REFERENCES device (number),
    at INTEGER NOT NULL,
    source INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    mono INTEGER NOT NULL,
    lease INTEGER,
    cause INTEGER NOT NULL,
    failure INTEGER NOT NULL,
    detail INTEGER NOT NULL,
    limit_ppm INTEGER,
    confirmed_ms INTEGER,
    power_w INTEGER,
    power_ms INTEGER,
    PRIMARY KEY (device, at, source, epoch, mono),
    UNIQUE (device, source, epoch, mono)
) STRICT, WITHOUT ROWID;

-- Commands to devices: when, who, on which request and with which name of the client's own (a second
-- request of that name makes no second command); what the device should do; how far it is, since
-- when, under which number on the wire and key it was sent, and what the device reported. States are
-- as in command.rs: 0 to 2 are open. The oldest ended ones are removed.
CREATE TABLE command (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL DEFAULT 1 REFERENCES tenant (id),
    device INTEGER NOT NULL REFERENCES device (number),
    made INTEGER NOT NULL,
    who TEXT NOT NULL,
    request TEXT,
    request_key TEXT,
    kind INTEGER NOT NULL,
    arguments TEXT NOT NULL,
    source INTEGER,
    priority INTEGER NOT NULL,
    not_before INTEGER,
    deadline INTEGER NOT NULL,
    state INTEGER NOT NULL,
    since INTEGER NOT NULL,
    wire_id INTEGER,
    key_generation INTEGER,
    -- The server concluded how a command that was sent ended; the device may know better.
    guessed INTEGER NOT NULL DEFAULT 0,
    failure INTEGER NOT NULL DEFAULT 0,
    detail INTEGER NOT NULL DEFAULT 0,
    words BLOB,
    UNIQUE (device, request_key),
    UNIQUE (device, wire_id)
) STRICT;
CREATE INDEX command_of_device ON command (device, id);
CREATE INDEX command_open ON command (device, id) WHERE state < 3;
CREATE INDEX command_due ON command (deadline) WHERE state < 3;
CREATE INDEX command_ended ON command (since) WHERE state >= 3;

-- Each state that a command had: since when, by whom (an operator, the device or the server), and by
-- the device's clock.
CREATE TABLE command_transition (
    device INTEGER NOT NULL REFERENCES device (number),
    command INTEGER NOT NULL REFERENCES command (id),
    step INTEGER NOT NULL,
    state INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    request TEXT,
    device_at INTEGER,
    failure INTEGER NOT NULL,
    detail INTEGER NOT NULL,
    PRIMARY KEY (device, command, step)
) STRICT, WITHOUT ROWID;
