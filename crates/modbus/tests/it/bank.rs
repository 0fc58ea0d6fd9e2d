//! A slave's memory with every function implemented in the plainest way; both sides of the oracle
//! tests answer from one.

use ecowatt_modbus::{Bits, ExceptionCode, Request, Response, Words};

/// Coils and registers exist from address 0 up to here.
pub(crate) const SIZE: u16 = 2_000;

pub(crate) struct Bank {
    pub(crate) coils: Vec<bool>,
    pub(crate) inputs: Vec<bool>,
    pub(crate) holding: Vec<u16>,
    pub(crate) input: Vec<u16>,
}

impl Bank {
    pub(crate) fn new() -> Self {
        let words = |factor: u16| (0..SIZE).map(|n| n.wrapping_mul(factor)).collect();
        let bits = |modulus: u16| (0..SIZE).map(|n| n % modulus == 0).collect();
        Self { coils: bits(3), inputs: bits(5), holding: words(7), input: words(11) }
    }

    /// Carries out a request and passes the response to `with`.
    pub(crate) fn answer<T>(
        &mut self,
        request: &Request<'_>,
        with: impl FnOnce(Result<Response<'_>, ExceptionCode>) -> T,
    ) -> T {
        let mut room = [0; 250];
        // The window is checked before anything changes: a refused request leaves the bank as it
        // was.
        let missing = ExceptionCode::IllegalDataAddress;
        let span = |address: u16, count: u16| {
            let end = address.checked_add(count).filter(|&end| end <= SIZE).ok_or(missing)?;
            Ok(usize::from(address)..usize::from(end))
        };
        let result = match *request {
            Request::ReadCoils { address, count } => span(address, count)
                .map(|s| Response::ReadCoils(Bits::pack(&self.coils[s], &mut room).unwrap())),
            Request::ReadDiscreteInputs { address, count } => span(address, count).map(|s| {
                Response::ReadDiscreteInputs(Bits::pack(&self.inputs[s], &mut room).unwrap())
            }),
            Request::ReadHoldingRegisters { address, count } => span(address, count)
                .map(|s| Response::ReadHoldingRegisters(Words::new(&self.holding[s]))),
            Request::ReadInputRegisters { address, count } => span(address, count)
                .map(|s| Response::ReadInputRegisters(Words::new(&self.input[s]))),
            Request::WriteSingleCoil { address, on } => span(address, 1).map(|s| {
                self.coils[s.start] = on;
                Response::WriteSingleCoil { address, on }
            }),
            Request::WriteSingleRegister { address, value } => span(address, 1).map(|s| {
                self.holding[s.start] = value;
                Response::WriteSingleRegister { address, value }
            }),
            Request::WriteMultipleCoils { address, values } => {
                span(address, values.len()).map(|s| {
                    self.coils.splice(s, values.iter());
                    Response::WriteMultipleCoils { address, count: values.len() }
                })
            }
            Request::WriteMultipleRegisters { address, values } => {
                let count = u16::try_from(values.len()).unwrap();
                span(address, count).map(|s| {
                    self.holding.splice(s, values.iter());
                    Response::WriteMultipleRegisters { address, count }
                })
            }
            Request::MaskWriteRegister { address, and_mask, or_mask } => {
                span(address, 1).map(|s| {
                    let word = &mut self.holding[s.start];
                    *word = (*word & and_mask) | (or_mask & !and_mask);
                    Response::MaskWriteRegister { address, and_mask, or_mask }
                })
            }
            Request::ReadWriteMultipleRegisters {
                read_address,
                read_count,
                write_address,
                values,
            } => {
                let count = u16::try_from(values.len()).unwrap();
                span(write_address, count)
                    .and_then(|write| Ok((span(read_address, read_count)?, write)))
                    .map(|(read, write)| {
                        self.holding.splice(write, values.iter());
                        Response::ReadWriteMultipleRegisters(Words::new(&self.holding[read]))
                    })
            }
        };
        with(result)
    }
}
