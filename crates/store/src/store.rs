//! The interface of the store that the server uses.

use std::path::Path;
use std::sync::Arc;

use ecowatt_model::{BatchId, DeviceNumber, KeyGeneration, SourceNumber, UnixMs};

use crate::audit::Audited;
use crate::sqlite::fleet::NewStreamOf;
use crate::sqlite::stepper::Stepper;
use crate::sqlite::{
    DATABASE, Sharing, Sqlite, access, audit, edit, fleet, pack, query, rebuild, report,
};
use crate::{
    AnnounceError, AuditLine, Block, Bucket, By, Claim, Counts, CreateClaimError, CreateTokenError,
    DayBucket, DeleteTokenError, Device, DeviceDay, DeviceKey, DevicePage, DeviceQuery,
    DeviceState, EditDevice, EditError, EditSite, EnergyDay, EnergyGap, LayoutId, LocalDate,
    NewClaim, NewSession, NewStream, NewToken, OpenClaim, OpenError, Outcome, Pack, Point, PointId,
    Rebuilt, RedeemClaim, RedeemClaimError, RedeemSetup, RedeemSetupError, SecretHash, Session,
    SessionId, Site, SiteId, SourceLatest, SourcePower, StateReading, StoreError, StoreReport,
    Stream, StreamId, Stretch, Summary, TimeRange, Token, TokenId, Upload, Use,
};

/// Handle to all data of the server; clones share it.
///
/// A method that changes data returns after the commit with the change. Dropping the last clone
/// finishes the queued work and closes the database, and blocks until both are done.
#[derive(Debug, Clone)]
pub struct Store(Arc<Engine>);

/// The engine behind a [`Store`]. Every engine decides uploads with [`crate::ingest`] and answers
/// with the types of this crate.
#[derive(Debug)]
enum Engine {
    /// One database file in a folder, for one server.
    Sqlite(Sqlite),
}

impl Store {
    /// Returns whether `dir` contains a database. Opens and creates nothing.
    ///
    /// # Errors
    /// Fails if the folder cannot be searched.
    pub fn is_in(dir: &Path) -> std::io::Result<bool> {
        dir.join(DATABASE).try_exists()
    }

    /// Opens the database in `dir`, creating it if it is missing, and migrates it to this program's
    /// schema. Until it is closed, no other process can open the folder this way.
    ///
    /// # Errors
    /// Fails if another process has it open, if a later version wrote it, or if the disk fails.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(Engine::Sqlite(Sqlite::open(dir, Sharing::Alone)?)))
    }

    /// Opens the database in `dir` while a server may be running, for an administrator's command
    /// such as creating a token. Not for [`Store::ingest`].
    ///
    /// # Errors
    /// Fails if there is no database, or its schema is not this program's.
    pub fn open_beside(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(Engine::Sqlite(Sqlite::open(dir, Sharing::Beside)?)))
    }

    /// Opens a database file, creating it if it is missing, through the SQLite VFS registered as
    /// `vfs`. This store has no threads: the program decides itself what happens when. A write
    /// happens in [`Stepper::commit`], and its future is pending until then; a read is ready when
    /// its future is first polled.
    ///
    /// # Errors
    /// Fails if the file is open elsewhere, if a later version wrote it, or if the VFS fails.
    pub fn open_stepped(path: &Path, vfs: &str) -> Result<(Self, Stepper), OpenError> {
        let (sqlite, stepper) = Sqlite::open_stepped(path, vfs)?;
        Ok((Self::of(Engine::Sqlite(sqlite)), stepper))
    }

    fn of(engine: Engine) -> Self {
        Self(Arc::new(engine))
    }

    fn sqlite(&self) -> &Sqlite {
        let Engine::Sqlite(sqlite) = &*self.0;
        sqlite
    }
}

/// Health of the store.
impl Store {
    /// Waits until the writer has done the work queued before this call. Writes nothing itself.
    ///
    /// # Errors
    /// Fails if writing is impossible, or if the last upload or query met a failing medium.
    pub async fn check_writer(&self) -> Result<(), StoreError> {
        self.sqlite().write(|_| Ok::<_, StoreError>(())).await?;
        self.sqlite().check_medium()
    }

    /// Runs an empty look-up.
    ///
    /// # Errors
    /// Fails if look-ups are impossible.
    pub async fn check_reader(&self) -> Result<(), StoreError> {
        self.sqlite().look_up(query::nothing).await
    }

