//! What other processes of the node give: packets, records, logs.

use serde::Serialize;
use serde::de::DeserializeOwned;
use shim::codec::{decode, encode};
use shim::layout::{Sandbox, Status, Task};
use shim::protocol::{Reply, Request};

use crate::record::Format;

pub(crate) fn packet(data: &[u8]) {
    read::<Request>(data);
    read::<Reply>(data);
}

pub(crate) fn files(data: &[u8]) {
    read::<Task>(data);
    read::<Status>(data);
    read::<Sandbox>(data);
}

fn read<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(message) = decode::<T>("message", data) else { return };
    let Ok(written) = encode(&message) else { return };
    let again = decode::<T>("message", &written).expect("what is written can be read");
    assert_eq!(encode(&again).ok(), Some(written));
}

pub(crate) fn log(data: &[u8]) {
    for format in [Format::Cri, Format::Docker] {
        for line in data.split(|byte| *byte == b'\n') {
            if let Some(record) = format.parse(line) {
                let _ = record.nanos();
            }
        }
    }
}
