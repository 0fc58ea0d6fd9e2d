//! SQLite's VFS interface in front of [`Files`]; contains every pointer of the project.
//!
//! It is sound for three reasons. A registered VFS is never freed, only emptied, because a
//! connection keeps its address. An open file is one box, created in `open` and freed in `close`,
//! and SQLite uses it from one thread at a time. No panic leaves a function that SQLite calls.
//! SQLite's promises about the arguments are in <https://www.sqlite.org/c3ref/vfs.html> and
//! <https://www.sqlite.org/c3ref/io_methods.html>.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libsqlite3_sys as sqlite;
use sqlite::{sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

use crate::locks::{Level, Locks};
use crate::{File, Files, RegisterError};

/// Maximum length of a file name, including its suffix.
const NAME_MAX: c_int = 512;

/// SQLite's own default for Unix (`SQLITE_DEFAULT_SECTOR_SIZE` in `os_unix.c`).
const SECTOR_SIZE: c_int = 4096;

/// Files whose first sync includes the folder (`UNIXFILE_DIRSYNC` in `os_unix.c`).
const JOURNALS: c_int =
    sqlite::SQLITE_OPEN_WAL | sqlite::SQLITE_OPEN_MAIN_JOURNAL | sqlite::SQLITE_OPEN_SUPER_JOURNAL;

/// The Unix epoch in milliseconds of the Julian day; the only time that this VFS reports.
const NOW: sqlite3_int64 = 210_866_760_000_000;

/// The same in days.
const NOW_DAYS: f64 = 2_440_587.5;

/// Keeps two registrations of one name, or two seeds, from running at the same time: SQLite's list
/// of names and its generator are per process.
static PROCESS: Mutex<()> = Mutex::new(());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A VFS's data besides SQLite's own structure. Never freed.
struct Volume<F> {
    /// `None` once the VFS is unregistered.
    files: Mutex<Option<Arc<F>>>,
    locks: Mutex<Locks>,
    drawn: AtomicU64,
}

/// A registered VFS. Dropping it removes its name from SQLite.
///
/// Connections may outlive it. Their open files stay usable and keep the [`Files`] alive; every
/// operation by name fails. The few hundred bytes whose address a connection holds are never freed.
pub struct Registered {
    vfs: Vfs,
    volume: &'static (dyn Empty + Send + Sync),
}

/// Releases the files.
trait Empty {
    fn empty(&self);
}

impl<F: Files> Empty for Volume<F> {
    fn empty(&self) {
        // Dropped after the lock is released: the destructor may run arbitrary code.
        let files = lock(&self.files).take();
        drop(files);
    }
}

/// SQLite's structure; never freed.
struct Vfs(NonNull<sqlite3_vfs>);

// SAFETY: the pointer is only passed to SQLite's VFS functions, which lock their own mutex before
// they access what it points to.
unsafe impl Send for Vfs {}

// SAFETY: as above; a shared reference gives no access.
unsafe impl Sync for Vfs {}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered").finish_non_exhaustive()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: the structure was registered and is never freed.
        unsafe { sqlite::sqlite3_vfs_unregister(self.vfs.0.as_ptr()) };
        self.volume.empty();
    }
}

