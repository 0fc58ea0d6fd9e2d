//! The store as the server sees it.

use std::path::Path;
use std::sync::Arc;

use ecowatt_model::{BatchId, DeviceNumber, KeyGeneration, SourceNumber, UnixMs};

use crate::audit::Audited;
use crate::sqlite::fleet::NewStreamOf;
use crate::sqlite::steps::Stepper;
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

/// Everything that the server keeps; clones share it.
///
/// What changes something returns after the commit that holds the change. The last clone to go
/// finishes what is queued and closes the database; it blocks for as long as that takes.
#[derive(Debug, Clone)]
pub struct Store(Arc<Engine>);

/// What keeps it. Each decides uploads by [`crate::ingest`] and answers by the types of this crate.
#[derive(Debug)]
enum Engine {
    /// One file in a folder, for one server.
    Sqlite(Sqlite),
}

impl Store {
    /// Whether there is a database in `dir`. Nothing is opened and nothing is made.
    ///
    /// # Errors
    /// If the folder may not be looked into.
    pub fn is_in(dir: &Path) -> std::io::Result<bool> {
        dir.join(DATABASE).try_exists()
    }

    /// Opens the database in `dir`, made if there is none, and brings it to this program's schema.
    /// No other process can open the folder so until this one has closed it.
    ///
    /// # Errors
    /// If another process has it open, a later version wrote it, or the disk does not play along.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(Engine::Sqlite(Sqlite::open(dir, Sharing::Alone)?)))
    }

    /// Opens the database in `dir` beside a server that may be running, for an administrator's
    /// command such as making a token. Not for [`Store::ingest`].
    ///
    /// # Errors
    /// If there is no database, or its schema is not this program's.
    pub fn open_beside(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(Engine::Sqlite(Sqlite::open(dir, Sharing::Beside)?)))
    }

    /// Opens a database file, made if there is none, through an SQLite VFS that is registered under
    /// the name `vfs`: a store without threads, for programs that decide themselves what happens
    /// when. What changes something is done by [`Stepper::commit`], and until then its future is
    /// pending; what reads is ready when it is first polled.
    ///
    /// # Errors
    /// If the file is open elsewhere, a later version wrote it, or the VFS does not play along.
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

/// Whether it works.
impl Store {
    /// Waits until the writer has done what is queued before this, without anything to write.
    ///
    /// # Errors
    /// If nothing can be written, or the last upload or query failed for its medium.
    pub async fn check_writer(&self) -> Result<(), StoreError> {
        self.sqlite().write(|_| Ok::<_, StoreError>(())).await?;
        self.sqlite().check_medium()
    }

    /// Looks up nothing.
    ///
    /// # Errors
    /// If nothing can be looked up.
    pub async fn check_reader(&self) -> Result<(), StoreError> {
        self.sqlite().look_up(query::nothing).await
    }

    /// Whether a damaged page was met since the store was opened. Nothing is written from then on; what
    /// can be read is read.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.sqlite().is_damaged()
    }

    /// Ready when nothing will be written any more: the thread that writes has panicked, or whoever
    /// steps the store is gone. It does not keep the store open.
    pub fn writer_ended(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.sqlite().writer_ended()
    }
}

/// Who changed what. Whatever takes a [`By`] writes a line in the transaction of its change, unless it
/// changes nothing.
impl Store {
    /// Lines below one of them, the youngest first, at most
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

/// Access.
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

    /// The token with this hash, if it has not expired at `now`.
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

    /// Deletes a token and its sessions. With `keep_owner`, the last token of an owner that is valid
    /// at that time stays.
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

    /// Makes a session, unless its token is gone. A token has
    /// [`crate::limits::SESSIONS_PER_TOKEN_MAX`]; the oldest make way.
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

    /// A session and the token behind it, if neither has expired at `now`.
    pub async fn find_session(
        &self,
        hash: SecretHash,
        now: UnixMs,
    ) -> Result<Option<(Token, SessionId)>, StoreError> {
        self.sqlite().look_up(move |db| access::find_session(db, &hash, now)).await
    }

