//! Bytes of version 1 of root, targets, timestamp and state, made by the same independent
//! implementation as those in `v1.rs`. Do not edit them.

use ecowatt_artifact::sha256;
use ecowatt_artifact::trust::{Role, Root, Targets, Timestamp, Trust};
use ecowatt_model::UnixMs;

use crate::bytes;
use crate::trust::{cosign, public};

const ROOT: &str = concat!(
    "d8628440a058e085011b000001ba60d3380082028358208139770ea87d175f56a35466c34c7ecccb8d8a91b4",
    "ee37a25df60f5b8fc9b39458208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f",
    "5c5820ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d182028258200b513ad9",
    "b4924015ca0902ed079044d3ac5dbec2306f06948c10da8eb6e39f2d582066be7e332c7a453332bd9d0a7f7d",
    "b055f5c5ef1a06ada66d98b39fb6810c473a8201815820d54207da194977dcf46adbfec2bc2e75b52d5a8a42",
    "184fedfdc00024f0e3e8da828343a10132a1044834750f98bd59fcfc5840f5491fd2b0e456c3e2db6dc8e9ed",
    "3146c329e5b1bc69515b67ffb5044e8078a90ec84b464973e1911abdb51414c12690996175916fff5b6b197f",
    "0d8c22917f088343a10132a104486a3803d5f059902a584004539db95dd3f407de50cbeccdd80af1d9f035bf",
    "81127f2d4314705d273b5661a5a7a60fa17c58485549a5bde87683154fec571dfeae30e303b61e23ff8f1501",
);
const TARGETS: &str = concat!(
    "d8628440a0585083051b000001a0c4506c008258203e23e8160039594a33894f6564e1b1348bbd7a0088d42c",
    "4acb73eeaed59c009d5820ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb82",
    "8343a10132a10448ed23d853125a3acf584056165391c14b51e3d1e2b3fce01899474b4a753e2d56fdcbd11f",
    "c976a764404a6d744e39a5a1970c3dd8401bbb74492b0da7077c155005e13df1a68b751106078343a10132a1",
    "0448fdf72a088f18f73958400b18202777d4a23fab0592070fc4f30f054eb8f6fa21db7c31562da13b8483d0",
    "06d5475d017e79b6428a5e48f3f69918053149ce743102012edde66115322b0f",
);
const TIMESTAMP: &str = concat!(
    "d8628440a058308419012c1b000001a04d1ad800055820158a661c8294e98dfdbd52f27a616197ad2a6447bb",
    "9c01764ac4acec2b67176a818343a10132a10448d7e1e084be213b015840d959f0186c4e699d9d6cb51ce3f3",
    "5de029fcf0275ad736bb9d87fdcc51a67fdcf8bc38a6119602c18abb1c239db284c4f4869351b0adff62dfdd",
    "e095a7feb505",
);
const STATE: &str = concat!(
    "8685011b000001ba60d3380082028358208139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f",
    "5b8fc9b39458208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c5820ed4928",
    "c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d182028258200b513ad9b4924015ca09",
    "02ed079044d3ac5dbec2306f06948c10da8eb6e39f2d582066be7e332c7a453332bd9d0a7f7db055f5c5ef1a",
    "06ada66d98b39fb6810c473a8201815820d54207da194977dcf46adbfec2bc2e75b52d5a8a42184fedfdc000",
    "24f0e3e8da19012c055820158a661c8294e98dfdbd52f27a616197ad2a6447bb9c01764ac4acec2b67176a1b",
    "000001a011800e001b000001a04d1ad800",
);

const NOW: UnixMs = UnixMs(1_787_000_000_000);

fn role(threshold: u8, seeds: &[u8]) -> Role {
    Role::new(threshold, &public(seeds)).unwrap()
}

fn written(write: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut out = [0; 2048];
    let length = write(&mut out);
    out[..length].to_vec()
}

#[test]
fn documents_of_version_1() {
    let root = Root {
        version: 1,
        expires: UnixMs(1_900_000_000_000),
        root: role(2, &[1, 2, 3]),
        targets: role(2, &[11, 12]),
        timestamp: role(1, &[21]),
    };
    let content = written(|out| root.write(out).unwrap());
    assert_eq!(cosign(&[2, 1], Root::PURPOSE, &content), bytes(ROOT));

    let mut manifests = heapless::Vec::from_slice(&[sha256(b"a"), sha256(b"b")]).unwrap();
    manifests.sort_unstable();
    let targets = Targets { version: 5, expires: UnixMs(1_790_000_000_000), manifests };
    let content = written(|out| targets.write(out).unwrap());
    assert_eq!(cosign(&[11, 12], Targets::PURPOSE, &content), bytes(TARGETS));

    let timestamp = Timestamp {
        version: 300,
        expires: UnixMs(1_788_000_000_000),
        targets_version: 5,
        targets: sha256(&bytes(TARGETS)),
    };
    let content = written(|out| timestamp.write(out).unwrap());
    assert_eq!(cosign(&[21], Timestamp::PURPOSE, &content), bytes(TIMESTAMP));
}

#[test]
fn state_of_version_1() {
    let mut trust = Trust::new(&bytes(ROOT)).unwrap();
    let current = trust.refresh(&bytes(TIMESTAMP), &bytes(TARGETS), Some(NOW)).unwrap();
    assert_eq!(current.targets().version, 5);
    assert_eq!(written(|out| trust.store(out).unwrap()), bytes(STATE));
    assert_eq!(Trust::load(&bytes(STATE)), Some(trust));
}