/// Installs `files` as the VFS `name`. The system's own stays the default.
///
/// # Errors
/// If the name is taken or invalid.
pub fn register<F: Files>(name: &str, files: F) -> Result<Registered, RegisterError> {
    let name = CString::new(name).map_err(|_| RegisterError::Name)?;
    let _only = lock(&PROCESS);
    // SAFETY: the name is a string that ends with a zero byte.
    if !unsafe { sqlite::sqlite3_vfs_find(name.as_ptr()) }.is_null() {
        return Err(RegisterError::Taken);
    }
    let volume: &'static Volume<F> = Box::leak(Box::new(Volume {
        files: Mutex::new(Some(Arc::new(files))),
        locks: Mutex::default(),
        drawn: AtomicU64::new(0),
    }));
    let vfs = NonNull::from(Box::leak(Box::new(sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<Slot<F>>().try_into().map_err(|_| RegisterError::Name)?,
        mxPathname: NAME_MAX,
        pNext: ptr::null_mut(),
        zName: name.into_raw(),
        pAppData: ptr::from_ref(volume).cast_mut().cast(),
        xOpen: Some(open::<F>),
        xDelete: Some(delete::<F>),
        xAccess: Some(access::<F>),
        xFullPathname: Some(full_pathname),
        xDlOpen: Some(dl_open),
        xDlError: Some(dl_error),
        xDlSym: Some(dl_sym),
        xDlClose: Some(dl_close),
        xRandomness: Some(randomness::<F>),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(get_last_error),
        xCurrentTimeInt64: Some(current_time_int64),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    })));
    // SAFETY: the structure is complete; it, its strings and its functions are never freed.
    let code = unsafe { sqlite::sqlite3_vfs_register(vfs.as_ptr(), 0) };
    if code != sqlite::SQLITE_OK {
        volume.empty();
        return Err(RegisterError::Refused(code));
    }
    Ok(Registered { vfs: Vfs(vfs), volume })
}

/// Fixes the sequence of SQLite's own random generator from here on, in the whole process.
///
/// SQLite draws the salts of write-ahead logs from it. A simulation that must be reproducible bit
/// for bit calls this at its start and does not let anything else in the process use SQLite at the
/// same time.
pub fn seed_randomness(seed: u32) {
    let _only = lock(&PROCESS);
    let seed = c_int::from_ne_bytes(seed.to_ne_bytes());
    // 0 would make SQLite use the system's entropy again.
    let seed = if seed == 0 { c_int::MAX } else { seed };
    let mut drawn = 0u8;
    // SAFETY: the buffer holds the one requested byte. Once the generator has yielded a value, no
    // thread reads the seed until the generator is reset.
    unsafe { sqlite::sqlite3_randomness(1, ptr::from_mut(&mut drawn).cast()) };
    let no_connection = ptr::null_mut::<sqlite::sqlite3>();
    // SAFETY: the operation takes an int and a connection or null (sqlite3.h). It writes the seed,
    // which no thread reads at this point (see above), and resets the generator under the
    // generator's mutex, so every later read of the seed comes after this write.
    unsafe {
        sqlite::sqlite3_test_control(sqlite::SQLITE_TESTCTRL_PRNG_SEED, seed, no_connection);
    }
}

/// The memory that SQLite allocates per file. SQLite only accesses `base`.
#[repr(C)]
struct Slot<F: Files> {
    base: sqlite3_file,
    /// A box from `open` until `close`.
    open: *mut Open<F>,
}

struct Open<F: Files> {
    body: Body<F>,
    volume: &'static Volume<F>,
    name: String,
    level: Level,
    /// Keeps the files alive as long as one of them is open.
    files: Option<Arc<F>>,
    /// Whether its first sync also makes its name durable.
    syncs_names: bool,
}

enum Body<F: Files> {
    Named(F::File),
    /// Belongs to one connection and disappears with it.
    Temporary(Vec<u8>),
}

impl<F: Files> Drop for Open<F> {
    fn drop(&mut self) {
        lock(&self.volume.locks).lower(&self.name, self.level, Level::None);
    }
}

struct Methods<F>(PhantomData<F>);

impl<F: Files> Methods<F> {
    const TABLE: &'static sqlite3_io_methods = &sqlite3_io_methods {
        // Neither shared memory nor memory-mapped files are supported.
        iVersion: 1,
        xClose: Some(close::<F>),
        xRead: Some(read::<F>),
        xWrite: Some(write::<F>),
        xTruncate: Some(truncate::<F>),
        xSync: Some(sync::<F>),
        xFileSize: Some(file_size::<F>),
        xLock: Some(raise_lock::<F>),
        xUnlock: Some(lower_lock::<F>),
        xCheckReservedLock: Some(check_reserved_lock::<F>),
        xFileControl: Some(file_control),
        xSectorSize: Some(sector_size),
        xDeviceCharacteristics: Some(device_characteristics),
        xShmMap: None,
        xShmLock: None,
        xShmBarrier: None,
        xShmUnmap: None,
        xFetch: None,
        xUnfetch: None,
    };
}

