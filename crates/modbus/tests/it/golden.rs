//! The examples of the MODBUS Application Protocol Specification V1.1b3, section 6, byte by byte.

use ecowatt_modbus::{
    Bits, EncodeError, Exception, ExceptionCode, ExpectedReply, Framing, Header, Reply, Request,
    RequestError, Response, Words, encode_reply, encode_request,
};

fn check(request: Request<'_>, request_pdu: &[u8], response: Response<'_>, response_pdu: &[u8]) {
    let mut out = [0; 253];
    let len = request.encode(&mut out).unwrap();
    assert_eq!(&out[..len], request_pdu);
    assert_eq!(Request::parse(request_pdu), Ok(request));
    let len = response.encode(&mut out).unwrap();
    assert_eq!(&out[..len], response_pdu);
    assert_eq!(ExpectedReply::of(&request).parse(response_pdu), Ok(Ok(response)));
}

#[test]
fn reads_of_section_6() {
    // 6.1: coils 20 to 38.
    check(
        Request::ReadCoils { address: 0x13, count: 0x13 },
        &[0x01, 0x00, 0x13, 0x00, 0x13],
        Response::ReadCoils(Bits::new(&[0xCD, 0x6B, 0x05], 19).unwrap()),
        &[0x01, 0x03, 0xCD, 0x6B, 0x05],
    );
    // 6.2: inputs 197 to 218.
    check(
        Request::ReadDiscreteInputs { address: 0xC4, count: 0x16 },
        &[0x02, 0x00, 0xC4, 0x00, 0x16],
        Response::ReadDiscreteInputs(Bits::new(&[0xAC, 0xDB, 0x35], 22).unwrap()),
        &[0x02, 0x03, 0xAC, 0xDB, 0x35],
    );
    // 6.3: registers 108 to 110.
    check(
        Request::ReadHoldingRegisters { address: 0x6B, count: 3 },
        &[0x03, 0x00, 0x6B, 0x00, 0x03],
        Response::ReadHoldingRegisters(Words::new(&[0x022B, 0x0000, 0x0064])),
        &[0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64],
    );
    // 6.4: input register 9.
    check(
        Request::ReadInputRegisters { address: 8, count: 1 },
        &[0x04, 0x00, 0x08, 0x00, 0x01],
        Response::ReadInputRegisters(Words::new(&[0x000A])),
        &[0x04, 0x02, 0x00, 0x0A],
    );
}

#[test]
fn writes_of_section_6() {
    // 6.5: coil 173 on.
    check(
        Request::WriteSingleCoil { address: 0xAC, on: true },
        &[0x05, 0x00, 0xAC, 0xFF, 0x00],
        Response::WriteSingleCoil { address: 0xAC, on: true },
        &[0x05, 0x00, 0xAC, 0xFF, 0x00],
    );
    // 6.6: register 2.
    check(
        Request::WriteSingleRegister { address: 1, value: 3 },
        &[0x06, 0x00, 0x01, 0x00, 0x03],
        Response::WriteSingleRegister { address: 1, value: 3 },
        &[0x06, 0x00, 0x01, 0x00, 0x03],
    );
    // 6.11: ten coils from 20.
    check(
        Request::WriteMultipleCoils {
            address: 0x13,
            values: Bits::new(&[0xCD, 0x01], 10).unwrap(),
        },
        &[0x0F, 0x00, 0x13, 0x00, 0x0A, 0x02, 0xCD, 0x01],
        Response::WriteMultipleCoils { address: 0x13, count: 10 },
        &[0x0F, 0x00, 0x13, 0x00, 0x0A],
    );
    // 6.12: two registers from 2.
    check(
        Request::WriteMultipleRegisters { address: 1, values: Words::new(&[0x000A, 0x0102]) },
        &[0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02],
        Response::WriteMultipleRegisters { address: 1, count: 2 },
        &[0x10, 0x00, 0x01, 0x00, 0x02],
    );
    // 6.16: register 5.
    check(
        Request::MaskWriteRegister { address: 4, and_mask: 0xF2, or_mask: 0x25 },
        &[0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25],
        Response::MaskWriteRegister { address: 4, and_mask: 0xF2, or_mask: 0x25 },
        &[0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25],
    );
    // 6.17: six registers from 4 read, three from 15 written.
    check(
        Request::ReadWriteMultipleRegisters {
            read_address: 3,
            read_count: 6,
            write_address: 0x0E,
            values: Words::new(&[0xFF, 0xFF, 0xFF]),
        },
        &[
            0x17, 0x00, 0x03, 0x00, 0x06, 0x00, 0x0E, 0x00, 0x03, 0x06, 0x00, 0xFF, 0x00, 0xFF,
            0x00, 0xFF,
        ],
        Response::ReadWriteMultipleRegisters(Words::new(&[0xFE, 0x0ACD, 1, 3, 0x0D, 0xFF])),
        &[0x17, 0x0C, 0x00, 0xFE, 0x0A, 0xCD, 0x00, 0x01, 0x00, 0x03, 0x00, 0x0D, 0x00, 0xFF],
    );
}

