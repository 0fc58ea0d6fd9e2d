//! Our master against tokio-modbus's server and its client against our slave, TCP and RTU.

use std::borrow::Cow;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};

use ecowatt_modbus::{ExceptionCode, Framing, Request, Response, Words};
use tokio::net::{TcpListener, TcpStream};
use tokio_modbus::prelude::{Client, Reader, Slave, SlaveRequest, Writer};
use tokio_modbus::server::{Service, rtu_over_tcp, tcp};

use crate::bank::Bank;
use crate::ours::{PATIENCE, UNIT, ask_everything, slave};

/// tokio-modbus calls this for every request.
#[derive(Clone)]
struct Server(Arc<Mutex<Bank>>);

impl Service for Server {
    type Request = SlaveRequest<'static>;
    type Response = tokio_modbus::Response;
    type Exception = tokio_modbus::ExceptionCode;
    type Future = Ready<Result<Self::Response, Self::Exception>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        // tokio-modbus has its own request and response types; both are translated here.
        use tokio_modbus::{Request as Theirs, Response as Answer};
        assert_eq!(request.slave, UNIT);
        let mut packed = [0; 250];
        let ours = match &request.request {
            &Theirs::ReadCoils(address, count) => Request::ReadCoils { address, count },
            &Theirs::ReadDiscreteInputs(address, count) => {
                Request::ReadDiscreteInputs { address, count }
            }
            &Theirs::ReadHoldingRegisters(address, count) => {
                Request::ReadHoldingRegisters { address, count }
            }
            &Theirs::ReadInputRegisters(address, count) => {
                Request::ReadInputRegisters { address, count }
            }
            &Theirs::WriteSingleCoil(address, on) => Request::WriteSingleCoil { address, on },
            &Theirs::WriteSingleRegister(address, value) => {
                Request::WriteSingleRegister { address, value }
            }
            Theirs::WriteMultipleCoils(address, bits) => Request::WriteMultipleCoils {
                address: *address,
                values: ecowatt_modbus::Bits::pack(bits, &mut packed).unwrap(),
            },
            Theirs::WriteMultipleRegisters(address, words) => {
                Request::WriteMultipleRegisters { address: *address, values: Words::new(words) }
            }
            &Theirs::MaskWriteRegister(address, and_mask, or_mask) => {
                Request::MaskWriteRegister { address, and_mask, or_mask }
            }
            Theirs::ReadWriteMultipleRegisters(read, count, write, words) => {
                Request::ReadWriteMultipleRegisters {
                    read_address: *read,
                    read_count: *count,
                    write_address: *write,
                    values: Words::new(words),
                }
            }
            other => panic!("not used: {other:?}"),
        };
        let answer = self.0.lock().unwrap().answer(&ours, |answer| {
            answer
                .map(|response| match response {
                    Response::ReadCoils(bits) => Answer::ReadCoils(bits.iter().collect()),
                    Response::ReadDiscreteInputs(bits) => {
                        Answer::ReadDiscreteInputs(bits.iter().collect())
                    }
                    Response::ReadHoldingRegisters(words) => {
                        Answer::ReadHoldingRegisters(words.iter().collect())
                    }
                    Response::ReadInputRegisters(words) => {
                        Answer::ReadInputRegisters(words.iter().collect())
                    }
                    Response::WriteSingleCoil { address, on } => {
                        Answer::WriteSingleCoil(address, on)
                    }
                    Response::WriteSingleRegister { address, value } => {
                        Answer::WriteSingleRegister(address, value)
                    }
                    Response::WriteMultipleCoils { address, count } => {
                        Answer::WriteMultipleCoils(address, count)
                    }
                    Response::WriteMultipleRegisters { address, count } => {
                        Answer::WriteMultipleRegisters(address, count)
                    }
                    Response::MaskWriteRegister { address, and_mask, or_mask } => {
                        Answer::MaskWriteRegister(address, and_mask, or_mask)
                    }
                    Response::ReadWriteMultipleRegisters(words) => {
                        Answer::ReadWriteMultipleRegisters(words.iter().collect())
                    }
                })
                .map_err(|code| tokio_modbus::ExceptionCode::new(code.code()))
        });
        ready(answer)
    }
}

