//! The published vectors and the integrator's own checks, run by Python: they share no code with Lotline.

use std::process::Command;

use lotline_tests::stack;

#[test]
fn python_recomputes_every_published_hash() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
    let output = Command::new(stack::python())
        .args(["-B", "-m", "unittest", "discover", "-s", folder])
        .output()
        .expect("the Python of the test stack starts");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.contains("OK"), "{printed}");
}
