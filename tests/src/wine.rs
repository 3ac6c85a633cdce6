//! The known sporadic failures of Wine. A run that failed in one of these ways is repeated: it then
//! succeeds, and a real defect fails each time.
//!
//! The tests of the examples include this file by its path, so it uses only std.

/// The statuses with which Windows ends a process that it can't load: a DLL is missing, has a wrong format, lacks an
/// entry point, or fails to initialize. Only a loader reports them, never a program's own code.
const LOADER_STATUSES: [u32; 4] = [0xC000_0135, 0xC000_007B, 0xC000_0139, 0xC000_0142];

#[allow(unreachable_pub, reason = "a test that includes this file has no other crate that could use it")]
/// Returns Wine's failure that may explain why a program failed with this exit code (`None` if it hung) and output.
pub fn wine_failure(code: Option<i32>, output: &str) -> Option<&'static str> {
    let loader_failed = LOADER_STATUSES.iter().any(|status| {
        let as_code = i32::from_ne_bytes(status.to_ne_bytes());
        code == Some(as_code)
            || output.contains(&format!("{status:#x}"))
            || output.contains(&as_code.to_string())
    });
    if loader_failed || output.contains("code: 1359") || output.contains("os error 1359") {
        return Some("a process has died in Wine's own start");
    }
    code.is_none().then_some("Wine may have hung in creating a process")
}
