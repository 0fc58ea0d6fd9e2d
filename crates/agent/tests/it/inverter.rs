//! A Modbus TCP inverter on tokio-modbus.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_modbus::prelude::*;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};

/// Registers that count the reads, so that no two samples are alike.
#[derive(Clone, Default)]
struct Registers {
    reads: Arc<AtomicU16>,
    bad: Arc<Mutex<Option<u16>>>,
    requests: Arc<AtomicUsize>,
}

impl tokio_modbus::server::Service for Registers {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let Request::ReadHoldingRegisters(address, count) = request else {
            return ready(Err(ExceptionCode::IllegalFunction));
        };
        let bad = *self.bad.lock().unwrap();
        if bad.is_some_and(|bad| (address..address + count).contains(&bad)) || address + count > 10
        {
            return ready(Err(ExceptionCode::IllegalDataAddress));
        }
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        let words = (address..address + count).map(|at| if at == 9 { read } else { 100 + at });
        ready(Ok(Response::ReadHoldingRegisters(words.collect())))
    }
}

/// A running inverter; gone when dropped.
pub(crate) struct Inverter {
    pub(crate) address: SocketAddr,
    registers: Registers,
    task: JoinHandle<()>,
}

impl Inverter {
    pub(crate) async fn start() -> Self {
        let registers = Registers::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(listener);
        let service = registers.clone();
        let task = tokio::spawn(async move {
            let on_connected = |stream, address| {
                let service = service.clone();
                async move { accept_tcp_connection(stream, address, move |_| Ok(Some(service.clone()))) }
            };
            server.serve(&on_connected, |_| {}).await.unwrap();
        });
        Self { address, registers, task }
    }

    /// Makes every read of this register fail.
    pub(crate) fn break_register(&self, register: Option<u16>) {
        *self.registers.bad.lock().unwrap() = register;
    }

    pub(crate) fn requests(&self) -> usize {
        self.registers.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Inverter {
    fn drop(&mut self) {
        self.task.abort();
    }
}
