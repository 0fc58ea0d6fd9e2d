//! Noise, late answers and damaged frames: nothing panics and no wrong answer is accepted.

use ecowatt_modbus::{
    Exception, ExceptionCode, Framing, Header, Progress, Reply, Request, RequestDecoder, Response,
    StreamError, Transaction, TransactionError, Words, crc16,
};
use proptest::prelude::*;

use crate::round_trip::{exchange, framing, reply_bytes};

const READ: Request<'_> = Request::ReadHoldingRegisters { address: 0, count: 2 };
const ANSWER: Reply<'_> = Ok(Response::ReadHoldingRegisters(Words::new(&[7, 8])));

fn answer(framing: Framing, transaction: u16, unit: u8) -> Vec<u8> {
    reply_bytes(framing, Header { transaction, unit }, &ANSWER)
}

fn ask(framing: Framing) -> Transaction {
    Transaction::new(framing, 5, &READ, 100).unwrap()
}

#[test]
fn answers_to_other_exchanges_are_skipped_on_tcp() {
    let mut master = ask(Framing::Tcp);
    let late = answer(Framing::Tcp, 99, 5);
    assert_eq!(master.feed(&late), Progress::NeedMore);
    assert!(!master.is_garbled(), "late is not garbled");
    let foreign_unit = answer(Framing::Tcp, 100, 6);
    assert_eq!(master.feed(&foreign_unit), Progress::NeedMore);
    let header = Header { transaction: 100, unit: 5 };
    let other = Response::ReadInputRegisters(Words::new(&[7, 8]));
    let foreign_function = reply_bytes(Framing::Tcp, header, &Ok(other));
    assert_eq!(master.feed(&foreign_function), Progress::NeedMore);
    assert!(master.is_garbled());
    let mut together = late;
    together.extend(answer(Framing::Tcp, 100, 5));
    assert_eq!(
        master.feed(&together),
        Progress::Done(Response::ReadHoldingRegisters(Words::new(&[7, 8])))
    );
    assert_eq!(master.feed(&[0]), Progress::Failed(TransactionError::Over));
}

#[test]
fn an_answer_of_the_wrong_length_is_refused() {
    let header = Header { transaction: 100, unit: 5 };
    let long = Response::ReadHoldingRegisters(Words::new(&[1, 2, 3]));
    let mut master = ask(Framing::Tcp);
    let bytes = reply_bytes(Framing::Tcp, header, &Ok(long));
    assert!(matches!(master.feed(&bytes), Progress::Failed(TransactionError::Reply(_))));
    let mut master = ask(Framing::Rtu);
    let bytes = reply_bytes(Framing::Rtu, header, &Ok(long));
    assert_eq!(master.feed(&bytes), Progress::NeedMore);
    assert_eq!(master.silence(), Progress::Failed(TransactionError::Garbled));
}

#[test]
fn a_stream_out_of_step_fails() {
    let mut master = ask(Framing::Tcp);
    assert_eq!(
        master.feed(b"HTTP/1.1 400 Bad Request\r\n"),
        Progress::Failed(TransactionError::NotModbus)
    );
    let mut decoder = RequestDecoder::new(Framing::Tcp);
    decoder.push(b"GET / HTTP/1.1\r\n");
    assert_eq!(decoder.next_request(), Err(StreamError::NotModbus));
}

#[test]
fn leading_noise_and_foreign_frames_are_skipped_on_rtu() {
    let mut stream = vec![0x05, 0x03, 0xFF, 0x05];
    stream.extend(answer(Framing::Rtu, 0, 6));
    let mut broken = answer(Framing::Rtu, 0, 5);
    broken[4] ^= 1;
    stream.extend(broken);
    let mut master = ask(Framing::Rtu);
    assert_eq!(master.feed(&stream), Progress::NeedMore);
    assert!(master.is_garbled());
    let expected = Progress::Done(Response::ReadHoldingRegisters(Words::new(&[7, 8])));
    assert_eq!(master.feed(&answer(Framing::Rtu, 0, 5)), expected);
}

#[test]
fn silence_ends_a_garbled_exchange_but_not_an_unanswered_one() {
    let mut master = ask(Framing::Rtu);
    assert_eq!(master.silence(), Progress::NeedMore);
    assert_eq!(master.feed(&answer(Framing::Rtu, 0, 5)[..6]), Progress::NeedMore);
    assert_eq!(master.silence(), Progress::Failed(TransactionError::Garbled));
    let mut master = ask(Framing::Tcp);
    assert_eq!(master.feed(&answer(Framing::Tcp, 100, 5)[..6]), Progress::NeedMore);
    assert_eq!(master.silence(), Progress::NeedMore);
}