#[tokio::test]
async fn our_master_understands_its_tcp_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Server(Arc::new(Mutex::new(Bank::new())));
    let server = tokio::spawn(async move {
        let connected = |stream, socket| {
            let service = service.clone();
            async move { tcp::accept_tcp_connection(stream, socket, |_| Ok(Some(service.clone()))) }
        };
        tcp::Server::new(listener).serve(&connected, |_| {}).await
    });
    ask_everything(TcpStream::connect(address).await.unwrap(), Framing::Tcp).await;
    server.abort();
}

#[tokio::test]
async fn our_master_understands_its_rtu_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Server(Arc::new(Mutex::new(Bank::new())));
    let server = tokio::spawn(async move {
        let connected = |stream, socket| {
            let service = service.clone();
            async move {
                rtu_over_tcp::accept_tcp_connection(stream, socket, |_| Ok(Some(service.clone())))
            }
        };
        rtu_over_tcp::Server::new(listener).serve(&connected, |_| {}).await
    });
    ask_everything(TcpStream::connect(address).await.unwrap(), Framing::Rtu).await;
    server.abort();
}

async fn its_client_asks_everything(mut client: tokio_modbus::client::Context) {
    let own = Bank::new();
    assert_eq!(client.read_coils(3, 19).await.unwrap().unwrap(), own.coils[3..22]);
    assert_eq!(client.read_discrete_inputs(0, 2_000).await.unwrap().unwrap(), own.inputs);
    assert_eq!(client.read_holding_registers(7, 125).await.unwrap().unwrap(), own.holding[7..132]);
    assert_eq!(client.read_input_registers(0, 1).await.unwrap().unwrap(), own.input[..1]);
    client.write_single_coil(1, true).await.unwrap().unwrap();
    client.write_multiple_coils(2, &[true; 11]).await.unwrap().unwrap();
    assert_eq!(client.read_coils(1, 12).await.unwrap().unwrap(), [true; 12]);
    client.write_single_register(8, 55).await.unwrap().unwrap();
    client.write_multiple_registers(9, &[1, 2, 3]).await.unwrap().unwrap();
    client.masked_write_register(8, 0x00F0, 0x0F0F).await.unwrap().unwrap();
    let masked = (55 & 0x00F0) | (0x0F0F & !0x00F0);
    let read = client.read_write_multiple_registers(8, 4, 11, &[9]).await.unwrap().unwrap();
    assert_eq!(read, [masked, 1, 2, 9]);
    let missing = client.read_input_registers(1_999, 2).await.unwrap().unwrap_err();
    assert_eq!(u8::from(missing), ExceptionCode::IllegalDataAddress.code());
    let unknown = tokio_modbus::Request::Custom(0x41, Cow::Borrowed(&[1, 2, 3]));
    let refused = client.call(unknown).await.unwrap().unwrap_err();
    assert_eq!(u8::from(refused), ExceptionCode::IllegalFunction.code());
}

#[tokio::test]
async fn its_tcp_client_understands_our_slave() {
    let (ours, theirs) = tokio::io::duplex(512);
    let slave = tokio::spawn(slave(ours, Framing::Tcp));
    let client = tokio_modbus::client::tcp::attach_slave(theirs, Slave(UNIT));
    tokio::time::timeout(PATIENCE, its_client_asks_everything(client)).await.unwrap();
    slave.await.unwrap();
}

#[tokio::test]
async fn its_rtu_client_understands_our_slave() {
    let (ours, theirs) = tokio::io::duplex(512);
    let slave = tokio::spawn(slave(ours, Framing::Rtu));
    let client = tokio_modbus::client::rtu::attach_slave(theirs, Slave(UNIT));
    tokio::time::timeout(PATIENCE, its_client_asks_everything(client)).await.unwrap();
    slave.await.unwrap();
}
