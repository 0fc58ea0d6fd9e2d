//! A disk in memory that never fails.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use ecowatt_node::storage::{Disk, Fault};

#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

impl Disk for Memory {
    fn list(&self) -> Result<Vec<String>, Fault> {
        Ok(self.0.borrow().keys().cloned().collect())
    }

    fn len(&self, name: &str) -> Result<Option<u64>, Fault> {
        Ok(self.0.borrow().get(name).map(|file| file.len() as u64))
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let files = self.0.borrow();
        let file = files.get(name).ok_or(Fault::Failed)?;
        let rest = file.get(place(offset)?..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut files = self.0.borrow_mut();
        let file = files.entry(name.into()).or_default();
        let start = place(offset)?;
        let end = start + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&self, name: &str, len: u64) -> Result<(), Fault> {
        let len = place(len)?;
        self.0.borrow_mut().get_mut(name).ok_or(Fault::Failed)?.resize(len, 0);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        self.0.borrow_mut().remove(name).map(|_| ()).ok_or(Fault::Failed)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        let mut files = self.0.borrow_mut();
        let file = files.remove(from).ok_or(Fault::Failed)?;
        files.insert(to.into(), file);
        Ok(())
    }

    fn sync(&self, _name: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn sync_names(&self) -> Result<(), Fault> {
        Ok(())
    }
}

fn place(offset: u64) -> Result<usize, Fault> {
    usize::try_from(offset).map_err(|_| Fault::Full)
}