    /// Returns whether a damaged page was found since the store was opened. After that nothing more
    /// is written; undamaged data can still be read.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.sqlite().is_damaged()
    }

    /// Completes when writing has ended for good: the writer thread has panicked, or the
    /// [`Stepper`] was dropped. The future does not keep the store open.
    pub fn writer_ended(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.sqlite().writer_ended()
    }
}

/// Audit log. Every method with a [`By`] writes an audit line in the transaction of its change,
/// unless it changes nothing.
impl Store {
    /// Returns the lines below the given one, newest first, at most
    /// [`crate::limits::AUDIT_LINES_PER_QUERY_MAX`].
    pub async fn list_audit(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditLine>, StoreError> {
        let limit = limit.min(crate::limits::AUDIT_LINES_PER_QUERY_MAX);
        self.sqlite().read(move |db| audit::list(db, before, limit)).await
    }
}

fn subject_of_token(token: &Token) -> String {
    format!("token {} ({})", token.id.0, token.name)
}

/// Access: tokens, sessions and the set-up code.
impl Store {
    pub async fn create_token(&self, by: By, new: NewToken) -> Result<Token, CreateTokenError> {
        self.sqlite()
            .change(
                Audited::new(by, "token.create"),
                move |db, _| access::create_token(db, &new),
                |token: &Token| Some(subject_of_token(token)),
            )
            .await
    }

    /// Returns the token with this hash unless it has expired at `now`.
    pub async fn find_token(
        &self,
        hash: SecretHash,
        now: UnixMs,
    ) -> Result<Option<Token>, StoreError> {
        self.sqlite().look_up(move |db| access::find_token(db, &hash, now)).await
    }

    pub async fn list_tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.sqlite().read(access::list_tokens).await
    }

    /// Deletes a token and its sessions. With `keep_owner`, the last owner token that is valid at
    /// that time is not deleted.
    pub async fn delete_token(
        &self,
        by: By,
        id: TokenId,
        keep_owner: Option<UnixMs>,
    ) -> Result<(), DeleteTokenError> {
        self.sqlite()
            .change(
                Audited::new(by, "token.delete"),
                move |db, journal| access::delete_token(db, journal, id, keep_owner),
                move |()| Some(format!("token {}", id.0)),
            )
            .await
    }

    /// Creates a session, unless its token was deleted. A token has at most
    /// [`crate::limits::SESSIONS_PER_TOKEN_MAX`] sessions; a further one replaces the oldest.
    pub async fn create_session(
        &self,
        by: By,
        new: NewSession,
    ) -> Result<Option<SessionId>, StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "session.create"),
                move |db, _| access::create_session(db, &new),
                |id: &Option<SessionId>| id.map(|id| format!("session {}", id.0)),
            )
            .await
    }

    /// Returns a session and its token if neither has expired at `now`.
    pub async fn find_session(
        &self,
        hash: SecretHash,
        now: UnixMs,
    ) -> Result<Option<(Token, SessionId)>, StoreError> {
        self.sqlite().look_up(move |db| access::find_session(db, &hash, now)).await
    }

    /// Returns whether a token or one of its sessions is valid at `now`.
    pub async fn is_valid(
        &self,
        token: TokenId,
        session: Option<SessionId>,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        self.sqlite().look_up(move |db| access::is_valid(db, token, session, now)).await
    }

    /// Returns the sessions that are valid at `now`, newest first.
    pub async fn list_sessions(&self, now: UnixMs) -> Result<Vec<Session>, StoreError> {
        self.sqlite().read(move |db| access::list_sessions(db, now)).await
    }

    /// Deletes a session; returns whether it existed.
    pub async fn delete_session(&self, by: By, id: SessionId) -> Result<bool, StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "session.delete"),
                move |db, journal| access::delete_session(db, journal, id),
                move |was_there: &bool| was_there.then(|| format!("session {}", id.0)),
            )
            .await
    }

    /// Deletes all sessions but one; returns how many.
    pub async fn delete_sessions(
        &self,
        by: By,
        but: Option<SessionId>,
    ) -> Result<usize, StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "session.delete"),
                move |db, journal| access::delete_sessions(db, journal, but),
                |count: &usize| (*count > 0).then(|| format!("{count} sessions")),
            )
            .await
    }

    /// Stores when tokens and sessions were last used.
    pub async fn note_uses(&self, uses: Vec<Use>) -> Result<(), StoreError> {
        self.sqlite().write(move |db| access::note_uses(db, &uses)).await
    }

    /// Returns whether there is an owner token, valid or not.
    pub async fn is_owned(&self) -> Result<bool, StoreError> {
        self.sqlite().read(access::is_owned).await
    }

    /// Stores a one-time set-up code, replacing any earlier one.
    pub async fn replace_setup_code(
        &self,
        by: By,
        hash: SecretHash,
        created: UnixMs,
    ) -> Result<(), StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "setup.replace"),
                move |db, _| access::replace_setup_code(db, &hash, created),
                |()| Some("set-up code".to_owned()),
            )
            .await
    }

    /// Spends the set-up code and creates a token with a session, all of it or nothing.
    pub async fn redeem_setup(
        &self,
        by: By,
        redeem: RedeemSetup,
    ) -> Result<(Token, SessionId), RedeemSetupError> {
        self.sqlite()
            .change(
                Audited::new(by, "setup.redeem"),
                move |db, _| access::redeem_setup(db, &redeem),
                |(token, _): &(Token, SessionId)| Some(subject_of_token(token)),
            )
            .await
    }
}