#[test]
fn frames_of_both_kinds() {
    let mut out = [0; 260];
    let request = Request::ReadHoldingRegisters { address: 0x6B, count: 3 };
    let header = Header { transaction: 0x1501, unit: 0x11 };
    let len = encode_request(Framing::Tcp, header, &request, &mut out).unwrap();
    assert_eq!(out[..len], [0x15, 0x01, 0, 0, 0, 6, 0x11, 0x03, 0, 0x6B, 0, 3]);
    let len = encode_request(Framing::Rtu, header, &request, &mut out).unwrap();
    assert_eq!(out[..len], [0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87]);
    let refusal: Reply<'_> =
        Err(Exception { function: 3, code: ExceptionCode::IllegalDataAddress });
    let len = encode_reply(Framing::Rtu, header, &refusal, &mut out).unwrap();
    assert_eq!(out[..len], [0x11, 0x83, 0x02, 0xC1, 0x34]);
    for room in 0..len {
        let result = encode_reply(Framing::Rtu, header, &refusal, &mut out[..room]);
        assert_eq!(result, Err(EncodeError::BufferTooSmall));
    }
}

#[test]
fn limits_hold_on_both_sides() {
    let mut out = [0; 253];
    let mut encode = |request: Request<'_>| request.encode(&mut out);
    let read = |address, count| Request::ReadHoldingRegisters { address, count };
    assert_eq!(encode(read(0, 126)), Err(EncodeError::Count { count: 126, max: 125 }));
    assert_eq!(encode(read(0, 0)), Err(EncodeError::Count { count: 0, max: 125 }));
    let beyond = EncodeError::AddressSpace { address: 65_535, count: 2 };
    assert_eq!(encode(read(65_535, 2)), Err(beyond));
    assert!(encode(read(65_535, 1)).is_ok());
    let words = [0; 124];
    let write = |count: usize| Request::WriteMultipleRegisters {
        address: 0,
        values: Words::new(&words[..count]),
    };
    assert!(encode(write(123)).is_ok());
    assert_eq!(encode(write(124)), Err(EncodeError::Count { count: 124, max: 123 }));
    let both = |count: usize| Request::ReadWriteMultipleRegisters {
        read_address: 0,
        read_count: 125,
        write_address: 0,
        values: Words::new(&words[..count]),
    };
    assert_eq!(encode(both(121)), Ok(252));
    assert_eq!(encode(both(122)), Err(EncodeError::Count { count: 122, max: 121 }));
    assert!(encode(Request::ReadCoils { address: 0, count: 2_000 }).is_ok());
    assert!(encode(Request::ReadCoils { address: 0, count: 2_001 }).is_err());
}

#[test]
fn bad_requests_get_the_exception_of_the_specification() {
    use ExceptionCode::{IllegalDataAddress, IllegalDataValue, IllegalFunction};
    let table: &[(&[u8], ExceptionCode)] = &[
        (&[0x2B, 0x0E, 0x01, 0x00], IllegalFunction),
        (&[0x03, 0x00, 0x00, 0x00, 0x00], IllegalDataValue),
        (&[0x03, 0x00, 0x00, 0x00, 0x7E], IllegalDataValue),
        (&[0x03, 0xFF, 0xFF, 0x00, 0x02], IllegalDataAddress),
        (&[0x03, 0x00, 0x00, 0x00], IllegalDataValue),
        (&[0x05, 0x00, 0x00, 0x00, 0x01], IllegalDataValue),
        (&[0x10, 0x00, 0x00, 0x00, 0x02, 0x02, 0x00, 0x00], IllegalDataValue),
        (&[0x10, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00], IllegalDataValue),
        (
            &[0x17, 0x00, 0x00, 0x00, 0x01, 0xFF, 0xFF, 0x00, 0x02, 0x04, 0, 0, 0, 0],
            IllegalDataAddress,
        ),
    ];
    for (pdu, code) in table {
        let exception = Request::parse(pdu).unwrap_err().exception().unwrap();
        assert_eq!(exception, Exception { function: pdu[0], code: *code }, "{pdu:02x?}");
    }
    assert_eq!(Request::parse(&[]), Err(RequestError::Empty));
    assert_eq!(RequestError::Empty.exception(), None);
}

#[test]
fn exception_codes_have_one_meaning() {
    for code in 0..=u8::MAX {
        assert_eq!(ExceptionCode::from_code(code).code(), code);
    }
}