    /// Whether a token, or a session of it, is valid at `now`.
    pub async fn is_valid(
        &self,
        token: TokenId,
        session: Option<SessionId>,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        self.sqlite().look_up(move |db| access::is_valid(db, token, session, now)).await
    }

    /// Sessions that run at `now`, the youngest first.
    pub async fn list_sessions(&self, now: UnixMs) -> Result<Vec<Session>, StoreError> {
        self.sqlite().read(move |db| access::list_sessions(db, now)).await
    }

    /// Deletes a session; says whether there was one.
    pub async fn delete_session(&self, by: By, id: SessionId) -> Result<bool, StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "session.delete"),
                move |db, journal| access::delete_session(db, journal, id),
                move |was_there: &bool| was_there.then(|| format!("session {}", id.0)),
            )
            .await
    }

    /// Deletes all sessions but one; gives their number.
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

    /// Notes when tokens and sessions were used last.
    pub async fn note_uses(&self, uses: Vec<Use>) -> Result<(), StoreError> {
        self.sqlite().write(move |db| access::note_uses(db, &uses)).await
    }

    /// Whether there is a token of an owner, valid or not.
    pub async fn is_owned(&self) -> Result<bool, StoreError> {
        self.sqlite().read(access::is_owned).await
    }

    /// Keeps a one-time set-up code in place of any earlier one.
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

    /// Makes a token and a session of it and spends the set-up code, or nothing of it.
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

    /// Makes a claim, and its device and site if they are to be made.
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

    /// Claims that can be redeemed at `now`, the youngest first, at most
    /// [`crate::limits::CLAIMS_LISTED_MAX`].
    pub async fn list_claims(&self, now: UnixMs) -> Result<Vec<OpenClaim>, StoreError> {
        self.sqlite().read(move |db| fleet::list_claims(db, now)).await
    }

    /// Deletes a claim that was not redeemed; says whether there was one.
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

    /// Gives the device a key and spends the claim, or neither. Earlier keys of the device are
    /// revoked.
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

    /// The newest key of each of the devices that has one: when it was revoked, if it was.
    pub async fn newest_keys(
        &self,
        devices: Vec<DeviceNumber>,
    ) -> Result<Vec<(DeviceNumber, Option<UnixMs>)>, StoreError> {
        self.sqlite().read(move |db| fleet::newest_keys(db, &devices)).await
    }

    /// Revokes all keys of a device and voids its outstanding claims; says whether there was one of
    /// either.
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

    /// Devices by number, from after one of them on, and whether there are more.
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

    /// Changes a device's name and site.
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

    /// Changes a site's name and time zone.
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

    /// Deletes a site without devices.
    pub async fn delete_site(&self, by: By, site: SiteId) -> Result<(), EditError> {
        self.sqlite()
            .change(
                Audited::new(by, "site.delete"),
                move |db, _| edit::delete_site(db, site),
                move |()| Some(format!("site {}", site.0)),
            )
            .await
    }

    /// Revokes a device's keys and believes nothing any more of what was reported under them; what
    /// they have stored stays. Says whether there is such a device.
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

    /// Revokes a device's keys and makes it invisible; [`Store::sweep`] removes what it has stored.
    /// Says whether there is such a device.
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

    /// Removes some of what deleted devices have stored; says whether there may be more.
    pub async fn sweep(&self) -> Result<bool, StoreError> {
        if !self.sqlite().read(edit::has_deleted).await? {
            return Ok(false);
        }
        self.sqlite().write(edit::sweep).await
    }

    /// Other devices of the same name at the same site, a few of them.
    pub async fn namesakes(&self, device: DeviceNumber) -> Result<Vec<DeviceNumber>, StoreError> {
        self.sqlite().read(move |db| edit::namesakes(db, device)).await
    }

    /// Sets states; gives the devices whose state changed.
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
    /// Makes the roll-ups of a device (minutes, quarter hours, days, energy and its gaps) again from its
    /// blocks, in one transaction; if nobody has it done, it only says what would change. `summarise`
    /// decodes a block; what it cannot decode is left out. Nothing else is written meanwhile.
    pub async fn rebuild(
        &self,
        by: Option<By>,
        device: DeviceNumber,
        mut summarise: impl FnMut(&Block) -> Option<Summary> + Send + 'static,
    ) -> Result<Rebuilt, StoreError> {
        let is_check = by.is_none();
        let by = by.unwrap_or_else(|| By::new("nobody", UnixMs(0)));
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

    /// Stores a stream's layout; the same announcement again changes nothing. Gives the
    /// dictionary's ids of the layout's points, in their order.
    pub async fn announce(
        &self,
        device: DeviceNumber,
        stream: NewStream,
    ) -> Result<Vec<PointId>, AnnounceError> {
        self.sqlite().write(move |db| fleet::announce(db, &NewStreamOf { device, stream })).await
    }

    /// Enters a stream's layout into the dictionary of all devices, without announcing the stream;
    /// gives the ids of its points, in their order.
    pub async fn enter_layout(&self, stream: NewStream) -> Result<Vec<PointId>, StoreError> {
        self.sqlite().write(move |db| fleet::enter_layout(db, &stream)).await
    }

    /// How many streams the device has announced under the key that `id` belongs to.
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

    /// A stream and the dictionary's ids of its points, in the layout's order.
    pub async fn find_stream(
        &self,
        device: DeviceNumber,
        id: StreamId,
    ) -> Result<Option<(Stream, Vec<PointId>)>, StoreError> {
        self.sqlite().look_up(move |db| fleet::find_stream(db, device, id)).await
    }

    /// Every point that an inverter's layouts ever had.
    pub async fn list_points(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
    ) -> Result<Vec<Point>, StoreError> {
        self.sqlite().read(move |db| fleet::list_points(db, device, source)).await
    }

    /// Stores a message: its counter, its batches that are not there yet with their roll-ups, and
    /// what the device said of itself, all in one commit or none of it.
    ///
    /// # Errors
    /// If nothing was stored; the device will send it again.
    pub async fn ingest(&self, upload: Upload) -> Result<Outcome, StoreError> {
        self.sqlite().ingest(upload).await
    }
}