/// Sites, devices, keys and claims.
impl Store {
    pub async fn list_sites(&self) -> Result<Vec<Site>, StoreError> {
        self.sqlite().read(fleet::list_sites).await
    }

    /// Creates a claim, and its device and site if they are new.
    pub async fn create_claim(
        &self,
        by: By,
        new: NewClaim,
    ) -> Result<DeviceNumber, CreateClaimError> {
        self.sqlite()
            .change(
                Audited::new(by, "claim.create"),
                move |db, journal| fleet::create_claim(db, journal, &new),
                |device: &DeviceNumber| Some(device.to_string()),
            )
            .await
    }

    pub async fn find_claim(&self, id: String) -> Result<Option<Claim>, StoreError> {
        self.sqlite().look_up(move |db| fleet::find_claim(db, &id)).await
    }

    /// Returns the claims that can be redeemed at `now`, newest first, at most
    /// [`crate::limits::CLAIMS_LISTED_MAX`].
    pub async fn list_claims(&self, now: UnixMs) -> Result<Vec<OpenClaim>, StoreError> {
        self.sqlite().read(move |db| fleet::list_claims(db, now)).await
    }

    /// Deletes a claim that was not redeemed; returns whether there was one.
    pub async fn delete_claim(&self, by: By, id: String) -> Result<bool, StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "claim.delete"),
                {
                    let id = id.clone();
                    move |db, journal| fleet::delete_claim(db, journal, &id)
                },
                move |was_there: &bool| was_there.then(|| format!("claim {id}")),
            )
            .await
    }

    /// Stores the device's key and spends the claim, or does neither. Revokes earlier keys of the
    /// device.
    pub async fn redeem_claim(&self, by: By, claim: RedeemClaim) -> Result<(), RedeemClaimError> {
        let redeemed = self
            .sqlite()
            .change(
                Audited::new(by, "claim.redeem"),
                move |db, journal| fleet::redeem_claim(db, journal, &claim),
                |device: &DeviceNumber| Some(device.to_string()),
            )
            .await;
        if let Ok(device) = redeemed {
            self.sqlite().keys_given(device);
        }
        redeemed.map(drop)
    }

    pub async fn find_key(
        &self,
        device: DeviceNumber,
        generation: KeyGeneration,
    ) -> Result<Option<DeviceKey>, StoreError> {
        self.sqlite().find_key(device, generation).await
    }

    /// Returns, for each of the devices that has a key, when its newest key was revoked, if it was.
    pub async fn newest_keys(
        &self,
        devices: Vec<DeviceNumber>,
    ) -> Result<Vec<(DeviceNumber, Option<UnixMs>)>, StoreError> {
        self.sqlite().read(move |db| fleet::newest_keys(db, &devices)).await
    }

    /// Revokes all keys of a device and voids its outstanding claims; returns whether there were
    /// any.
    pub async fn revoke_keys(&self, by: By, device: DeviceNumber) -> Result<bool, StoreError> {
        let at = by.at;
        self.sqlite()
            .change(
                Audited::new(by, "key.revoke"),
                move |db, journal| fleet::revoke_keys(db, journal, device, at),
                move |was_there: &bool| was_there.then(|| device.to_string()),
            )
            .await
    }

    pub async fn list_devices(&self, query: DeviceQuery) -> Result<DevicePage, StoreError> {
        self.sqlite().read(move |db| fleet::list_devices(db, &query)).await
    }

    /// Returns devices in the order of their numbers, starting after the given one, and whether
    /// there are more.
    pub async fn sweep_devices(
        &self,
        after: Option<DeviceNumber>,
        limit: u32,
    ) -> Result<(Vec<Device>, bool), StoreError> {
        self.sqlite().read(move |db| fleet::sweep_devices(db, after, limit)).await
    }

    pub async fn find_device(&self, device: DeviceNumber) -> Result<Option<Device>, StoreError> {
        self.sqlite().look_up(move |db| fleet::find_device(db, device)).await
    }

    /// Changes the name and site of a device.
    pub async fn edit_device(&self, by: By, change: EditDevice) -> Result<(), EditError> {
        let device = change.device;
        self.sqlite()
            .change(
                Audited::new(by, "device.edit"),
                move |db, _| edit::edit_device(db, &change),
                move |()| Some(device.to_string()),
            )
            .await
    }

    /// Changes the name and time zone of a site.
    pub async fn edit_site(&self, by: By, change: EditSite) -> Result<(), EditError> {
        let site = change.site;
        self.sqlite()
            .change(
                Audited::new(by, "site.edit"),
                move |db, _| edit::edit_site(db, &change),
                move |()| Some(format!("site {}", site.0)),
            )
            .await
    }

    /// Deletes a site that has no devices.
    pub async fn delete_site(&self, by: By, site: SiteId) -> Result<(), EditError> {
        self.sqlite()
            .change(
                Audited::new(by, "site.delete"),
                move |db, _| edit::delete_site(db, site),
                move |()| Some(format!("site {}", site.0)),
            )
            .await
    }

    /// Revokes a device's keys and discards what was reported under them; its stored samples stay.
    /// Returns whether the device exists.
    pub async fn reset_device(&self, by: By, device: DeviceNumber) -> Result<bool, StoreError> {
        let at = by.at;
        self.sqlite()
            .rewrite(
                Audited::new(by, "device.reset"),
                move |db, journal| edit::reset_device(db, journal, device, at),
                move |was_there: &bool| was_there.then(|| device.to_string()),
            )
            .await
    }

    /// Revokes a device's keys and hides it; [`Store::sweep`] removes its stored data later.
    /// Returns whether the device exists.
    pub async fn delete_device(&self, by: By, device: DeviceNumber) -> Result<bool, StoreError> {
        let at = by.at;
        self.sqlite()
            .rewrite(
                Audited::new(by, "device.delete"),
                move |db, journal| edit::delete_device(db, journal, device, at),
                move |was_there: &bool| was_there.then(|| device.to_string()),
            )
            .await
    }

    /// Removes some of the data of deleted devices; returns whether there may be more.
    pub async fn sweep(&self) -> Result<bool, StoreError> {
        if !self.sqlite().read(edit::has_deleted).await? {
            return Ok(false);
        }
        self.sqlite().write(edit::sweep).await
    }

    /// Returns a few other devices with the same name at the same site.
    pub async fn namesakes(&self, device: DeviceNumber) -> Result<Vec<DeviceNumber>, StoreError> {
        self.sqlite().read(move |db| edit::namesakes(db, device)).await
    }

    /// Sets states; returns the devices whose state changed.
    pub async fn set_states(
        &self,
        states: Vec<(DeviceNumber, DeviceState)>,
        at: UnixMs,
    ) -> Result<Vec<DeviceNumber>, StoreError> {
        self.sqlite().write(move |db| fleet::set_states(db, &states, at)).await
    }
}

