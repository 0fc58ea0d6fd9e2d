//! Our side of the oracle tests: a slave, and a master that uses every function.

use std::time::Duration;

use ecowatt_modbus::{
    Bits, Exception, Framing, Progress, Request, RequestDecoder, Transaction, Words, encode_reply,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bank::Bank;

pub(crate) const UNIT: u8 = 17;
/// Far longer than anything here takes, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Sends one request over the stream and compares the answer with our own bank's.
async fn exchange(stream: &mut TcpStream, framing: Framing, request: &Request<'_>, own: &mut Bank) {
    let mut master = Transaction::new(framing, UNIT, request, 4_711).unwrap();
    stream.write_all(master.bytes()).await.unwrap();
    let mut chunk = [0; 7];
    loop {
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "closed after {request:?}");
        let progress = master.feed(&chunk[..read]);
        if progress == Progress::NeedMore {
            continue;
        }
        own.answer(request, |answer| match answer {
            Ok(response) => assert_eq!(progress, Progress::Done(response), "{request:?}"),
            Err(code) => assert_eq!(progress, Progress::Exception(code), "{request:?}"),
        });
        return;
    }
}

/// Sends every function to a slave that holds the same values as a fresh [`Bank`].
pub(crate) async fn ask_everything(mut stream: TcpStream, framing: Framing) {
    let mut own = Bank::new();
    let words: Vec<u16> = (0..123).map(|n| 60_000 + n).collect();
    let bits: Vec<bool> = (0..1_968).map(|n| n % 7 == 0).collect();
    let mut packed = [0; 250];
    let coils = Bits::pack(&bits, &mut packed).unwrap();
    let requests = [
        Request::ReadCoils { address: 3, count: 19 },
        Request::ReadCoils { address: 0, count: 2_000 },
        Request::ReadDiscreteInputs { address: 100, count: 8 },
        Request::ReadHoldingRegisters { address: 0, count: 125 },
        Request::ReadInputRegisters { address: 1_999, count: 1 },
        Request::ReadInputRegisters { address: 1_999, count: 2 },
        Request::WriteSingleCoil { address: 4, on: true },
        Request::WriteSingleCoil { address: 3, on: false },
        Request::WriteSingleRegister { address: 9, value: 0xFFFF },
        Request::WriteMultipleCoils { address: 5, values: coils },
        Request::WriteMultipleRegisters { address: 20, values: Words::new(&words) },
        Request::MaskWriteRegister { address: 9, and_mask: 0x00F2, or_mask: 0x0025 },
        Request::ReadWriteMultipleRegisters {
            read_address: 0,
            read_count: 125,
            write_address: 100,
            values: Words::new(&words[..121]),
        },
        Request::WriteSingleRegister { address: 5_000, value: 1 },
        Request::ReadCoils { address: 0, count: 2_000 },
        Request::ReadHoldingRegisters { address: 0, count: 125 },
    ];
    for request in requests {
        tokio::time::timeout(PATIENCE, exchange(&mut stream, framing, &request, &mut own))
            .await
            .unwrap_or_else(|_| panic!("no answer to {request:?}"));
    }
}

/// Runs our slave on any stream until it is closed.
pub(crate) async fn slave(mut stream: impl AsyncRead + AsyncWrite + Unpin, framing: Framing) {
    let mut bank = Bank::new();
    let mut decoder = RequestDecoder::new(framing);
    let mut chunk = [0; 5];
    let mut out = [0; 260];
    loop {
        let read = stream.read(&mut chunk).await.unwrap();
        if read == 0 {
            return;
        }
        assert_eq!(decoder.push(&chunk[..read]), read);
        while let Some(incoming) = decoder.next_request().unwrap() {
            let header = incoming.header;
            assert_eq!(header.unit, UNIT);
            let len = match incoming.request {
                Ok(request) => bank.answer(&request, |answer| {
                    let function = request.function();
                    let reply = answer.map_err(|code| Exception { function, code });
                    encode_reply(framing, header, &reply, &mut out).unwrap()
                }),
                Err(error) => {
                    let reply = Err(error.exception().unwrap());
                    encode_reply(framing, header, &reply, &mut out).unwrap()
                }
            };
            stream.write_all(&out[..len]).await.unwrap();
        }
    }
}
