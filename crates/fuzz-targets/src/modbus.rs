//! Modbus: what a master and a slave make of frames and of streams of bytes.

use ecowatt_modbus::{
    ADU_MAX, ExpectedReply, Framing, Progress, Request, RequestDecoder, Transaction,
};

use crate::steer;

/// Requests whose replies are read in several ways.
const REQUESTS: [Request<'_>; 4] = [
    Request::ReadHoldingRegisters { address: 0, count: 10 },
    Request::ReadInputRegisters { address: 40_000, count: 125 },
    Request::ReadCoils { address: 3, count: 19 },
    Request::WriteSingleRegister { address: 8, value: 100 },
];

fn framing(steered: u8) -> Framing {
    if steered & 1 == 0 { Framing::Rtu } else { Framing::Tcp }
}

/// A request that is read is written so that it reads the same; any reply is read or refused.
pub fn modbus_pdu(data: &[u8]) {
    if let Ok(request) = Request::parse(data) {
        let mut written = [0; ADU_MAX];
        let len = request.encode(&mut written).expect("what a slave can carry out can be asked");
        // Unused bits of the last byte of coils may come set, and are written clear.
        assert_eq!(Request::parse(&written[..len]), Ok(request));
    }
    for request in REQUESTS {
        let _ = ExpectedReply::of(&request).parse(data);
    }
}

/// A slave takes any stream in pieces of any size.
pub fn modbus_requests(data: &[u8]) {
    let Some((&[framing_byte, piece], data)) = steer(data) else {
        return;
    };
    let mut decoder = RequestDecoder::new(framing(framing_byte));
    let mut rest = data;
    while !rest.is_empty() {
        let next = rest.len().min(usize::from(piece) + 1);
        let taken = decoder.push(&rest[..next]);
        assert!(taken > 0, "a decoder that was emptied has room");
        rest = &rest[taken..];
        loop {
            match decoder.next_request() {
                Ok(Some(_)) => (),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if piece & 1 == 1 {
            decoder.silence();
        }
    }
}

/// A master takes any answer in pieces of any size.
pub fn modbus_transaction(data: &[u8]) {
    let Some((&[framing_byte, which, piece], data)) = steer(data) else {
        return;
    };
    let request = REQUESTS[usize::from(which) % REQUESTS.len()];
    let mut transaction = Transaction::new(framing(framing_byte), 1, &request, 7)
        .expect("these requests are within every limit");
    for bytes in data.chunks(usize::from(piece) + 1) {
        match transaction.feed(bytes) {
            Progress::NeedMore => (),
            Progress::Done(response) => {
                assert_eq!(response.function(), request.function());
                return;
            }
            Progress::Exception(_) | Progress::Failed(_) => return,
        }
    }
    let _ = transaction.is_garbled();
}