/// Telemetry.
impl Store {
    /// The newest readings of every inverter of a device.
    pub async fn latest(&self, device: DeviceNumber) -> Result<Vec<SourceLatest>, StoreError> {
        self.sqlite().read(move |db| query::latest(db, device)).await
    }

    /// The newest AC power of every inverter of each device.
    pub async fn powers(
        &self,
        devices: Vec<DeviceNumber>,
    ) -> Result<Vec<(DeviceNumber, Vec<SourcePower>)>, StoreError> {
        self.sqlite().read(move |db| query::powers(db, &devices)).await
    }

    /// The state that every inverter of each device said last.
    pub async fn states(
        &self,
        devices: Vec<DeviceNumber>,
    ) -> Result<Vec<(DeviceNumber, Vec<StateReading>)>, StoreError> {
        self.sqlite().read(move |db| query::states(db, &devices)).await
    }

    /// Layouts as they were announced.
    pub async fn layouts(
        &self,
        ids: Vec<LayoutId>,
    ) -> Result<Vec<(LayoutId, Vec<u8>)>, StoreError> {
        self.sqlite().read(move |db| query::layouts(db, &ids)).await
    }

    /// Batches that have samples in the range, by their first sample and name, from after the one
    /// given on: a few that are decoded at once (see [`crate::limits::BLOCK_ROWS_PER_QUERY`]), and
    /// none only if there are no more.
    pub async fn blocks(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        after: Option<(UnixMs, BatchId)>,
    ) -> Result<Vec<Block>, StoreError> {
        self.sqlite().read(move |db| query::blocks(db, device, source, range, after)).await
    }

    /// As [`Store::blocks`], but what is stored together is returned together, which costs no
    /// encoding.
    pub async fn stretches(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        after: Option<(UnixMs, BatchId)>,
    ) -> Result<Vec<Stretch>, StoreError> {
        self.sqlite().read(move |db| query::stretches(db, device, source, range, after)).await
    }

    /// Inverters that have stored something, ascending, from after one of them on; at most
    /// [`crate::limits::INVERTERS_PER_QUERY_MAX`].
    pub async fn list_inverters(
        &self,
        after: Option<(DeviceNumber, SourceNumber)>,
    ) -> Result<Vec<(DeviceNumber, SourceNumber)>, StoreError> {
        self.sqlite().read(move |db| pack::list_inverters(db, after)).await
    }

