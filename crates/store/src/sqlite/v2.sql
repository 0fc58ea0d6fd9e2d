-- Schema 2: remote configuration.

-- Desired configurations of a device, the newest of which is in force: when, who, on which request,
-- and all values (bytes are as in configuration.rs). The oldest ones are removed.
CREATE TABLE configuration (
    device INTEGER NOT NULL REFERENCES device (number),
    generation INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    request TEXT,
    settings BLOB NOT NULL,
    PRIMARY KEY (device, generation)
) STRICT, WITHOUT ROWID;

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
