//! The mistakes, each with the promise that it breaks and a seed under which that shows.
//!
//! To add one: write a mistake that an engineer could make in good faith, as a change of one
//! stretch of text; name the promise (`ecowatt_fleet_sim::Invariant`); let `cargo xtask mutations
//! --seeds 40 NAME` find the seed. A mistake that no seed catches is harmless, or shows a gap in
//! the checks.

/// A mistake, and the seed that finds it.
pub(super) struct Mutation {
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    /// Text that occurs once in the file, and its replacement.
    pub(super) changes: &'static [(&'static str, &'static str)],
    /// The promise that must be broken.
    pub(super) breaks: &'static str,
    pub(super) seed: u64,
}

pub(super) const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "server does not delete the blocks that it has packed",
        file: "crates/store/src/sqlite/pack.rs",
        changes: &[("\"DELETE FROM block WHERE device", "\"UPDATE block SET rows = rows WHERE device")],
        breaks: "NothingDoubled",
        seed: 1,
    },
    Mutation {
        name: "server packs batches from different clocks together",
        file: "crates/store/src/pack.rs",
        changes: &[(
            "(block.stream, block.time_offset_ms, block.time_quality)",
            "(block.stream, block.time_quality)",
        )],
        breaks: "RebuildChangesNothing",
        seed: 1,
    },
    Mutation {
        name: "server acknowledges before the commit",
        file: "crates/store/src/sqlite/writer.rs",
        changes: &[(
            "                answers.push(Box::new(move |committed| {
                    let _ = answer.send(outcome.and_then(|done| committed.map(|()| done)));
                }));
",
            "                let _ = answer.send(outcome);
                answers.push(Box::new(|_| ()));
