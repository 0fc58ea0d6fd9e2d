//! Rebuilds roll-ups from stored batches: after a site's time zone was corrected, or where stored
//! roll-ups are damaged. The batches are decoded by the same code as when they were received.

use std::collections::HashMap;

use ecowatt_model::DeviceNumber;
use ecowatt_profile::{Layout, LayoutError};
use ecowatt_store::{Author, Block, Rebuilt, Store, StoreError, StreamId, StreamPoints};

use super::decode::{Scratch, summarise};
use super::streams::Decoding;
use crate::time::zone_of;

/// Why the roll-ups were not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("there is no such device")]
    UnknownDevice,
    #[error("the layout of stream {0} cannot be read")]
    Layout(StreamId, #[source] LayoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rebuilds the roll-ups of a device, by the days of its site's current time zone. Without `by`
/// nothing is changed, and the result is what would change. All of a device is one transaction.
///
/// # Errors
/// If nothing was changed.
pub async fn rebuild(
    store: &Store,
    by: Option<Author>,
    device: DeviceNumber,
) -> Result<Rebuilt, RebuildError> {
    let found = store.find_device(device).await?.ok_or(RebuildError::UnknownDevice)?;
    let zone = zone_of(&found.site);
    let mut decodings: HashMap<StreamId, Decoding> = HashMap::new();
    for stream in store.list_streams(device).await? {
        let found = store.find_stream(device, stream.id).await?;
        let Some(StreamPoints { stream, points }) = found else { continue };
        let layout = Layout::from_cbor(&stream.layout);
        let layout = layout.map_err(|error| RebuildError::Layout(stream.id, error))?;
        decodings.insert(stream.id, Decoding::new(layout, points));
    }
    let scratch = Scratch::default();
    let again = move |block: &Block| {
        let decoding = decodings.get(&block.stream)?;
        summarise(&block.bytes, block.time_offset_ms, decoding, &zone, &scratch)
    };
    Ok(store.rebuild(by, device, again).await?)
}