#[test]
fn words_that_look_like_a_frame_stay_words() {
    // A write whose words contain a whole write of another register to another unit.
    let inner = Request::WriteSingleRegister { address: 8, value: 0 };
    let inner = Transaction::new(Framing::Rtu, 9, &inner, 0).unwrap().bytes().to_vec();
    let pairs = inner.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let words: Vec<u16> = pairs.chain([0; 20]).collect();
    let outer = Request::WriteMultipleRegisters { address: 0, values: Words::new(&words) };
    let frame = Transaction::new(Framing::Rtu, 5, &outer, 0).unwrap().bytes().to_vec();
    let mut decoder = RequestDecoder::new(Framing::Rtu);
    for &byte in &frame[..frame.len() - 1] {
        decoder.push(&[byte]);
        assert_eq!(decoder.next_request(), Ok(None));
    }
    let mut cut_short = decoder.clone();
    decoder.push(&frame[frame.len() - 1..]);
    assert_eq!(decoder.next_request().unwrap().unwrap().request, Ok(outer));
    // Nor are they a frame when the line falls silent before the outer frame is complete.
    cut_short.silence();
    assert_eq!(cut_short.next_request(), Ok(None));

    // An answer whose words contain an exception for the same function.
    let header = Header { transaction: 0, unit: 5 };
    let exception = Err(Exception { function: 3, code: ExceptionCode::ServerDeviceBusy });
    let mut hidden = reply_bytes(Framing::Rtu, header, &exception);
    hidden.push(0);
    let words: Vec<u16> =
        hidden.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let request = Request::ReadHoldingRegisters { address: 0, count: 3 };
    let response = Response::ReadHoldingRegisters(Words::new(&words));
    let mut master = Transaction::new(Framing::Rtu, 5, &request, 0).unwrap();
    let bytes = reply_bytes(Framing::Rtu, header, &Ok(response));
    let (last, most) = bytes.split_last().unwrap();
    for &byte in most {
        assert_eq!(master.feed(&[byte]), Progress::NeedMore);
    }
    assert_eq!(master.feed(&[*last]), Progress::Done(response));
}

#[test]
fn an_answer_behind_an_unfinished_one_is_found_at_the_silence() {
    let request = Request::ReadHoldingRegisters { address: 0, count: 40 };
    let mut master = Transaction::new(Framing::Rtu, 5, &request, 0).unwrap();
    let mut bytes = vec![5, 3, 80, 0, 0];
    let header = Header { transaction: 0, unit: 5 };
    let busy = Err(Exception { function: 3, code: ExceptionCode::ServerDeviceBusy });
    bytes.extend(reply_bytes(Framing::Rtu, header, &busy));
    assert_eq!(master.feed(&bytes), Progress::NeedMore);
    assert_eq!(master.silence(), Progress::Exception(ExceptionCode::ServerDeviceBusy));
}

#[test]
fn a_reply_that_confirms_a_different_write_is_refused() {
    let request = Request::WriteSingleRegister { address: 8, value: 55 };
    let other = Ok(Response::WriteSingleRegister { address: 8, value: 54 });
    let header = Header { transaction: 1, unit: 5 };
    let mut master = Transaction::new(Framing::Tcp, 5, &request, 1).unwrap();
    let bytes = reply_bytes(Framing::Tcp, header, &other);
    assert!(matches!(master.feed(&bytes), Progress::Failed(TransactionError::Reply(_))));
    let mut master = Transaction::new(Framing::Rtu, 5, &request, 1).unwrap();
    assert_eq!(master.feed(&reply_bytes(Framing::Rtu, header, &other)), Progress::NeedMore);
}

#[test]
fn an_unknown_function_can_be_refused_on_rtu() {
    let mut frame = vec![0x09, 0x2B, 0x0E, 0x01, 0x00];
    frame.extend(crc16(&frame).to_le_bytes());
    let mut decoder = RequestDecoder::new(Framing::Rtu);
    decoder.push(&[0x55, 0xAA]);
    assert_eq!(decoder.next_request(), Ok(None));
    decoder.silence();
    decoder.push(&frame);
    let incoming = decoder.next_request().unwrap().unwrap();
    assert_eq!(incoming.header.unit, 9);
    let exception = incoming.request.unwrap_err().exception().unwrap();
    assert_eq!(exception, Exception { function: 0x2B, code: ExceptionCode::IllegalFunction });
    assert_eq!(decoder.next_request(), Ok(None));
}

#[test]
fn a_broadcast_cannot_be_a_transaction() {
    assert!(Transaction::new(Framing::Rtu, 0, &READ, 0).is_err());
    assert!(Transaction::new(Framing::Tcp, 0, &READ, 0).is_ok());
}

