//! Parses the variables with which a service manager passes sockets, as in `sd_listen_fds(3)`. Makes no system calls.

use std::ffi::OsString;

use super::is_reserved;
use crate::error::{Error, LISTEN_PID, Result};
use crate::handle::HandleValue;

/// The name of a descriptor for which the manager gave no name, as in `sd_listen_fds_with_names(3)`.
const UNKNOWN: &str = "unknown";

/// Returns the descriptors that `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` give to the process with the id `this`.
///
/// The list is empty if `LISTEN_PID` or `LISTEN_FDS` is missing. If `LISTEN_PID` is the id of another process, the error is
/// [`Error::ManifestMismatch`].
pub(crate) fn named(
    meant_for: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
    this: u32,
) -> Result<Vec<(String, HandleValue)>> {
    let invalid = |name, reason| Error::InvalidManifest { name, reason };
    let (Some(meant_for), Some(count)) = (meant_for, count) else { return Ok(Vec::new()) };
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse::<u32>().ok());
    let meant_for = number(&meant_for)
        .ok_or_else(|| invalid(LISTEN_PID, "is not a process id; the service manager must set it"))?;
    if meant_for != this {
        return Err(Error::ManifestMismatch {
            name: LISTEN_PID,
            expected: format!("process {meant_for}"),
            found: format!("process {this}"),
        });
    }
    /// More descriptors than any manager passes. Within this limit each descriptor is a valid handle value.
    const MAX_COUNT: u32 = 65_536;
    let count = number(&count).filter(|count| *count <= MAX_COUNT);
    let count = count.ok_or_else(|| {
        invalid("LISTEN_FDS", "is not a number from 0 to 65536; the service manager must set it")
    })?;
    let names = match names {
        None => Vec::new(),
        Some(names) => {
            let names = names.into_string().map_err(|_| invalid("LISTEN_FDNAMES", "is not valid UTF-8"))?;
            names.split(':').map(str::to_owned).collect()
        }
    };
    if names.len() > count as usize && !(count == 0 && names == [""]) {
        return Err(invalid("LISTEN_FDNAMES", "has more names than LISTEN_FDS has descriptors"));
    }
    let mut names = names.into_iter();
    let mut listed = Vec::new();
    for index in 0..count {
        let name = names.next().filter(|name| !name.is_empty() && !is_reserved(name));
        listed.push((name.unwrap_or_else(|| UNKNOWN.into()), HandleValue::try_from(u64::from(3 + index))?));
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(pid: &str, count: &str, names: Option<&str>) -> Result<Vec<(String, u32)>> {
        let listed = named(Some(pid.into()), Some(count.into()), names.map(OsString::from), 77)?;
        Ok(listed.into_iter().map(|(name, value)| (name, value.get())).collect())
    }

    #[test]
    fn named_gives_the_names_to_the_descriptors_in_order() -> Result<()> {
        // On Windows 3 is not a handle value, and no service manager passes handles.
        if HandleValue::try_from(3_u64).is_err() {
            return Ok(());
        }
        let expected = |names: &[(&str, u32)]| {
            names.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<Vec<_>>()
        };
        assert_eq!(listed("77", "2", Some("web:control"))?, expected(&[("web", 3), ("control", 4)]));
        assert_eq!(listed("77", "2", None)?, expected(&[("unknown", 3), ("unknown", 4)]));
        assert_eq!(listed("77", "2", Some("web"))?, expected(&[("web", 3), ("unknown", 4)]));
        assert_eq!(listed("77", "2", Some(":web"))?, expected(&[("unknown", 3), ("web", 4)]));
        assert_eq!(listed("77", "0", Some(""))?, []);
        let other = listed("78", "2", None).expect_err("it was written for another process").to_string();
        assert!(
            ["LISTEN_PID", "process 78", "process 77"].iter().all(|part| other.contains(part)),
            "{other}"
        );
        assert_eq!(named(None, Some("2".into()), None, 77)?, []);
        Ok(())
    }

    #[test]
    fn named_reports_the_variable_that_is_invalid() {
        for (pid, count, names, variable) in [
            ("x", "1", None, "LISTEN_PID"),
            ("77", "x", None, "LISTEN_FDS"),
            ("77", "-1", None, "LISTEN_FDS"),
            ("77", "99999999", None, "LISTEN_FDS"),
            ("77", "1", Some("a:b"), "LISTEN_FDNAMES"),
            ("77", "0", Some("a"), "LISTEN_FDNAMES"),
        ] {
            let error = listed(pid, count, names).expect_err(count).to_string();
            assert!(error.contains(variable), "{error}");
        }
    }
}