/// Streams and uploads.
impl Store {
    /// Rebuilds the roll-ups of a device (minutes, quarter hours, days, energy and its gaps) from
    /// its blocks, in one transaction. Without a [`By`] it only reports what would change.
    /// `summarise` decodes a block; blocks that it cannot decode are left out. Other writes wait
    /// until the rebuild is done.
    pub async fn rebuild(
        &self,
        by: Option<By>,
        device: DeviceNumber,
        mut summarise: impl FnMut(&Block) -> Option<Summary> + Send + 'static,
    ) -> Result<Rebuilt, StoreError> {
        let is_check = by.is_none();
        let by = by.unwrap_or_else(|| By::new("check", UnixMs(0)));
        self.sqlite()
            .rewrite(
                Audited::new(by, "device.rebuild"),
                move |db, _| rebuild::rebuild(db, device, is_check, &mut summarise),
                move |rebuilt: &Rebuilt| {
                    (!is_check && rebuilt.rows_changed > 0).then(|| device.to_string())
                },
            )
            .await
    }

    /// Stores a stream's layout; repeating the same announcement changes nothing. Returns the
    /// dictionary's ids of the layout's points, in the order of the layout.
    pub async fn announce(
        &self,
        device: DeviceNumber,
        stream: NewStream,
    ) -> Result<Vec<PointId>, AnnounceError> {
        self.sqlite().write(move |db| fleet::announce(db, &NewStreamOf { device, stream })).await
    }

