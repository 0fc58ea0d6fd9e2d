//! Everything that is written can be read, however the bytes are split.

use ecowatt_modbus::{
    Bits, Exception, ExceptionCode, Framing, Header, Progress, Reply, Request, RequestDecoder,
    Response, Transaction, Words, encode_reply,
};
use proptest::prelude::*;

/// A request that owns its values, with the response that a slave would send.
#[derive(Debug, Clone)]
pub(crate) enum Exchange {
    Bits { function: u8, address: u16, bits: Vec<bool> },
    Registers { function: u8, address: u16, words: Vec<u16> },
    Coil { address: u16, on: bool },
    Register { address: u16, value: u16 },
    WriteBits { address: u16, bits: Vec<bool> },
    WriteRegisters { address: u16, words: Vec<u16> },
    Mask { address: u16, and_mask: u16, or_mask: u16 },
    ReadWrite { read: u16, write: u16, given: Vec<u16>, got: Vec<u16> },
}

pub(crate) fn exchange() -> impl Strategy<Value = Exchange> {
    let words = |max| prop::collection::vec(any::<u16>(), 1..=max);
    let bits = |max| prop::collection::vec(any::<bool>(), 1..=max);
    prop_oneof![
        (1..=2u8, 0..60_000u16, bits(2_000)).prop_map(|(function, address, bits)| Exchange::Bits {
            function,
            address,
            bits
        }),
        (3..=4u8, 0..60_000u16, words(125)).prop_map(|(function, address, words)| {
            Exchange::Registers { function, address, words }
        }),
        (any::<u16>(), any::<bool>()).prop_map(|(address, on)| Exchange::Coil { address, on }),
        (any::<u16>(), any::<u16>())
            .prop_map(|(address, value)| Exchange::Register { address, value }),
        (0..60_000u16, bits(1_968))
            .prop_map(|(address, bits)| Exchange::WriteBits { address, bits }),
        (0..60_000u16, words(123))
            .prop_map(|(address, words)| Exchange::WriteRegisters { address, words }),
        any::<(u16, u16, u16)>().prop_map(|(address, and_mask, or_mask)| Exchange::Mask {
            address,
            and_mask,
            or_mask
        }),
        (0..60_000u16, 0..60_000u16, words(121), words(125))
            .prop_map(|(read, write, given, got)| Exchange::ReadWrite { read, write, given, got }),
    ]
}

fn count(len: usize) -> u16 {
    u16::try_from(len).unwrap()
}

impl Exchange {
    /// Calls `with` with the request and the response, which borrow from `self`.
    pub(crate) fn with<T>(&self, with: impl FnOnce(Request<'_>, Response<'_>) -> T) -> T {
        // The borrowed values live only in this function, hence the callback in every arm.
        let mut room = [0; 250];
        match self {
            Self::Bits { function, address, bits } => {
                let (address, count) = (*address, count(bits.len()));
                let bits = Bits::pack(bits, &mut room).unwrap();
                if *function == 1 {
                    with(Request::ReadCoils { address, count }, Response::ReadCoils(bits))
                } else {
                    let request = Request::ReadDiscreteInputs { address, count };
                    with(request, Response::ReadDiscreteInputs(bits))
                }
            }
            Self::Registers { function, address, words } => {
                let (address, count) = (*address, count(words.len()));
                let words = Words::new(words);
                if *function == 3 {
                    let request = Request::ReadHoldingRegisters { address, count };
                    with(request, Response::ReadHoldingRegisters(words))
                } else {
                    let request = Request::ReadInputRegisters { address, count };
                    with(request, Response::ReadInputRegisters(words))
                }
            }
            &Self::Coil { address, on } => with(
                Request::WriteSingleCoil { address, on },
                Response::WriteSingleCoil { address, on },
            ),
            &Self::Register { address, value } => with(
                Request::WriteSingleRegister { address, value },
                Response::WriteSingleRegister { address, value },
            ),
            Self::WriteBits { address, bits } => {
                let (address, count) = (*address, count(bits.len()));
                let values = Bits::pack(bits, &mut room).unwrap();
                with(
                    Request::WriteMultipleCoils { address, values },
                    Response::WriteMultipleCoils { address, count },
                )
            }
            Self::WriteRegisters { address, words } => {
                let (address, count) = (*address, count(words.len()));
                with(
                    Request::WriteMultipleRegisters { address, values: Words::new(words) },
                    Response::WriteMultipleRegisters { address, count },
                )
            }
            &Self::Mask { address, and_mask, or_mask } => with(
                Request::MaskWriteRegister { address, and_mask, or_mask },
                Response::MaskWriteRegister { address, and_mask, or_mask },
            ),
            Self::ReadWrite { read, write, given, got } => with(
                Request::ReadWriteMultipleRegisters {
                    read_address: *read,
                    read_count: count(got.len()),
                    write_address: *write,
                    values: Words::new(given),
                },
                Response::ReadWriteMultipleRegisters(Words::new(got)),
            ),
        }
    }
}

pub(crate) fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![Just(Framing::Tcp), Just(Framing::Rtu)]
}

pub(crate) fn reply_bytes(framing: Framing, header: Header, reply: &Reply<'_>) -> Vec<u8> {
    let mut out = [0; 260];
    let len = encode_reply(framing, header, reply, &mut out).unwrap();
    out[..len].to_vec()
}

proptest! {
    #[test]
    fn a_slave_reads_every_request_of_a_master(
        framing in framing(),
        exchanges in prop::collection::vec(exchange(), 1..4),
        unit in 1u8..=247,
        cut in 1usize..300,
    ) {
        let mut stream = vec![];
        for exchange in &exchanges {
            exchange.with(|request, _| {
                let transaction = Transaction::new(framing, unit, &request, 9).unwrap();
                stream.extend_from_slice(transaction.bytes());
            });
        }
        let mut decoder = RequestDecoder::new(framing);
        let mut expected = exchanges.iter();
        for mut chunk in stream.chunks(cut) {
            while !chunk.is_empty() {
                let taken = decoder.push(chunk);
                prop_assert!(taken > 0);
                chunk = &chunk[taken..];
                while let Some(incoming) = decoder.next_request().unwrap() {
                    prop_assert_eq!(incoming.header.unit, unit);
                    let exchange = expected.next().unwrap();
                    exchange.with(|request, _| assert_eq!(incoming.request, Ok(request)));
                }
            }
        }
        prop_assert!(expected.next().is_none());
    }

    #[test]
    fn a_master_reads_every_answer_of_a_slave(
        framing in framing(),
        exchange in exchange(),
        unit in 1u8..=247,
        transaction in any::<u16>(),
        cut in 1usize..300,
        refusal in prop::option::of(1u8..=12),
    ) {
        exchange.with(|request, response| {
            let function = request.function();
            let code = refusal.map(ExceptionCode::from_code);
            let reply = match code {
                Some(code) => Err(Exception { function, code }),
                None => Ok(response),
            };
            let bytes = reply_bytes(framing, Header { transaction, unit }, &reply);
            let mut master = Transaction::new(framing, unit, &request, transaction).unwrap();
            prop_assert!(!master.bytes().is_empty());
            let last = bytes.chunks(cut).count() - 1;
            for (index, chunk) in bytes.chunks(cut).enumerate() {
                let progress = master.feed(chunk);
                match (index == last, code) {
                    (false, _) => prop_assert_eq!(progress, Progress::NeedMore),
                    (true, Some(code)) => prop_assert_eq!(progress, Progress::Exception(code)),
                    (true, None) => prop_assert_eq!(progress, Progress::Done(response)),
                }
            }
            Ok(())
        })?;
    }
}
