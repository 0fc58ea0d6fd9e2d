//! Areas in memory that never fail.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use ecowatt_node::storage::{Area, Areas, Fault};

#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Rc<RefCell<BTreeMap<Area, Vec<u8>>>>);

impl Areas for Memory {
    fn list(&self) -> Result<Vec<Area>, Fault> {
        Ok(self.0.borrow().keys().copied().collect())
    }

    fn len(&self, area: Area) -> Result<Option<u64>, Fault> {
        Ok(self.0.borrow().get(&area).map(|held| held.len() as u64))
    }

    fn read_at(&self, area: Area, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let areas = self.0.borrow();
        let held = areas.get(&area).ok_or(Fault::Failed)?;
        let rest = held.get(place(offset)?..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn append(&self, area: Area, bytes: &[u8]) -> Result<(), Fault> {
        self.0.borrow_mut().entry(area).or_default().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&self, _area: Area) -> Result<(), Fault> {
        Ok(())
    }

    fn settle(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn erase(&self, area: Area) -> Result<(), Fault> {
        self.0.borrow_mut().remove(&area).map(|_| ()).ok_or(Fault::Failed)
    }

    fn set_aside(&self, area: Area) -> Result<(), Fault> {
        self.erase(area)
    }
}

fn place(offset: u64) -> Result<usize, Fault> {
    usize::try_from(offset).map_err(|_| Fault::Full)
}
