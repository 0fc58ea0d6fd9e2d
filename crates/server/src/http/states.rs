//! States of devices and commands: the store's names and the API's.

use ecowatt_api as api;
use ecowatt_store as stored;

/// Returns the API's name for a state of a device.
pub(super) fn device_state(state: stored::DeviceState) -> api::DeviceState {
    match state {
        stored::DeviceState::Producing => api::DeviceState::Producing,
        stored::DeviceState::Idle => api::DeviceState::Idle,
        stored::DeviceState::Asleep => api::DeviceState::Asleep,
        stored::DeviceState::Waiting => api::DeviceState::Waiting,
        stored::DeviceState::Faulty => api::DeviceState::Faulty,
        stored::DeviceState::Silent => api::DeviceState::Silent,
    }
}

/// Returns the store's name for a state of a device.
pub(super) fn stored_device_state(state: api::DeviceState) -> stored::DeviceState {
    match state {
        api::DeviceState::Producing => stored::DeviceState::Producing,
        api::DeviceState::Idle => stored::DeviceState::Idle,
        api::DeviceState::Asleep => stored::DeviceState::Asleep,
        api::DeviceState::Waiting => stored::DeviceState::Waiting,
        api::DeviceState::Faulty => stored::DeviceState::Faulty,
        api::DeviceState::Silent => stored::DeviceState::Silent,
    }
}

/// Returns the API's name for a state of a command.
pub(super) fn command_state(state: stored::CommandState) -> api::CommandState {
    match state {
        stored::CommandState::Queued => api::CommandState::Queued,
        stored::CommandState::Sent => api::CommandState::Sent,
        stored::CommandState::Accepted => api::CommandState::Accepted,
        stored::CommandState::Succeeded => api::CommandState::Succeeded,
        stored::CommandState::Failed => api::CommandState::Failed,
        stored::CommandState::Expired => api::CommandState::Expired,
        stored::CommandState::Cancelled => api::CommandState::Cancelled,
        stored::CommandState::Unknown => api::CommandState::Unknown,
    }
}