    /// Adds a stream's layout to the dictionary shared by all devices, without announcing the
    /// stream. Returns the ids of its points, in the order of the layout.
    pub async fn enter_layout(&self, stream: NewStream) -> Result<Vec<PointId>, StoreError> {
        self.sqlite().write(move |db| fleet::enter_layout(db, &stream)).await
    }

    /// Counts the streams that the device has announced under the key that `id` belongs to.
    pub async fn count_streams(
        &self,
        device: DeviceNumber,
        id: StreamId,
    ) -> Result<u32, StoreError> {
        self.sqlite().look_up(move |db| fleet::count_streams(db, device, id)).await
    }

    pub async fn list_streams(&self, device: DeviceNumber) -> Result<Vec<Stream>, StoreError> {
        self.sqlite().read(move |db| fleet::list_streams(db, device)).await
    }

    /// Returns a stream and the dictionary's ids of its points, in the order of the layout.
    pub async fn find_stream(
        &self,
        device: DeviceNumber,
        id: StreamId,
    ) -> Result<Option<(Stream, Vec<PointId>)>, StoreError> {
        self.sqlite().look_up(move |db| fleet::find_stream(db, device, id)).await
    }

    /// Returns every point that the inverter's layouts have ever had.
    pub async fn list_points(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
    ) -> Result<Vec<Point>, StoreError> {
        self.sqlite().read(move |db| fleet::list_points(db, device, source)).await
    }

    /// Stores a message: its counter, its unknown batches with their roll-ups, and the device's
    /// report, all in one commit or not at all.
    ///
    /// # Errors
    /// Fails if nothing was stored; the device will send the message again.
    pub async fn ingest(&self, upload: Upload) -> Result<Outcome, StoreError> {
        self.sqlite().ingest(upload).await
    }
}

/// Telemetry.
impl Store {
    /// Returns the newest readings of every inverter of a device.
    pub async fn latest(&self, device: DeviceNumber) -> Result<Vec<SourceLatest>, StoreError> {
        self.sqlite().read(move |db| query::latest(db, device)).await
    }

    /// Returns the newest AC power of every inverter of each device.
    pub async fn powers(
        &self,
        devices: Vec<DeviceNumber>,
    ) -> Result<Vec<(DeviceNumber, Vec<SourcePower>)>, StoreError> {
        self.sqlite().read(move |db| query::powers(db, &devices)).await
    }

    /// Returns the last reported state of every inverter of each device.
    pub async fn states(
        &self,
        devices: Vec<DeviceNumber>,
    ) -> Result<Vec<(DeviceNumber, Vec<StateReading>)>, StoreError> {
        self.sqlite().read(move |db| query::states(db, &devices)).await
    }

    /// Returns layouts as they were announced.
    pub async fn layouts(
        &self,
        ids: Vec<LayoutId>,
    ) -> Result<Vec<(LayoutId, Vec<u8>)>, StoreError> {
        self.sqlite().read(move |db| query::layouts(db, &ids)).await
    }

    /// Returns batches with samples in the range, ordered by first sample and id, starting after
    /// the given one. Returns a few that are decoded at once (see
    /// [`crate::limits::BLOCK_ROWS_PER_QUERY`]), and an empty list only if there are no more.
    pub async fn blocks(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        after: Option<(UnixMs, BatchId)>,
    ) -> Result<Vec<Block>, StoreError> {
        self.sqlite().read(move |db| query::blocks(db, device, source, range, after)).await
    }

    /// Like [`Store::blocks`], but returns batches that are stored together as one, which saves
    /// encoding them.
    pub async fn stretches(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        after: Option<(UnixMs, BatchId)>,
    ) -> Result<Vec<Stretch>, StoreError> {
        self.sqlite().read(move |db| query::stretches(db, device, source, range, after)).await
    }

