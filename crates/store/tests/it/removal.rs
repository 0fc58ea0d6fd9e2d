//! A deleted device leaves nothing behind, and its removal takes small steps.

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::limits::DELETED_ROWS_PER_COMMIT;
use ecowatt_store::{EditDevice, EditError, Resolution, Settings, SiteByName};

use crate::command::new_command;
use crate::configuration::{reported, set_rows};
use crate::fixture::{
    ARRIVAL, DAY, Fixture, SOURCE, announce, block, by, by_at, enrol, samples, upload, utc_date,
};

#[tokio::test]
async fn no_table_keeps_a_row_of_a_deleted_device() {
    let fixture = Fixture::new().await;
    let (store, gone) = (&fixture.store, fixture.device());
    let kept = enrol(store, "second").await;
    announce(store, kept).await;
    let mut sequence = 0;
    for device in [gone, kept] {
        for counter in 1..=3u64 {
            let blocks = (0..400).map(|i| {
                sequence += 1;
                let start = i64::from(sequence) * 3_600;
                block(&fixture.points, (1, sequence), &samples(start + i, 3), utc_date)
            });
            fixture.stored(upload(device, counter, blocks.collect())).await;
        }
    }
    store.create_template(by(), "all".into(), Settings::default()).await.unwrap();
    for device in [gone, kept] {
        store.assign_template(by(), device, Some("all".into())).await.unwrap();
        store.edit_config(by(), set_rows(device, 60)).await.unwrap();
        store.create_command(by(), new_command(device)).await.unwrap();
        let mut reporting = upload(device, 4, vec![]);
        reporting.reported.config = Some(reported(1));
        fixture.stored(reporting).await;
    }
    for device in [gone, kept] {
        let step = store.expire(device, SOURCE, Resolution::Samples, ARRIVAL).await.unwrap();
        assert!(step.rows > 0 && step.has_more);
    }
    assert!(!store.sweep().await.unwrap(), "nothing is deleted");
    assert!(store.delete_device(by_at(UnixMs(DAY.0 + 9)), gone).await.unwrap());
    assert!(!store.delete_device(by_at(UnixMs(DAY.0 + 9)), gone).await.unwrap());
    assert!(!store.reset_device(by_at(UnixMs(DAY.0 + 9)), gone).await.unwrap());
    assert_eq!(store.find_device(gone).await.unwrap(), None);
    // The other device keeps the site until it is moved elsewhere.
    let site = store.list_sites().await.unwrap()[0].id;
    assert!(matches!(store.delete_site(by(), site).await, Err(EditError::InUse)));
    let elsewhere = EditDevice {
        device: kept,
        name: None,
        site: Some(SiteByName { name: "Elsewhere".into(), time_zone: Some("UTC".into()) }),
        keeps_past_days: true,
    };
    store.edit_device(by(), elsewhere).await.unwrap();
    store.delete_site(by(), site).await.unwrap();

    let other = rusqlite::Connection::open(fixture.dir.path().join("ecowatt.db")).unwrap();
    let tables: Vec<String> = other
        .prepare(
            "SELECT name FROM sqlite_master WHERE type = 'table'
             AND EXISTS (SELECT 1 FROM pragma_table_info(sqlite_master.name) AS c
                         WHERE c.name = 'device')",
        )
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let rows_of = |device: DeviceNumber| -> i64 {
        let count = |table: &String| -> i64 {
            let sql = format!("SELECT count(*) FROM {table} WHERE device = ?1");
            other.query_row(&sql, [device.0], |row| row.get(0)).unwrap()
        };
        tables.iter().map(count).sum()
    };
    let (mut before, kept_rows) = (rows_of(gone), rows_of(kept));
    assert!(before > 1_200, "{before}");
    let mut steps = 0;
    while store.sweep().await.unwrap() {
        let left = rows_of(gone);
        assert!(before - left <= i64::from(DELETED_ROWS_PER_COMMIT), "{before} {left}");
        before = left;
        steps += 1;
    }
    assert!(steps > 2, "{steps}");
    assert_eq!((rows_of(gone), rows_of(kept)), (0, kept_rows), "{tables:?}");
}