/// Runs the body of a function that SQLite called; a panic becomes `failure`.
fn guarded(failure: c_int, body: impl FnOnce() -> Result<(), c_int>) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => sqlite::SQLITE_OK,
        Ok(Err(code)) => code,
        Err(_) => failure,
    }
}

/// Maps an error to SQLite's code; the operation's own code is `failure`.
fn code(error: &io::Error, failure: c_int) -> c_int {
    if error.kind() == io::ErrorKind::StorageFull { sqlite::SQLITE_FULL } else { failure }
}

fn outside<T: TryInto<u64>>(value: T, failure: c_int) -> Result<u64, c_int> {
    value.try_into().map_err(|_| failure)
}

/// # Safety
/// `vfs` was created by `register` for the same `F`.
unsafe fn volume<F: Files>(vfs: *mut sqlite3_vfs) -> &'static Volume<F> {
    // SAFETY: the structure is never freed, and `pAppData` never changed.
    let data = unsafe { (*vfs).pAppData };
    // SAFETY: `register` put a leaked `Volume<F>` there.
    unsafe { &*data.cast::<Volume<F>>() }
}

impl<F: Files> Volume<F> {
    fn files(&self, failure: c_int) -> Result<Arc<F>, c_int> {
        lock(&self.files).clone().ok_or(failure)
    }
}

/// # Safety
/// `name` is null or points to a string that ends with a zero byte and outlives `'a`.
unsafe fn text<'a>(name: *const c_char, failure: c_int) -> Result<&'a str, c_int> {
    if name.is_null() {
        return Err(failure);
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| failure)
}

unsafe extern "C" fn open<F: Files>(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let slot = file.cast::<Slot<F>>();
    // SQLite calls `close` if and only if methods are set, whatever is returned.
    let empty = Slot { base: sqlite3_file { pMethods: ptr::null() }, open: ptr::null_mut() };
    // SAFETY: SQLite provides `szOsFile` bytes, the size of a slot, aligned for pointers.
    unsafe { slot.write(empty) };
    guarded(sqlite::SQLITE_CANTOPEN, || {
        // SAFETY: SQLite passes the VFS that this function was registered with.
        let volume = unsafe { volume::<F>(vfs) };
        let is_temporary = name.is_null() || flags & sqlite::SQLITE_OPEN_DELETEONCLOSE != 0;
        let open = if is_temporary {
            Open {
                body: Body::Temporary(Vec::new()),
                volume,
                name: String::new(),
                level: Level::None,
                files: None,
                syncs_names: false,
            }
        } else {
            // SAFETY: the name ends with a zero byte and is valid during the call.
            let name = unsafe { text(name, sqlite::SQLITE_CANTOPEN) }?;
            let files = volume.files(sqlite::SQLITE_CANTOPEN)?;
            let creates = flags & sqlite::SQLITE_OPEN_CREATE != 0;
            let file =
                files.open(name, creates).map_err(|error| code(&error, sqlite::SQLITE_CANTOPEN))?;
            Open {
                body: Body::Named(file),
                volume,
                name: name.to_owned(),
                level: Level::None,
                files: Some(files),
                syncs_names: creates && flags & JOURNALS != 0,
            }
        };
        if !out_flags.is_null() {
            // SAFETY: not null, so SQLite expects the flags there.
            unsafe { out_flags.write(flags) };
        }
        let base = sqlite3_file { pMethods: Methods::<F>::TABLE };
        // SAFETY: as above; the slot owns the box from here on.
        unsafe { slot.write(Slot { base, open: Box::into_raw(Box::new(open)) }) };
        Ok(())
    })
}

unsafe extern "C" fn close<F: Files>(file: *mut sqlite3_file) -> c_int {
    guarded(sqlite::SQLITE_IOERR_CLOSE, || {
        // SAFETY: SQLite closes only what `open` has opened, and does not use it during the call.
        let slot = unsafe { &mut *file.cast::<Slot<F>>() };
        let open = std::mem::replace(&mut slot.open, ptr::null_mut());
        if !open.is_null() {
            // SAFETY: the box that `open` created; no other copy of the pointer remains.
            drop(unsafe { Box::from_raw(open) });
        }
        Ok(())
    })
}