    /// Blocks that are in no pack and begin in the range: those of the first UTC day that has any, as
    /// many as one pack may hold.
    pub async fn loose_blocks(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
    ) -> Result<Vec<Block>, StoreError> {
        self.sqlite().read(move |db| pack::loose_blocks(db, device, source, range)).await
    }

    /// Stores a pack in the place of its blocks, in one commit. Returns false and changes nothing if
    /// they are not all there any more.
    pub async fn keep_pack(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        pack: Pack,
    ) -> Result<bool, StoreError> {
        self.sqlite().write(move |db| pack::keep(db, device, source, &pack)).await
    }

    /// All batches of an inverter by their first sample and name, from after the one given on; at
    /// most [`crate::limits::BLOCKS_PER_QUERY_MAX`], and fewer only if there are no more.
    pub async fn list_blocks(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        after: Option<(UnixMs, BatchId)>,
    ) -> Result<Vec<Block>, StoreError> {
        self.sqlite().read(move |db| query::list_blocks(db, device, source, after)).await
    }

    /// Names and rows of all stored batches of a device, to check what was delivered.
    pub async fn list_batches(
        &self,
        device: DeviceNumber,
    ) -> Result<Vec<(SourceNumber, BatchId, u16)>, StoreError> {
        self.sqlite().read(move |db| query::list_batches(db, device)).await
    }

    /// One-minute buckets that begin in the range, ascending; those without data are left out. Some
    /// [`crate::limits::BUCKET_CELLS_PER_QUERY_MAX`] values at most, and none only if there are no
    /// more; the same holds for quarter hours and days.
    pub async fn minutes(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        points: Vec<PointId>,
    ) -> Result<Vec<Bucket>, StoreError> {
        self.sqlite().read(move |db| query::minutes(db, device, source, range, &points)).await
    }

    /// Buckets of a UTC quarter hour that begin in the range, ascending.
    pub async fn quarters(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        range: TimeRange,
        points: Vec<PointId>,
    ) -> Result<Vec<Bucket>, StoreError> {
        self.sqlite().read(move |db| query::quarters(db, device, source, range, &points)).await
    }

    /// Local days from `dates.0` until before `dates.1`.
    pub async fn days(
        &self,
        device: DeviceNumber,
        source: SourceNumber,
        dates: (LocalDate, LocalDate),
        points: Vec<PointId>,
    ) -> Result<Vec<DayBucket>, StoreError> {
        self.sqlite().read(move |db| query::days(db, device, source, dates, &points)).await
    }

    /// Energy of every inverter in the local days from `dates.0` until before `dates.1`.
    pub async fn energy_days(
        &self,
        device: DeviceNumber,
        dates: (LocalDate, LocalDate),
    ) -> Result<Vec<EnergyDay>, StoreError> {
        self.sqlite().read(move |db| query::energy_days(db, device, dates)).await
    }

    /// Stretches without readings that touch the range, by their beginning; at most
    /// [`crate::limits::GAPS_PER_QUERY_MAX`].
    pub async fn energy_gaps(
        &self,
        device: DeviceNumber,
        range: TimeRange,
    ) -> Result<Vec<EnergyGap>, StoreError> {
        self.sqlite().read(move |db| query::energy_gaps(db, device, range)).await
    }

    /// Energy and power of one local day of each device, in the order given.
    pub async fn device_days(
        &self,
        wanted: Vec<(DeviceNumber, LocalDate)>,
    ) -> Result<Vec<DeviceDay>, StoreError> {
        self.sqlite().read(move |db| query::device_days(db, &wanted)).await
    }

    /// How many bytes of the database go to what. It reads every page, in one read transaction.
    pub async fn report(&self) -> Result<StoreReport, StoreError> {
        self.sqlite().read(report::report).await
    }

    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let devices = self.sqlite().read(query::count_devices).await?;
        Ok(Counts { devices, database_bytes: self.sqlite().size_bytes()? })
    }
}
