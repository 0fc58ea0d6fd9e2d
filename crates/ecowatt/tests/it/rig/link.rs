//! The device's side of the link, for a holder of the device's key.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ecowatt_codec::{Batch, CodecMemory, TimeBase, encode, encoded_len_max};
use ecowatt_envelope::enrol::{DeviceHalf, ENROL_MESSAGE_MAX};
use ecowatt_envelope::{ClaimCode, DeviceKey, KeyId, LinkKeys, RequestId, seal_uplink};
use ecowatt_model::{COLUMNS_MAX, Counter};
use ecowatt_wire::UplinkWriter;

use crate::rig::server::Server;

/// A device, or an attacker with its key.
pub(crate) struct Peer {
    pub(crate) host: String,
    keys: LinkKeys,
    kid: KeyId,
    /// Counter of the last message.
    pub(crate) counter: u64,
}

/// The server's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(server: &Server, key: &DeviceKey, kid: KeyId) -> Self {
        let host = server.url.strip_prefix("http://").unwrap().into();
        Self { host, keys: LinkKeys::derive(key, kid), kid, counter: 0 }
    }

    /// Redeems a claim code.
    pub(crate) fn enrol(server: &Server, code: &str) -> Self {
        let code: ClaimCode = code.trim().parse().unwrap();
        let half = DeviceHalf::new([7; 32]);
        let mut message = [0; ENROL_MESSAGE_MAX];
        let length = half.request(&code, &mut message);
        let host = server.url.strip_prefix("http://").unwrap();
        let answer = post(host, "/link/enrol", &message[..length]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let identity = half.finish(&code, &answer.body).unwrap();
        let kid = KeyId { device: identity.grant.device, generation: identity.grant.generation };
        Self::new(server, &identity.key, kid)
    }

    /// Makes the next message.
    pub(crate) fn seal(&mut self, write: impl FnOnce(&mut UplinkWriter<'_>)) -> Vec<u8> {
        self.counter += 1;
        let mut message = vec![0; 60_000];
        let mut writer = UplinkWriter::new(&mut message);
        write(&mut writer);
        let length = writer.finish();
        let request = RequestId { kid: self.kid, counter: Counter(self.counter) };
        let length = seal_uplink(&self.keys, request, &mut message, length).unwrap();
        message.truncate(length);
        message
    }

    pub(crate) fn send(&self, message: &[u8]) -> Answer {
        post(&self.host, "/link", message)
    }
}

/// Posts a message on its own connection.
pub(crate) fn post(host: &str, path: &str, message: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         content-type: application/cose\r\ncontent-length: {}\r\n\r\n",
        message.len()
    )
    .unwrap();
    stream.write_all(message).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: answer[end + 4..].to_vec() }
}

/// A batch with the same words at each of these times.
pub(crate) fn encoded(times: &[i64], words: &[u16]) -> Vec<u8> {
    let columns = words.len();
    let words = words.repeat(times.len());
    let batch = Batch { base: TimeBase::Unix, columns, times, words: &words, marks: None };
    let mut bytes = vec![0; encoded_len_max(times.len(), columns)];
    let mut state = Box::new(CodecMemory::<COLUMNS_MAX>::new());
    let length = encode(&batch, &mut state, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}
