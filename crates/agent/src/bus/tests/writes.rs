//! A write is sent once, whatever happens to its answer, and an echo is no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

async fn write(bus: &mut Bus) -> WriteResult {
    let write = Write::new(8, WriteFunction::Single, &[50]).unwrap();
    let (exchange, (done, _)) = (Exchange::Write(write), mpsc::channel(1));
    let job = Job { source: SourceNumber(0), unit: UNIT, exchange, timeout: TIMEOUT, done };
    bus.carry_out(&job).await.write_result()
}

/// An inverter on Modbus TCP that closes the connection after each request, and answers a write
/// before that or not. Counts writes.
fn closing(is_answering: bool) -> (Bus, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let writes = Arc::new(AtomicUsize::new(0));
    let count = writes.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 12]);
            if stream.read_exact(&mut request).is_err() {
                continue;
            }
            let is_write = request[7] == 6;
            count.fetch_add(usize::from(is_write), Ordering::SeqCst);
            let answer = match is_write {
                // The answer to function 6 is the request.
                true => request.to_vec(),
                false => answer_with(Framing::Tcp, word(&request, 0), &[BASE + word(&request, 8)]),
            };
            if is_answering || !is_write {
                stream.write_all(&answer).unwrap();
            }
        }
    });
    (bus(Address::Tcp(address)), writes)
}

#[tokio::test]
async fn a_write_on_a_connection_that_breaks_is_not_repeated() {
    let (mut bus, writes) = closing(false);
    assert_eq!(read(&mut bus, 1, 1).await, right(1, 1));
    assert_eq!(write(&mut bus).await, WriteResult::NoAnswer);
    assert_eq!(writes.load(Ordering::SeqCst), 1);
    // A read is.
    assert_eq!(read(&mut bus, 1, 1).await, right(1, 1));
}

#[tokio::test]
async fn a_write_goes_into_a_connection_that_is_open() {
    let (mut bus, writes) = closing(true);
    for round in 1..4 {
        assert_eq!(read(&mut bus, 1, 1).await, right(1, 1));
        // The other side has closed the connection by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(write(&mut bus).await, WriteResult::Confirmed);
        assert_eq!(writes.load(Ordering::SeqCst), round);
    }
}

#[tokio::test]
async fn a_write_without_a_connection_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bus = bus(Address::Tcp(listener.local_addr().unwrap().to_string()));
    drop(listener);
    assert_eq!(write(&mut bus).await, WriteResult::NotSent);
}

#[tokio::test]
async fn an_echo_of_a_write_is_no_answer() {
    for is_answering in [false, true] {
        let mut bus = line(move |_, request| {
            let echo = at_once(request.to_vec());
            match request[1] {
                6 if is_answering => vec![echo, after(20, request.to_vec())],
                6 => vec![echo],
                _ => vec![echo, after(20, rtu_answer(request))],
            }
        });
        // The read before each write shows that the line echoes.
        assert_eq!(read(&mut bus, 8, 1).await, right(8, 1));
        let expected = if is_answering { WriteResult::Confirmed } else { WriteResult::NoAnswer };
        assert_eq!(write(&mut bus).await, expected);
    }
}
