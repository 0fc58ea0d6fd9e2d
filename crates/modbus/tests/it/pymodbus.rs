//! Our master against pymodbus's server and its client against our slave, over loopback TCP.
//!
//! Runs with the interpreter that `ECOWATT_PYTHON` names (the xtask sets it) or with `python3`,
//! if that has pymodbus; says so loudly if not.