/// The open file behind SQLite's pointer.
///
/// # Safety
///
/// `file` is open, and there is no other reference to it as long as this one lives. SQLite uses a
/// file from one thread at a time, and calls no function on it while another is running.
unsafe fn opened<'a, F: Files>(file: *mut sqlite3_file) -> &'a mut Open<F> {
    // SAFETY: `open` wrote a complete slot there.
    let open = unsafe { (*file.cast::<Slot<F>>()).open };
    // SAFETY: the box lives until `close`; the caller promises that this is the only reference.
    unsafe { &mut *open }
}

unsafe extern "C" fn read<F: Files>(
    file: *mut sqlite3_file,
    buffer: *mut c_void,
    len: c_int,
    offset: sqlite3_int64,
) -> c_int {
    guarded(sqlite::SQLITE_IOERR_READ, || {
        let failure = sqlite::SQLITE_IOERR_READ;
        let len = usize::try_from(len).map_err(|_| failure)?;
        let offset = outside(offset, failure)?;
        // SAFETY: SQLite provides `len` bytes.
        unsafe { ptr::write_bytes(buffer.cast::<u8>(), 0, len) };
        // SAFETY: the same bytes, which have just been zeroed.
        let buffer = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
        // SAFETY: SQLite reads only what is open.
        let read = match &unsafe { opened::<F>(file) }.body {
            Body::Named(file) => file.read_at(offset, buffer).map_err(|e| code(&e, failure))?,
            Body::Temporary(bytes) => {
                let from = usize::try_from(offset).map_err(|_| failure)?;
                let rest = bytes.get(from..).unwrap_or_default();
                let read = rest.len().min(len);
                buffer[..read].copy_from_slice(&rest[..read]);
                read
            }
        };
        if read >= len {
            return Ok(());
        }
        // SQLite expects zeros after the end of a file.
        buffer[read..].fill(0);
        Err(sqlite::SQLITE_IOERR_SHORT_READ)
    })
}

unsafe extern "C" fn write<F: Files>(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    len: c_int,
    offset: sqlite3_int64,
) -> c_int {
    guarded(sqlite::SQLITE_IOERR_WRITE, || {
        let failure = sqlite::SQLITE_IOERR_WRITE;
        let len = usize::try_from(len).map_err(|_| failure)?;
        let offset = outside(offset, failure)?;
        // SAFETY: SQLite provides `len` bytes.
        let bytes = unsafe { slice::from_raw_parts(bytes.cast::<u8>(), len) };
        // SAFETY: SQLite writes only what is open.
        match &mut unsafe { opened::<F>(file) }.body {
            Body::Named(file) => file.write_at(offset, bytes).map_err(|e| code(&e, failure)),
            Body::Temporary(held) => {
                let from = usize::try_from(offset).map_err(|_| failure)?;
                let end = from.checked_add(len).ok_or(failure)?;
                if held.len() < end {
                    held.resize(end, 0);
                }
                held[from..end].copy_from_slice(bytes);
                Ok(())
            }
        }
    })
}

unsafe extern "C" fn truncate<F: Files>(file: *mut sqlite3_file, len: sqlite3_int64) -> c_int {
    guarded(sqlite::SQLITE_IOERR_TRUNCATE, || {
        let failure = sqlite::SQLITE_IOERR_TRUNCATE;
        let len = outside(len, failure)?;
        // SAFETY: SQLite truncates only what is open.
        match &mut unsafe { opened::<F>(file) }.body {
            Body::Named(file) => file.truncate(len).map_err(|e| code(&e, failure)),
            Body::Temporary(bytes) => {
                bytes.resize(usize::try_from(len).map_err(|_| failure)?, 0);
                Ok(())
            }
        }
    })
}

