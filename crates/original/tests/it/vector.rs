//! Reads the recorded lines.

use serde_json::Value;

pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn words(list: &Value) -> Vec<u16> {
    let word = |value: &Value| value.as_u64().unwrap().try_into().unwrap();
    list.as_array().unwrap().iter().map(word).collect()
}

pub(crate) fn registers(line: &Value) -> Vec<u8> {
    words(&line["registers"]).into_iter().map(|register| register.try_into().unwrap()).collect()
}
