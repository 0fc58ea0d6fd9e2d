//! Statements on streams, their layouts, and the dictionary of points.

use std::collections::BTreeMap;

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::convert::corrupt;
use crate::StoreError;
use crate::fleet::{AnnounceError, Stream, StreamPoints};
use crate::ids::{LayoutId, PointId, StreamId};
use crate::key_streams::KeyStreams;
use crate::point::{Point, PointDef};
use crate::upload::NewStream;

pub(crate) fn announce(db: &Connection, new: &NewStreamOf) -> Result<Vec<PointId>, AnnounceError> {
    let NewStreamOf { device, stream } = new;
    if !db.prepare_cached("SELECT 1 FROM device WHERE number = ?1")?.exists([device.0])? {
        return Err(AnnounceError::UnknownDevice);
    }
    let layout = db
        .prepare_cached("SELECT id FROM layout WHERE cbor = ?1")?
        .query_row([&stream.layout], |row| row.get::<_, i64>(0))
        .optional()?;
    let held: Option<(u8, i64)> = db
        .prepare_cached("SELECT source, layout FROM stream WHERE device = ?1 AND number = ?2")?
        .query_row(params![device.0, stream.id.code()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((source, held)) = held {
        return if source == stream.source.0 && layout == Some(held) {
            Ok(layout_points(db, held)?)
        } else {
            Err(AnnounceError::OtherLayout)
        };
    }
    announced(db, *device, stream.id)?.add(stream.source, &stream.points)?;
    Ok(layout_points(db, create_stream(db, new)?)?)
}

/// Inserts a stream that does not exist; returns its layout.
pub(super) fn create_stream(db: &Connection, new: &NewStreamOf) -> Result<i64, StoreError> {
    let NewStreamOf { device, stream } = new;
    let layout = find_or_create_layout(db, stream)?;
    db.prepare_cached(
        "INSERT INTO stream (device, number, source, layout, first_seen)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![device.0, stream.id.code(), stream.source.0, layout, stream.at.0])?;
    db.prepare_cached(
        "INSERT OR IGNORE INTO announced_point (device, generation, source, point)
         SELECT ?1, ?2, ?3, point FROM layout_point WHERE layout = ?4",
    )?
    .execute(params![device.0, stream.id.generation().0, stream.source.0, layout])?;
    Ok(layout)
}

/// A stream and its device.
pub(crate) struct NewStreamOf {
    pub(crate) device: DeviceNumber,
    pub(crate) stream: NewStream,
}

/// Returns the dictionary's ids of a layout's points, inserting the layout and its points if they
/// are missing. The dictionary is shared by all devices and does not refer to any.
pub(crate) fn enter_layout(
    db: &Connection,
    stream: &NewStream,
) -> Result<Vec<PointId>, StoreError> {
    let layout = find_or_create_layout(db, stream)?;
    layout_points(db, layout)
}

fn find_or_create_layout(db: &Connection, stream: &NewStream) -> Result<i64, StoreError> {
    let held = db
        .prepare_cached("SELECT id FROM layout WHERE cbor = ?1")?
        .query_row([&stream.layout], |row| row.get::<_, i64>(0))
        .optional()?;
    held.map_or_else(|| create_layout(db, stream), Ok)
}

/// Returns what a device has announced under the key that `id` belongs to.
pub(crate) fn announced(
    db: &Connection,
    device: DeviceNumber,
    id: StreamId,
) -> Result<KeyStreams, StoreError> {
    let of_key = id.of_same_key();
    let streams = db
        .prepare_cached(
            "SELECT count(*) FROM stream WHERE device = ?1 AND number BETWEEN ?2 AND ?3",
        )?
        .query_row([device.0, *of_key.start(), *of_key.end()], |row| row.get(0))?;
    let mut statement = db.prepare_cached(
        "SELECT point.id AS id, name, unit, exponent, source
         FROM announced_point JOIN point ON point.id = announced_point.point
         WHERE device = ?1 AND generation = ?2",
    )?;
    let points = statement
        .query_map(params![device.0, id.generation().0], |row| {
            Ok((SourceNumber(row.get("source")?), point(row)?.def))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(KeyStreams::new(streams, points))
}

fn create_layout(db: &Connection, stream: &NewStream) -> Result<i64, StoreError> {
    let layout =
        db.prepare_cached("INSERT INTO layout (cbor) VALUES (?1)")?.insert([&stream.layout])?;
    let mut insert =
        db.prepare_cached("INSERT INTO layout_point (layout, place, point) VALUES (?1, ?2, ?3)")?;
    for (place, def) in (0i64..).zip(&stream.points) {
        insert.execute([layout, place, point_id(db, def)?])?;
    }
    Ok(layout)
}

fn point_id(db: &Connection, def: &PointDef) -> Result<i64, StoreError> {
    let found = db
        .prepare_cached("SELECT id FROM point WHERE name = ?1 AND unit = ?2 AND exponent = ?3")?
        .query_row(params![def.name, def.unit.code(), def.exponent], |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => Ok(db
            .prepare_cached("INSERT INTO point (name, unit, exponent) VALUES (?1, ?2, ?3)")?
            .insert(params![def.name, def.unit.code(), def.exponent])?),
    }
}

fn layout_points(db: &Connection, layout: i64) -> Result<Vec<PointId>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT point FROM layout_point WHERE layout = ?1 ORDER BY place")?;
    let points =
        statement.query_map([layout], |row| Ok(PointId(row.get(0)?)))?.collect::<Result<_, _>>()?;
    Ok(points)
}

pub(crate) fn list_streams(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Vec<Stream>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT number, source, cbor, first_seen
         FROM stream JOIN layout ON layout.id = stream.layout
         WHERE stream.device = ?1 ORDER BY stream.number",
    )?;
    let streams = statement.query_map([device.0], stream)?.collect::<Result<_, _>>()?;
    Ok(streams)
}

fn stream(row: &Row<'_>) -> rusqlite::Result<Stream> {
    Ok(Stream {
        id: StreamId::from_code(row.get("number")?),
        source: SourceNumber(row.get("source")?),
        layout: row.get("cbor")?,
        first_seen: UnixMs(row.get("first_seen")?),
    })
}

/// Returns a stream with its points.
pub(crate) fn find_stream(
    db: &Connection,
    device: DeviceNumber,
    id: StreamId,
) -> Result<Option<StreamPoints>, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT number, source, cbor, first_seen, layout.id AS layout
             FROM stream JOIN layout ON layout.id = stream.layout
             WHERE stream.device = ?1 AND stream.number = ?2",
        )?
        .query_row(params![device.0, id.code()], |row| {
            Ok((stream(row)?, row.get::<_, i64>("layout")?))
        })
        .optional()?;
    found
        .map(|(stream, layout)| Ok(StreamPoints { stream, points: layout_points(db, layout)? }))
        .transpose()
}

pub(crate) fn point(row: &Row<'_>) -> rusqlite::Result<Point> {
    Ok(Point {
        id: PointId(row.get("id")?),
        def: PointDef {
            name: row.get("name")?,
            unit: ecowatt_model::Unit::from_code(row.get("unit")?)
                .ok_or_else(|| corrupt("unit"))?,
            exponent: row.get("exponent")?,
        },
    })
}

/// Returns every point that a source's layouts have ever had.
pub(crate) fn list_points(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
) -> Result<Vec<Point>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT id, name, unit, exponent FROM point WHERE id IN (
             SELECT point FROM announced_point WHERE device = ?1 AND source = ?2)
         ORDER BY id",
    )?;
    let points =
        statement.query_map(params![device.0, source.0], point)?.collect::<Result<_, _>>()?;
    Ok(points)
}

/// Returns layouts as they were announced.
pub(crate) fn layouts(
    db: &Connection,
    ids: &[LayoutId],
) -> Result<BTreeMap<LayoutId, Vec<u8>>, StoreError> {
    let mut statement = db.prepare_cached("SELECT cbor FROM layout WHERE id = ?1")?;
    let mut layouts = BTreeMap::new();
    for id in ids {
        let found = statement.query_row([id.0], |row| row.get(0)).optional()?;
        layouts.extend(found.map(|cbor| (*id, cbor)));
    }
    Ok(layouts)
}
