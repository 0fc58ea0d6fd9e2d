//! Several units on one bus, and the numbers at both ends.

use super::*;

async fn ask(bus: &mut Bus, unit: u8, address: u16) -> Answer {
    let read = Read::of_all(Table::Holding, address, 1, 0, 0);
    let (exchange, (done, _)) = (Exchange::Read(read), mpsc::channel(1));
    let job = Job { source: SourceNumber(unit % 8), unit, exchange, timeout: TIMEOUT, done };
    bus.carry_out(&job).await.answer
}

#[tokio::test]
async fn a_dead_unit_costs_a_live_one_on_its_bus_nothing_but_time() {
    let script = |_: usize, request: &[u8]| match request[0] {
        UNIT => vec![at_once(rtu_answer(request))],
        _ => Script::new(),
    };
    for mut bus in [rtu_gateway(script), line(script)] {
        for address in 0..4 {
            assert_eq!(ask(&mut bus, UNIT + 1, address).await, Answer::Timeout);
            assert_eq!(ask(&mut bus, UNIT, address).await, right(address, 1), "{address}");
        }
    }
}

#[tokio::test]
async fn units_0_and_255_are_read_over_tcp() {
    let script = |_: usize, request: &[u8]| {
        let mut answer = answer_with(Framing::Tcp, word(request, 0), &[BASE + word(request, 8)]);
        answer[6] = request[6];
        vec![at_once(answer)]
    };
    let mut bus = bus(Address::Tcp(gateway(12, script, |_| {})));
    for unit in [0, 255, UNIT] {
        assert_eq!(ask(&mut bus, unit, 7).await, right(7, 1), "unit {unit}");
    }
}