unsafe extern "C" fn sync<F: Files>(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    guarded(sqlite::SQLITE_IOERR_FSYNC, || {
        // SAFETY: SQLite syncs only what is open.
        let open = unsafe { opened::<F>(file) };
        let Body::Named(file) = &open.body else { return Ok(()) };
        file.sync().map_err(|e| code(&e, sqlite::SQLITE_IOERR_FSYNC))?;
        // SQLite's own VFS ignores this failure. Here it only fails when the whole disk fails, and
        // then a commit must not be reported as done.
        if let Some(files) = open.files.as_ref().filter(|_| open.syncs_names) {
            files.sync_names().map_err(|e| code(&e, sqlite::SQLITE_IOERR_DIR_FSYNC))?;
        }
        open.syncs_names = false;
        Ok(())
    })
}

unsafe extern "C" fn file_size<F: Files>(
    file: *mut sqlite3_file,
    size: *mut sqlite3_int64,
) -> c_int {
    guarded(sqlite::SQLITE_IOERR_FSTAT, || {
        let failure = sqlite::SQLITE_IOERR_FSTAT;
        // SAFETY: SQLite measures only what is open.
        let found = match &unsafe { opened::<F>(file) }.body {
            Body::Named(file) => file.size().map_err(|e| code(&e, failure))?,
            Body::Temporary(bytes) => outside(bytes.len(), failure)?,
        };
        // SAFETY: SQLite provides the memory for the size.
        unsafe { size.write(sqlite3_int64::try_from(found).map_err(|_| failure)?) };
        Ok(())
    })
}

fn level(code: c_int) -> Level {
    match code {
        sqlite::SQLITE_LOCK_NONE => Level::None,
        sqlite::SQLITE_LOCK_SHARED => Level::Shared,
        sqlite::SQLITE_LOCK_RESERVED => Level::Reserved,
        sqlite::SQLITE_LOCK_PENDING => Level::Pending,
        _ => Level::Exclusive,
    }
}

unsafe extern "C" fn raise_lock<F: Files>(file: *mut sqlite3_file, wanted: c_int) -> c_int {
    guarded(sqlite::SQLITE_IOERR_LOCK, || {
        // SAFETY: SQLite locks only what is open.
        let open = unsafe { opened::<F>(file) };
        let wanted = level(wanted);
        open.level = lock(&open.volume.locks).raise(&open.name, open.level, wanted);
        if open.level < wanted { Err(sqlite::SQLITE_BUSY) } else { Ok(()) }
    })
}

unsafe extern "C" fn lower_lock<F: Files>(file: *mut sqlite3_file, wanted: c_int) -> c_int {
    guarded(sqlite::SQLITE_IOERR_UNLOCK, || {
        // SAFETY: SQLite unlocks only what is open.
        let open = unsafe { opened::<F>(file) };
        let wanted = level(wanted);
        lock(&open.volume.locks).lower(&open.name, open.level, wanted);
        open.level = open.level.min(wanted);
        Ok(())
    })
}

unsafe extern "C" fn check_reserved_lock<F: Files>(
    file: *mut sqlite3_file,
    is_reserved: *mut c_int,
) -> c_int {
    guarded(sqlite::SQLITE_IOERR_CHECKRESERVEDLOCK, || {
        // SAFETY: SQLite asks only about what is open.
        let open = unsafe { opened::<F>(file) };
        let found = lock(&open.volume.locks).is_reserved(&open.name);
        // SAFETY: SQLite provides the memory for the answer.
        unsafe { is_reserved.write(c_int::from(found)) };
        Ok(())
    })
}

unsafe extern "C" fn file_control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    sqlite::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut sqlite3_file) -> c_int {
    SECTOR_SIZE
}

unsafe extern "C" fn device_characteristics(_: *mut sqlite3_file) -> c_int {
    sqlite::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete<F: Files>(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    syncs: c_int,
) -> c_int {
    guarded(sqlite::SQLITE_IOERR_DELETE, || {
        let failure = sqlite::SQLITE_IOERR_DELETE;
        // SAFETY: the name ends with a zero byte and is valid during the call.
        let name = unsafe { text(name, failure) }?;
        // SAFETY: SQLite passes the VFS that this function was registered with.
        let files = unsafe { volume::<F>(vfs) }.files(failure)?;
        files.remove(name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => sqlite::SQLITE_IOERR_DELETE_NOENT,
            _ => code(&error, failure),
        })?;
        if syncs == 0 {
            return Ok(());
        }
        files.sync_names().map_err(|error| code(&error, sqlite::SQLITE_IOERR_DIR_FSYNC))
    })
}

