//! A Modbus TCP inverter on tokio-modbus.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    latency: Arc<Mutex<Duration>>,
    /// The limit in register 8, once one was written, and how often.
    limit: Arc<Mutex<Option<u16>>>,
    writes: Arc<AtomicUsize>,
    /// Writes are executed and not answered.
    is_mute: Arc<AtomicBool>,
}

impl tokio_modbus::server::Service for Registers {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Pin<Box<dyn Future<Output = Result<Response, ExceptionCode>> + Send>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer(&request);
        let is_write = matches!(request, Request::WriteSingleRegister(..));
        let latency = match is_write && self.is_mute.load(Ordering::Relaxed) {
            true => Duration::from_secs(3_600),
            false => *self.latency.lock().unwrap(),
        };
        Box::pin(async move {
            tokio::time::sleep(latency).await;
            answer
        })
    }
}

impl Registers {
    fn answer(&self, request: &Request<'static>) -> Result<Response, ExceptionCode> {
        if let Request::WriteSingleRegister(8, value) = *request {
            self.writes.fetch_add(1, Ordering::Relaxed);
            *self.limit.lock().unwrap() = Some(value);
            return Ok(Response::WriteSingleRegister(8, value));
        }
        let Request::ReadHoldingRegisters(address, count) = *request else {
            return Err(ExceptionCode::IllegalFunction);
        };
        let bad = *self.bad.lock().unwrap();
        if bad.is_some_and(|bad| (address..address + count).contains(&bad)) || address + count > 10
        {
            return Err(ExceptionCode::IllegalDataAddress);
        }
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        let limit = *self.limit.lock().unwrap();
        let words = (address..address + count).map(|at| match (at, limit) {
            (9, _) => read,
            (8, Some(limit)) => limit,
            _ => 100 + at,
        });
        Ok(Response::ReadHoldingRegisters(words.collect()))
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

    /// Makes every answer take this long.
    pub(crate) fn slow_down(&self, latency: Duration) {
        *self.registers.latency.lock().unwrap() = latency;
    }

    /// Executes writes and does not answer them.
    pub(crate) fn mute_writes(&self) {
        self.registers.is_mute.store(true, Ordering::Relaxed);
    }

    /// How often its limit was written.
    pub(crate) fn writes(&self) -> usize {
        self.registers.writes.load(Ordering::Relaxed)
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
