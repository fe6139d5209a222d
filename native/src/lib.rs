//! The parts of the conversions connector for which Python is too slow. Each has its equal in Python, which is the
//! specification: it gives the same answers, and takes over where this crate is not installed.
use pyo3::prelude::*;

mod avro;
mod codec;
mod digests;
mod json;
mod mapping;
mod quick;

mod window;

/// What the connector asks before it uses anything: it must be the number that it was written for.
const INTERFACE: u32 = 6;

#[pymodule]
fn connector_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("INTERFACE", INTERFACE)?;
    module.add_class::<codec::Codec>()?;
    module.add_class::<window::SeenKeys>()
}