proptest! {
    #[test]
    fn random_bytes_never_yield_a_wrong_answer(
        framing in framing(),
        exchange in exchange(),
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
    ) {
        exchange.with(|request, _| {
            let mut master = Transaction::new(framing, 1, &request, 0).unwrap();
            for chunk in &chunks {
                if let Progress::Done(response) = master.feed(chunk) {
                    prop_assert_eq!(response.function(), request.function());
                    if let (Some(words), Request::ReadHoldingRegisters { count, .. }
                        | Request::ReadInputRegisters { count, .. }
                        | Request::ReadWriteMultipleRegisters { read_count: count, .. }) =
                        (response.words(), request)
                    {
                        prop_assert_eq!(words.len(), usize::from(count));
                    }
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn one_damaged_byte_never_yields_other_words_on_rtu(
        exchange in exchange(),
        place in any::<prop::sample::Index>(),
        damage in 1u8..=255,
    ) {
        exchange.with(|request, response| {
            let header = Header { transaction: 0, unit: 5 };
            let mut bytes = reply_bytes(Framing::Rtu, header, &Ok(response));
            let place = place.index(bytes.len());
            bytes[place] ^= damage;
            let mut master = Transaction::new(Framing::Rtu, 5, &request, 0).unwrap();
            prop_assert_eq!(master.feed(&bytes), Progress::NeedMore);
            prop_assert!(master.is_garbled());
            Ok(())
        })?;
    }

    #[test]
    fn random_bytes_never_stop_a_slave(
        framing in framing(),
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
    ) {
        let mut decoder = RequestDecoder::new(framing);
        for chunk in &chunks {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let taken = decoder.push(rest);
                rest = &rest[taken..];
                loop {
                    match decoder.next_request() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(StreamError::NotModbus) => return Ok(()),
                    }
                }
                prop_assert!(taken > 0);
            }
        }
    }

    #[test]
    fn a_request_after_noise_and_silence_is_decoded(
        exchange in exchange(),
        noise in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut decoder = RequestDecoder::new(Framing::Rtu);
        let mut rest = &noise[..];
        while !rest.is_empty() {
            let taken = decoder.push(rest);
            rest = &rest[taken..];
            while decoder.next_request().unwrap().is_some() {}
        }
        decoder.silence();
        exchange.with(|request, _| {
            let master = Transaction::new(Framing::Rtu, 5, &request, 0).unwrap();
            prop_assert_eq!(decoder.push(master.bytes()), master.bytes().len());
            let incoming = decoder.next_request().unwrap().unwrap();
            prop_assert_eq!(incoming.request, Ok(request));
            Ok(())
        })?;
    }
}

#[test]
fn an_echo_of_the_request_is_not_an_answer() {
    // Read as an answer, the echo of this request would have a valid unit, function, length and
    // checksum.
    let request = (0..=255u8)
        .flat_map(|unit| (0..=255u16).map(move |low| (unit, 0x0200 + low)))
        .filter(|(unit, _)| *unit > 0)
        .map(|(unit, address)| (unit, Request::ReadHoldingRegisters { address, count: 1 }))
        .find(|(unit, request)| {
            let master = Transaction::new(Framing::Rtu, *unit, request, 0).unwrap();
            let frame = &master.bytes()[..7];
            crc16(frame) == 0
        });
    let (unit, request) = request.expect("about one address in 65,536 does this");
    let answer = Ok(Response::ReadHoldingRegisters(Words::new(&[7])));
    let answer = reply_bytes(Framing::Rtu, Header { transaction: 0, unit }, &answer);
    let mut master = Transaction::new(Framing::Rtu, unit, &request, 0).unwrap();
    let echo = master.bytes().to_vec();
    for byte in &echo {
        assert_eq!(master.feed(&[*byte]), Progress::NeedMore);
    }
    assert!(master.is_echoed() && !master.is_garbled());
    assert_eq!(master.silence(), Progress::NeedMore, "an echo alone is not an answer");
    assert_eq!(
        master.feed(&answer),
        Progress::Done(Response::ReadHoldingRegisters(Words::new(&[7])))
    );
    assert_eq!((master.skipped(), master.unread()), (0, 0));
}

#[test]
fn an_echoed_write_is_confirmed_by_its_second_copy() {
    let write = Request::WriteSingleRegister { address: 9, value: 50 };
    let mut master = Transaction::new(Framing::Rtu, 5, &write, 0).unwrap().with_echo();
    let echo = master.bytes().to_vec();
    assert_eq!(master.feed(&echo), Progress::NeedMore);
    let done = Response::WriteSingleRegister { address: 9, value: 50 };
    assert_eq!(master.feed(&echo), Progress::Done(done));
}

#[test]
fn bytes_around_an_answer_are_counted() {
    let foreign_request =
        Transaction::new(Framing::Rtu, 5, &READ, 0).unwrap().bytes()[2..].to_vec();
    let right = answer(Framing::Rtu, 0, 5);
    let mut master = ask(Framing::Rtu);
    let together = [&foreign_request[..], &right, &right, &[9]].concat();
    assert!(matches!(master.feed(&together), Progress::Done(_)));
    assert_eq!((master.skipped(), master.unread()), (6, right.len() + 1));

    let mut master = ask(Framing::Tcp);
    let right = answer(Framing::Tcp, 100, 5);
    let together = [&right[..], &right[..4]].concat();
    assert!(matches!(master.feed(&together), Progress::Done(_)));
    assert_eq!(master.unread(), 4);
}

#[test]
fn another_transaction_id_is_reported_and_may_be_accepted() {
    let constant = answer(Framing::Tcp, 0, 5);
    let mut master = ask(Framing::Tcp);
    assert_eq!(master.feed(&constant), Progress::NeedMore);
    assert!(master.has_other_transaction_id());
    let mut master = ask(Framing::Tcp).with_any_transaction_id();
    assert!(matches!(master.feed(&constant), Progress::Done(_)));
}
