//! What a service manager hands down, by the variables in which `sd_listen_fds(3)` has it (pure).

use std::ffi::OsString;

use super::is_reserved;
use crate::error::{Error, Result};
use crate::handle::HandleValue;

/// The name of those that have none.
const UNKNOWN: &str = "unknown";

/// What these variables say that a process has, whose id is `this`; nothing if it is another that is meant.
pub(crate) fn named(
    meant_for: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
    this: u32,
) -> Result<Vec<(String, HandleValue)>> {
    let wrong = |variable, why| Error::InvalidManifest { name: variable, reason: why };
    let (Some(meant_for), Some(count)) = (meant_for, count) else { return Ok(Vec::new()) };
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse::<u32>().ok());
    let meant_for = number(&meant_for).ok_or_else(|| wrong("LISTEN_PID", "isn't the number of a process"))?;
    if meant_for != this {
        return Ok(Vec::new());
    }
    /// More than any manager hands down, and far from what no table has.
    const MOST: u32 = 65_536;
    let count = number(&count).filter(|count| *count <= MOST);
    let count = count.ok_or_else(|| wrong("LISTEN_FDS", "isn't a number of descriptors"))?;
    let names = match names {
        None => Vec::new(),
        Some(names) => {
            let names = names.into_string().map_err(|_| wrong("LISTEN_FDNAMES", "isn't text"))?;
            names.split(':').map(str::to_owned).collect()
        }
    };
    if names.len() > count as usize && !(count == 0 && names == [""]) {
        return Err(wrong("LISTEN_FDNAMES", "has more names than there are descriptors"));
    }
    let mut names = names.into_iter().map(Some).chain(std::iter::repeat(None));
    (0..count)
        .map(|place| {
            let name = names.next().flatten().filter(|name| !name.is_empty() && !is_reserved(name));
            Ok((name.unwrap_or_else(|| UNKNOWN.into()), HandleValue::try_from(u64::from(3 + place))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(pid: &str, count: &str, names: Option<&str>) -> Result<Vec<(String, u32)>> {
        let listed = named(Some(pid.into()), Some(count.into()), names.map(OsString::from), 77)?;
        Ok(listed.into_iter().map(|(name, value)| (name, value.get())).collect())
    }

    #[test]
    fn descriptors_have_their_names_in_order() -> Result<()> {
        // Where the first can't be a handle, no service manager hands any down.
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
        assert_eq!(listed("78", "2", None)?, [], "meant for another");
        assert_eq!(named(None, Some("2".into()), None, 77)?, []);
        Ok(())
    }

    #[test]
    fn nonsense_is_refused_with_the_variables_name() {
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