unsafe extern "C" fn access<F: Files>(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    is_there: *mut c_int,
) -> c_int {
    guarded(sqlite::SQLITE_IOERR_ACCESS, || {
        let failure = sqlite::SQLITE_IOERR_ACCESS;
        // SAFETY: the name ends with a zero byte and is valid during the call.
        let name = unsafe { text(name, failure) }?;
        // SAFETY: SQLite passes the VFS that this function was registered with.
        let files = unsafe { volume::<F>(vfs) }.files(failure)?;
        let found = files.exists(name).map_err(|error| code(&error, failure))?;
        // SAFETY: SQLite provides the memory for the answer.
        unsafe { is_there.write(c_int::from(found)) };
        Ok(())
    })
}

unsafe extern "C" fn full_pathname(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    guarded(sqlite::SQLITE_CANTOPEN, || {
        // SAFETY: the name ends with a zero byte and is valid during the call.
        let name = unsafe { text(name, sqlite::SQLITE_CANTOPEN) }?;
        let room = usize::try_from(room).map_err(|_| sqlite::SQLITE_CANTOPEN)?;
        if name.len() >= room {
            return Err(sqlite::SQLITE_CANTOPEN);
        }
        // SAFETY: the buffer is large enough for the name and its zero byte, and the two do not
        // overlap.
        unsafe { ptr::copy_nonoverlapping(name.as_ptr().cast::<c_char>(), out, name.len()) };
        // SAFETY: the position after the name is within the buffer.
        let end = unsafe { out.add(name.len()) };
        // SAFETY: as above.
        unsafe { end.write(0) };
        Ok(())
    })
}

unsafe extern "C" fn dl_open(_: *mut sqlite3_vfs, _: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

unsafe extern "C" fn dl_error(_: *mut sqlite3_vfs, room: c_int, message: *mut c_char) {
    if room > 0 {
        // SAFETY: the buffer has at least one byte, enough for an empty message.
        unsafe { message.write(0) };
    }
}

type Symbol = unsafe extern "C" fn(*mut sqlite3_vfs, *mut c_void, *const c_char);

unsafe extern "C" fn dl_sym(
    _: *mut sqlite3_vfs,
    _: *mut c_void,
    _: *const c_char,
) -> Option<Symbol> {
    None
}

unsafe extern "C" fn dl_close(_: *mut sqlite3_vfs, _: *mut c_void) {}

/// SQLite seeds its generator from its default VFS, which this never is; if it is called anyway,
/// the numbers repeat.
unsafe extern "C" fn randomness<F: Files>(
    vfs: *mut sqlite3_vfs,
    len: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes the VFS that this function was registered with.
    let volume = unsafe { volume::<F>(vfs) };
    let count = usize::try_from(len).unwrap_or(0);
    // SAFETY: SQLite provides `len` bytes.
    unsafe { ptr::write_bytes(out.cast::<u8>(), 0, count) };
    // SAFETY: the same bytes, which have just been zeroed.
    let bytes = unsafe { slice::from_raw_parts_mut(out.cast::<u8>(), count) };
    for chunk in bytes.chunks_mut(8) {
        let drawn = volume.drawn.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let number = drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        chunk.copy_from_slice(&number.to_ne_bytes()[..chunk.len()]);
    }
    len
}

/// Returns at once: nothing here takes time.
unsafe extern "C" fn sleep(_: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

unsafe extern "C" fn current_time(_: *mut sqlite3_vfs, days: *mut f64) -> c_int {
    // SAFETY: SQLite provides the memory for the time.
    unsafe { days.write(NOW_DAYS) };
    sqlite::SQLITE_OK
}

unsafe extern "C" fn current_time_int64(_: *mut sqlite3_vfs, now: *mut sqlite3_int64) -> c_int {
    // SAFETY: SQLite provides the memory for the time.
    unsafe { now.write(NOW) };
    sqlite::SQLITE_OK
}

unsafe extern "C" fn get_last_error(_: *mut sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}