    /// Returns the inverters with stored data, ascending, starting after the given one; at most
    /// [`crate::limits::INVERTERS_PER_QUERY_MAX`].
    pub async fn list_inverters(
        &self,
        after: Option<(DeviceNumber, SourceNumber)>,
    ) -> Result<Vec<(DeviceNumber, SourceNumber)>, StoreError> {
        self.sqlite().read(move |db| pack::list_inverters(db, after)).await
    }

    /// Returns blocks that are in no pack and begin in the range: those of the first UTC day that
    /// has any, as many as one pack may hold.
    pub async fn loose_blocks(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
    ) -> Result<Vec<Block>, StoreError> {
        self.sqlite().read(move |db| pack::loose_blocks(db, device, source, range)).await
    }

    /// Replaces blocks by a pack of them, in one commit. Returns false and changes nothing if one
    /// of the blocks is missing.
    pub async fn keep_pack(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        pack: Pack,
    ) -> Result<bool, StoreError> {
        self.sqlite().write(move |db| pack::keep(db, device, source, &pack)).await
    }

    /// Returns all batches of an inverter, ordered by first sample and id, starting after the
    /// given one; at most [`crate::limits::BLOCKS_PER_QUERY_MAX`], and fewer only if there are no
    /// more.
    pub async fn list_blocks(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        after: Option<(UnixMs, BatchId)>,
    ) -> Result<Vec<Block>, StoreError> {
        self.sqlite().read(move |db| query::list_blocks(db, device, source, after)).await
    }

    /// Returns ids and row counts of all stored batches of a device, to check what was delivered.
    pub async fn list_batches(
        &self,
        device: DeviceNumber,
    ) -> Result<Vec<(SourceNumber, BatchId, u16)>, StoreError> {
        self.sqlite().read(move |db| query::list_batches(db, device)).await
    }

    /// Returns one-minute buckets that begin in the range, ascending; those without data are left
    /// out. Returns at most about [`crate::limits::BUCKET_CELLS_PER_QUERY_MAX`] values, and an
    /// empty list only if there are no more; the same holds for quarter hours and days.
    pub async fn minutes(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        points: Vec<PointId>,
    ) -> Result<Vec<Bucket>, StoreError> {
        self.sqlite().read(move |db| query::minutes(db, device, source, range, &points)).await
    }

    /// Returns buckets of UTC quarter hours that begin in the range, ascending.
    pub async fn quarters(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        points: Vec<PointId>,
    ) -> Result<Vec<Bucket>, StoreError> {
        self.sqlite().read(move |db| query::quarters(db, device, source, range, &points)).await
    }

    /// Returns local days from `dates.0` up to and excluding `dates.1`.
    pub async fn days(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        dates: (LocalDate, LocalDate),
        points: Vec<PointId>,
    ) -> Result<Vec<DayBucket>, StoreError> {
        self.sqlite().read(move |db| query::days(db, device, source, dates, &points)).await
    }

    /// Returns the energy of every inverter in the local days from `dates.0` up to and excluding
    /// `dates.1`.
    pub async fn energy_days(
        &self,
        device: DeviceNumber,
        dates: (LocalDate, LocalDate),
    ) -> Result<Vec<EnergyDay>, StoreError> {
        self.sqlite().read(move |db| query::energy_days(db, device, dates)).await
    }

    /// Returns stretches without readings that touch the range, ordered by their beginning; at most
    /// [`crate::limits::GAPS_PER_QUERY_MAX`].
    pub async fn energy_gaps(
        &self,
        device: DeviceNumber,
        range: TimeRange,
    ) -> Result<Vec<EnergyGap>, StoreError> {
        self.sqlite().read(move |db| query::energy_gaps(db, device, range)).await
    }

    /// Returns energy and power of one local day for each device, in the order given.
    pub async fn device_days(
        &self,
        wanted: Vec<(DeviceNumber, LocalDate)>,
    ) -> Result<Vec<DeviceDay>, StoreError> {
        self.sqlite().read(move |db| query::device_days(db, &wanted)).await
    }

    /// Reports how the bytes of the database are used. Reads every page, in one read transaction.
    pub async fn report(&self) -> Result<StoreReport, StoreError> {
        self.sqlite().read(report::report).await
    }

    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let devices = self.sqlite().read(query::count_devices).await?;
        Ok(Counts { devices, database_bytes: self.sqlite().size_bytes()? })
    }
}