",
        )],
        breaks: "AcknowledgedIsStored",
        seed: 1,
    },
    Mutation {
        name: "server writes counters, ranges and roll-ups after the transaction",
        file: "crates/store/src/sqlite/writer.rs",
        changes: &[(
            "    states.flush(&transaction)?;
    journal.sync()?;
    transaction.commit()?;
    Ok(())
",
            "    journal.sync()?;
    transaction.commit()?;
    states.flush(connection)
",
        )],
        breaks: "RollUpsAddUp",
        seed: 1,
    },
    Mutation {
        name: "server keeps counters only in memory",
        file: "crates/store/src/sqlite/state_cache.rs",
        changes: &[(
            "let counter = signed(link.counter.0);",
            "let counter = signed(link.counter.0.min(0));",
        )],
        breaks: "OldIsRefused",
        seed: 2,
    },
    Mutation {
        name: "server keeps rows of an uncommitted group in memory",
        file: "crates/store/src/sqlite/writer.rs",
        changes: &[("            self.states.clear();\n", "")],
        breaks: "AcknowledgedIsStored",
        seed: 1,
    },
    Mutation {
        name: "database does not wait for its disk",
        file: "crates/store/src/sqlite.rs",
        changes: &[("\"synchronous\", \"full\"", "\"synchronous\", \"off\"")],
        breaks: "AcknowledgedIsStored",
        seed: 1,
    },
    Mutation {
        name: "database keeps no log",
        file: "crates/store/src/sqlite.rs",
        changes: &[("\"journal_mode\", \"wal\"", "\"journal_mode\", \"off\"")],
        breaks: "ServerStarts",
        seed: 2,
    },
    Mutation {
        name: "energy across a filled hole is counted twice",
        file: "crates/store/src/ingest/joins.rs",
        changes: &[("                days.take(edge.batch.after(after.epoch, before.as_ref()));\n", "")],
        breaks: "EnergyIsCounted",
        seed: 1,
    },
    Mutation {
        name: "energy between a late batch and the one after it is not counted",
        file: "crates/store/src/ingest/joins.rs",
        changes: &[("                days.add(edge.batch.after(after.epoch, Some(&link)));\n", "")],
        breaks: "EnergyIsCounted",
        seed: 1,
    },
    Mutation {
        name: "batch of false readings is believed",
        file: "crates/store/src/energy_counter/belief.rs",
        changes: &[
            (
                "let Some((_, before, after)) = rival else {",
                "let Some((_, before, after)) = rival.filter(|_| false) else {",
            ),
            ("window.is_spanned(&mut reaches, &judged, place))", "false)"),
        ],
        breaks: "EnergyIsCounted",
        seed: 7,
    },
    Mutation {
        name: "every rise of a misread counter counts as energy",
        file: "crates/store/src/energy_counter.rs",
        changes: &[
            (
                "let mut believed = vec![false; readings.len()];",
                "let mut believed = vec![true; readings.len()];",
            ),
            ("|before| reading.mwh - before)", "|before| (reading.mwh - before).max(0))"),
        ],
        breaks: "EnergyIsCounted",
        seed: 1,
    },
    Mutation {
        name: "implausible reading enters a mean",
        file: "crates/profile/src/layout/decode.rs",
        changes: &[(
            "Ok(Some(value)) if (self.min..=self.max).contains(&value) => {",
            "Ok(Some(value)) if value >= self.min => {",
        )],
        breaks: "NothingImpossible",
        seed: 1,
    },
    Mutation {
        name: "counter continues by time, not in the order in which it was read",
        file: "crates/store/src/ingest.rs",
        changes: &[(
            "joins.join_counter(inverter, *id, &block.summary)",
            "joins.join_counter(
                inverter,
                BatchId {
                    epoch: BootEpoch(u32::try_from(block.first.0 / 1_000).unwrap_or(0)),
                    sequence: id.sequence,
                },
                &block.summary,
            )",
        )],
        breaks: "EnergyIsCounted",
        seed: 2,
    },
    Mutation {
        name: "server starts a day afresh that is not in memory",
        file: "crates/store/src/sqlite/load.rs",
        changes: &[(
            "inverter.days.replace(date, day.unwrap_or_default());",
            "inverter.days.replace(date, day.map(|_| Day::default()).unwrap_or_default());",
        )],
        breaks: "RollUpsAddUp",
        seed: 1,
    },
    Mutation {
        name: "server does not update quarter hours for a late batch",
        file: "crates/store/src/ingest.rs",
        changes: &[(
            "        inverter.quarters.add(number, quarter, Quarter::merge);",
            "        if inverter.quarters.entry(number).is_empty() {
            inverter.quarters.add(number, quarter, Quarter::merge);
        }",
        )],
        breaks: "RollUpsAddUp",
        seed: 1,
    },
    Mutation {
        name: "server ignores the start of an epoch when it places samples",
        file: "crates/server/src/ingest/decode.rs",
        changes: &[(
            "Certainty::Confirmed => (start.unix.0, TimeQuality::Anchored),",
            "Certainty::Confirmed => (start.unix.0 + 60_000, TimeQuality::Anchored),",
        )],
        breaks: "WellPlaced",
        seed: 1,
    },
    Mutation {
        name: "device trusts the system clock before the server confirms it",
        file: "crates/device/src/wall_clock.rs",
        changes: &[(
            "            None => (self.offset_ms?, Certainty::Estimated),",
            "            None => (self.offset_ms?, Certainty::Confirmed),",
        )],
        breaks: "WellPlaced",
        seed: 1,
    },
    Mutation {
        name: "device ignores a corrected system clock",
        file: "crates/node/src/node.rs",
        changes: &[("        if self.storage.is_possible(system) {", "        if false {")],
        breaks: "WellPlaced",
        seed: 6,
    },
    Mutation {
        name: "device forgets a change of state during an upload",
        file: "crates/device/src/uplink/reply.rs",
        changes: &[(
            "        let is_first = !core::mem::replace(&mut self.is_heard, true);\n",
            "        self.status_due = now.plus(crate::limits::STATUS_INTERVAL);
        let is_first = !core::mem::replace(&mut self.is_heard, true);\n",
        )],
        breaks: "StatesArrive",
        seed: 1,
    },
    Mutation {
        name: "device leaves no room for the status after the batches",
        file: "crates/device/src/uplink/compose.rs",
        changes: &[(
            "            let leave = KEPT_BYTES + layout_bytes + report_bytes;\n",
            "            let leave = layout_bytes + report_bytes;\n",
        )],
        breaks: "MessageIsMade",
        seed: 4,
    },
    Mutation {
        name: "server refuses batches from a clock that is ahead",
        file: "crates/server/src/ingest/decode.rs",
        changes: &[(
            "        quality = TimeQuality::Suspect;\n",
            "        quality = TimeQuality::Suspect;
        if first >= EARLIEST {
            return Err(Refusal::Undecodable.into());
        }
",
        )],
        breaks: "IntactIsTaken",
        seed: 2,
    },
    Mutation {
        name: "reply is not bound to its request",
        file: "crates/envelope/src/link.rs",
        changes: &[(
            "        let counter = CounterBytes::new(request.counter);
        let mut bytes = [0; KID_BYTES_MAX + 10];",
            "        let counter = CounterBytes::new(Counter(1));
        let mut bytes = [0; KID_BYTES_MAX + 10];",
        )],
        breaks: "ReplyIsBound",
        seed: 1,
    },
    Mutation {
        name: "device keeps waiting after a refused reply",
        file: "crates/node/src/node.rs",
        changes: &[(
            "                self.core.handle_link_failure(at, LinkFailure::BadReply);\n",
            "",
        )],
        breaks: "Delivered",
        seed: 1,
    },
    Mutation {
        name: "draft forgets samples before the spool has them",
        file: "crates/node/src/storage.rs",
        changes: &[(
            "        self.spool.append(batch)?;
        let witness",
            "        let _ = self.draft.forget(Witness {
            source: batch.source,
            ordinal: batch.last_ordinal,
            id: batch.id,
            samples: self.spool.samples(),
        });
        self.spool.append(batch)?;
        let witness",
        )],
        breaks: "NothingLost",
        seed: 1,
    },
    Mutation {
        name: "device continues an epoch that ended cleanly",
        file: "crates/node/src/storage/ledger.rs",
        changes: &[(
            "        record.epoch = last.checked_add(1).ok_or(LedgerError::Exhausted(\"start\"))?;",
            "        let next = if record.is_stopped { last } else { last.saturating_add(1) };
        record.epoch = next;",
        )],
        breaks: "BatchNamedOnce",
        seed: 1,
    },
    Mutation {
        name: "agent does not open a torn spool",
        file: "crates/node/src/storage/spool/recover.rs",
        changes: &[(
            "            self.torn_bytes += bytes.saturating_sub(parsed.end);
",
            "            if parsed.end < bytes {
                return Err(Fault::Unreadable);
            }
",
        )],
        breaks: "NothingLost",
        seed: 1,
    },
    Mutation {
        name: "ledger is not synced",
        file: "crates/node/src/storage/two_copies.rs",
        changes: &[(
            "self.disk.append(area, record).and_then(|()| self.disk.sync(area)).map(|()| end)",
            "self.disk.append(area, record).map(|()| end)",
        )],
        breaks: "CounterUsedOnce",
        seed: 1,
    },
    Mutation {
        name: "ledger overwrites its only copy",
        file: "crates/node/src/storage/two_copies.rs",
        changes: &[
            (
                "        let copy = if is_sound { 1 - self.current } else { self.current };",
                "        let copy = self.current;",
            ),
            (
                "End::At(end) if end + record.len() <= RUN_BYTES_MAX => {",
                "End::At(end) if end + record.len() > RUN_BYTES_MAX => {",
            ),
        ],
        breaks: "DeviceStarts",
        seed: 2,
    },
    Mutation {
        name: "server does not store what a device reports of its settings",
        file: "crates/store/src/ingest.rs",
        changes: &[("        changes.config = config.is_some();\n", "")],
        breaks: "ReportedNeverFalls",
        seed: 1,
    },
    Mutation {
        name: "server loads the desired settings only with the rest of a device's state",
        file: "crates/store/src/sqlite/load.rs",
        changes: &[
            ("    state.desired = row.map_or(Ok(None), |row| desired(row, device))?;\n", ""),
            (
                "    state.link = Some(link(row)?);\n",
                "    state.link = Some(link(row)?);\n    state.desired = desired(row, device)?;\n",
            ),
        ],
        breaks: "SettingsArrive",
        seed: 1,
    },
    Mutation {
        name: "kept slots are not returned at the start",
        file: "crates/device/src/device.rs",
        changes: &[("kept(Slot::Sleep).and_then(Asleep::parse)", "kept(Slot::Sleep).and(None::<Asleep>)")],
        breaks: "KeptIsHandedBack",
        seed: 1,
    },
    Mutation {
        name: "counters are used before their reservation",
        file: "crates/node/src/storage/ledger.rs",
        changes: &[(
            "        record.reserved = limit.0.max(record.reserved);\n",
            "        let _ = limit;\n",
        )],
        breaks: "CounterUsedOnce",
        seed: 1,
    },
    Mutation {
        name: "draft is not synced",
        file: "crates/node/src/storage/draft.rs",
        changes: &[(
            "self.disk.append(area, &self.record).and_then(|()| self.disk.sync(area));",
            "self.disk.append(area, &self.record);",
        )],
        breaks: "NothingLost",
        seed: 1,
    },
    Mutation {
        name: "draft's checksums are not checked",
        file: "crates/node/src/storage/draft.rs",
        changes: &[(
            "    if u32::from_le_bytes(*crc) != checksum(name, rest) {",
            "    if u32::from_le_bytes(*crc) == 0 && checksum(name, rest) == 1 {",
        )],
        breaks: "NothingInvented",
        seed: 24,
    },
    Mutation {
        name: "draft marks every register as read",
        file: "crates/node/src/storage/draft.rs",
        changes: &[(
            "map(|code| Mark::from_code(*code))",
            "map(|code| Mark::from_code(*code).map(|_| Mark::Read))",
        )],
        breaks: "NothingInvented",
        seed: 1,
    },
    Mutation {
        name: "spool is not synced",
        file: "crates/node/src/storage/spool/write.rs",
        changes: &[(
            "if is_synced { self.disk.sync(area) } else { Ok(()) }",
            "{ let _ = is_synced; Ok(()) }",
        )],
        breaks: "NothingLost",
        seed: 1,
    },
    Mutation {
        name: "spool trusts the length of a torn record",
        file: "crates/node/src/storage/spool/record.rs",
        changes: &[("    let body = from.0.get(..len)?;", "    let body = &from.0[..len];")],
        breaks: "NoPanic",
        seed: 4,
    },
    Mutation {
        name: "spool drops nothing when it is full",
        file: "crates/node/src/storage/spool/write.rs",
        changes: &[(
            "self.bytes().saturating_add(len).saturating_add(head) <= self.limit_bytes",
            "self.bytes().saturating_add(len) <= 64 * self.limit_bytes",
        )],
        breaks: "SpoolWithinLimit",
        seed: 2,
    },
    Mutation {
        name: "spool drops its newest segment but one when it is full",
        file: "crates/node/src/storage/spool/write.rs",
        changes: &[(
            "            for gap in self.contents(0) {
",
            "            let newest = self.segments.len() - 2;
            self.segments.swap(0, newest);
            for gap in self.contents(0) {
",
        )],
        breaks: "OldestDroppedFirst",
        seed: 2,
    },
    Mutation {
        name: "spool drops before it is full",
        file: "crates/node/src/storage/spool/write.rs",
        changes: &[(
            "self.bytes().saturating_add(len).saturating_add(head) <= self.limit_bytes",
            "self.bytes().saturating_add(len) <= self.limit_bytes / 4",
        )],
        breaks: "OldestDroppedFirst",
        seed: 2,
    },
    Mutation {
        name: "gap is not noted before its batches are dropped",
        file: "crates/node/src/storage/spool/write.rs",
        changes: &[(
            "                let noted = self.append_record(|number| Record::Dropped(gap).encode(number), true);",
            "                let noted: Result<(), Fault> = Ok(());",
        )],
        breaks: "NothingLost",
        seed: 2,
    },
    Mutation {
        name: "gap is reported as one batch",
        file: "crates/node/src/storage/spool/gaps.rs",
        changes: &[("        self.last = next.last;\n", "")],
        breaks: "NothingLost",
        seed: 2,
    },
    Mutation {
        name: "samples of the last epoch are discarded",
        file: "crates/node/src/storage.rs",
        changes: &[(
            "samples.retain(|sample| !self.spool.covers(source, epoch, sample.ordinal));",
            "samples.clear();",
        )],
        breaks: "NothingLost",
        seed: 1,
    },
    Mutation {
        name: "samples that are already in batches are recovered again",
        file: "crates/node/src/storage.rs",
        changes: &[(
            "left.samples.retain(|sample| !self.spool.covers(source, epoch, sample.ordinal));",
            "left.samples.reverse();\n            left.samples.reverse();",
        )],
        breaks: "NothingDoubled",
        seed: 1,
    },
    Mutation {
        name: "a reply frees one batch more",
        file: "crates/node/src/node/work_outcome.rs",
        changes: &[(
            "last: id(range.last) }\n",
            "last: id(ecowatt_model::Sequence(range.last.0 + 1)) }\n",
        )],
        breaks: "AcknowledgedIsStored",
        seed: 1,
    },
    Mutation {
        name: "draft keeps room for thousands of samples",
        file: "crates/node/src/storage/draft.rs",
        changes: &[(
            "Vec::with_capacity(2 * RECORD_BYTES_MAX)",
            "Vec::with_capacity(4096 * RECORD_BYTES_MAX)",
        )],
        breaks: "MemoryWithinLimit",
        seed: 1,
    },
    Mutation {
        name: "a sample gets the time at which it was complete",
        file: "crates/device/src/acquire.rs",
        changes: &[(
            "        Some(CycleSample { at,",
            "        let at = at.max(now);\n        Some(CycleSample { at,",
        )],
        breaks: "NothingRestamped",
        seed: 1,
    },
    Mutation {
        name: "device waits for an answer an eighth of what the profile allows",
        file: "crates/device/src/acquire.rs",
        changes: &[(
            "    pub(crate) fn timeout(&self) -> Duration {\n        self.timeout\n",
            "    pub(crate) fn timeout(&self) -> Duration {\n        self.timeout / 8\n",
        )],
        breaks: "HealthyIsRead",
        seed: 1,
    },
    Mutation {
        name: "Modbus answers to other transactions are taken",
        file: "crates/modbus/src/master.rs",
        changes: &[("            if is_for_us && is_ours {", "            if is_for_us {")],
        breaks: "WordsAreTrue",
        seed: 1,
    },
    Mutation {
        name: "server forgets which batches it has when it restarts",
        file: "crates/store/src/sqlite/load.rs",
        changes: &[(
            "state.received.replace(place, received(blob(row, \"received\")?)?);",
            "state.received.replace(place, received(blob(row, \"received\")?).map(|_| Received::default())?);",
        )],
        breaks: "Delivered",
        seed: 3,
    },
    Mutation {
        name: "server stores a repeated batch again",
        file: "crates/store/src/ingest.rs",
        changes: &[(
            "                Added::Known => receipt.duplicates += 1,
",
            "                Added::Known => {
                    receipt.duplicates += 1;
                    let other = block.id.sequence.0 ^ u32::try_from(upload.counter.0 << 12).unwrap_or(0);
                    let sequence = ecowatt_model::Sequence(other);
                    self.taken.push((place, BatchId { sequence, ..block.id }));
                }
",
        )],
        breaks: "NothingDoubled",
        seed: 1,
    },
    Mutation {
        name: "gaps are not repeated at the head of later segments",
        file: "crates/node/src/storage/spool/write.rs",
        changes: &[("gaps, cut, ..self.head.clone()", "gaps: Vec::new(), cut, ..self.head.clone()")],
        breaks: "NothingLost",
        seed: 2,
    },
    Mutation {
        name: "gap is not sent",
        file: "crates/device/src/uplink/compose.rs",
        changes: &[(
            "writer.dropped(dropped, report_bytes)",
            "writer.dropped(&mut dropped.map_while(|_| None), report_bytes)",
        )],
        breaks: "NothingLost",
        seed: 2,
    },
    Mutation {
        name: "device never corrects its time once it has one",
        file: "crates/device/src/wall_clock.rs",
        changes: &[(
            "                    self.offset_ms = Some(offset);
                    ClockChange::Stepped",
            "                    ClockChange::Stepped",
        )],
        breaks: "ClockFollows",
        seed: 1,
    },
    Mutation {
        name: "samples that fell out of memory are discarded on disk too",
        file: "crates/node/src/node.rs",
        changes: &[(
            "self.storage.left_behind(cut.id, source, first);",
            "self.storage.left_behind(cut.id, source, first.min(1));",
        )],
        breaks: "NothingLost",
        seed: 25,
    },
    Mutation {
        name: "rebuild forgets where a batch's times start",
        file: "crates/server/src/ingest/rebuild.rs",
        changes: &[(
            "summarise(&block.bytes, block.time_offset_ms, decoding, &zone, &scratch)",
            "summarise(&block.bytes, 0, decoding, &zone, &scratch)",
        )],
        breaks: "RebuildChangesNothing",
        seed: 1,
    },
    Mutation {
        name: "loss of a damaged segment is not reported",
        file: "crates/node/src/storage/spool/write.rs",
        changes: &[(
            "        let _ = self.append_record(|number| Record::Dropped(gap).encode(number), true);
        self.note_dropped(gap);
",
            "        self.mark_freed((linear(gap.first), linear(gap.last)));
",
        )],
        breaks: "DamageIsTold",
        seed: 9,
    },
    Mutation {
        name: "one unreadable segment closes the spool",
        file: "crates/node/src/storage/spool/recover.rs",
        changes: &[(
            "            let _ = self.disk.set_aside(area);
            return Ok(());
",
            "            return Err(Fault::Unreadable);
",
        )],
        breaks: "Delivered",
        seed: 2,
    },
    Mutation {
        name: "a segment is abandoned after one bad record",
        file: "crates/node/src/storage/spool/record.rs",
        changes: &[("                    at += 1;\n                    continue;\n", "                    break;\n")],
        breaks: "DamageIsContained",
        seed: 2,
    },
    Mutation {
        name: "a damaged segment is appended to",
        file: "crates/node/src/storage/spool/write.rs",
        changes: &[(
            "active.is_sealed |= error != Fault::Full && is_to_be_sealed;",
            "let _ = is_to_be_sealed;",
        )],
        breaks: "Delivered",
        seed: 1,
    },
    Mutation {
        name: "device begins a command before it is durable",
        file: "crates/device/src/commands.rs",
        changes: &[("e.is_waiting() && e.is_durable && is_its_time", "e.is_waiting() && is_its_time")],
        breaks: "CommandOnce",
        seed: 2,
    },
    Mutation {
        name: "device looks at a command's deadline only when it takes it",
        file: "crates/device/src/commands.rs",
        changes: &[
            ("e.not_before <= now && now <= e.deadline;", "e.not_before <= now;"),
            ("entry.is_waiting() && now > entry.deadline;", "entry.is_waiting() && now > UnixMs(i64::MAX);"),
            ("let late = UnixMs(entry.deadline.0.saturating_add(1));", "let late = UnixMs(i64::MAX);"),
        ],
        breaks: "CommandInTime",
        seed: 1,
    },
    Mutation {
        name: "device begins a command before its time",
        file: "crates/device/src/commands.rs",
        changes: &[("e.not_before <= now && now <= e.deadline;", "now <= e.deadline;")],
        breaks: "CommandInTime",
        seed: 1,
    },
    Mutation {
        name: "server does not store the key of a request",
        file: "crates/store/src/sqlite/command.rs",
        changes: &[(
            "            request,
            key,
            order.kind,",
            "            request,
            key.as_ref().filter(|_| false),
            order.kind,",
        )],
        breaks: "CommandIsOrdered",
        seed: 1,
    },
    Mutation {
        name: "server ends only what it has not sent",
        file: "crates/store/src/command/step.rs",
        changes: &[(
            "        CommandState::Sent | CommandState::Accepted
            if deadline",
            "        CommandState::Sent | CommandState::Accepted
            if deadline.0 < 0 && deadline",
        )],
        breaks: "CommandEnds",
        seed: 1,
    },
    Mutation {
        name: "device reports a command that a power cut ended as done",
        file: "crates/device/src/commands.rs",
        changes: &[(
            "                    entry.settle(Outcome::state(CommandState::Unknown), at);",
            "                    entry.settle(Outcome::SUCCEEDED, at);",
        )],
        breaks: "CommandEndsTruly",
        seed: 1,
    },
    Mutation {
        name: "registers of results are in memory alone",
        file: "crates/device/src/commands.rs",
        changes: &[(
            "let version = if self.words.is_empty() { PLAIN } else { WITH_WORDS };",
            "let version = PLAIN;",
        )],
        breaks: "CommandEndsTruly",
        seed: 1,
    },
    Mutation {
        name: "a write that got no answer is sent again",
        file: "crates/device/src/errand.rs",
        changes: &[(
            "        (self.step, self.reads) = (Step::After, 0);
",
            "        if result != WriteResult::NoAnswer {
            (self.step, self.reads) = (Step::After, 0);
        }
",
        )],
        breaks: "CommandOnce",
        seed: 1,
    },
    Mutation {
        name: "any answer after a write counts as its success",
        file: "crates/device/src/errand.rs",
        changes: &[(
            "                if setpoint.holds(words) {
                    return Some(ErrandEnd { outcome: Outcome::SUCCEEDED, words: shown });",
            "                if setpoint.holds(words) || !words.is_empty() {
                    return Some(ErrandEnd { outcome: Outcome::SUCCEEDED, words: shown });",
        )],
        breaks: "LimitIsAsOrdered",
        seed: 7,
    },
    Mutation {
        name: "watts are a part of a rated power in kilowatts",
        file: "crates/profile/src/control.rs",
        changes: &[(
            "full.saturating_mul(i64::from(watts)) / i64::from(rated_w.max(1));",
            "full.saturating_mul(i64::from(watts)) / (i64::from(rated_w.max(1)) / 1_000).max(1);",
        )],
        breaks: "LimitIsAsOrdered",
        seed: 1,
    },
    Mutation {
        name: "server cancels what it has sent",
        file: "crates/store/src/sqlite/command.rs",
        changes: &[(
            "        CommandState::Queued => {}
        CommandState::Sent | CommandState::Accepted =>",
            "        CommandState::Queued | CommandState::Sent => {}
        CommandState::Accepted =>",
        )],
        breaks: "CommandEndsTruly",
        seed: 3,
    },
    Mutation {
        name: "a device follows its template only when that is assigned",
        file: "crates/store/src/sqlite/config_template.rs",
        changes: &[(
            "ON used.template = template.id AND used.version < template.version LIMIT ?1",
            "ON used.template = template.id AND used.version = 0 LIMIT ?1",
        )],
        breaks: "TemplateIsFollowed",
        seed: 1,
    },
    Mutation {
        name: "a device keeps the values of a template that it has no longer",
        file: "crates/store/src/configuration.rs",
        changes: &[(
            "    let settings = template.overlaid(&own);
    let is_held",
            "    let held = newest.map(|newest| newest.desired.settings.clone()).unwrap_or_default();
    let settings = held.overlaid(template).overlaid(&own);
    let is_held",
        )],
        breaks: "TemplateIsFollowed",
        seed: 1,
    },
    Mutation {
        name: "commands are sent in the order in which they were made",
        file: "crates/store/src/command/step.rs",
        changes: &[(
            "        ready.sort_by_key(|held| Reverse(held.priority));
",
            "        ready.sort_by_key(|held| held.number.0);
",
        )],
        breaks: "UrgentGoesFirst",
        seed: 1,
    },
    Mutation {
        name: "a confirmed write is not read back",
        file: "crates/device/src/errand.rs",
        changes: &[(
            "            WriteResult::Confirmed if is_readable => None,
",
            "",
        )],
        breaks: "LimitIsAsOrdered",
        seed: 1,
    },
];
