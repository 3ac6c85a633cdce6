//! Fills handle values into templates, for programs that don't use this crate.

use crate::error::{Error, Result};
use crate::handle::HandleValue;

/// The reason why no handle value stands for a name.
pub(crate) const NOT_LISTED: &str = "but no object of that name is listed; list it with inherit";

/// Replaces each `{name}` in the template by the handle value that `value` returns for the name, or else a reason. `{{` and
/// `}}` become single braces.
pub(crate) fn fill(
    template: &str,
    value: &dyn Fn(&str) -> Result<HandleValue, &'static str>,
) -> Result<String> {
    let invalid =
        |reason: String| Error::InvalidInput { input: format!("the template {template:?}"), reason };
    let mut filled = String::with_capacity(template.len() + 8);
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            filled.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err(invalid("has a } without a {; write }} for a literal }".into()));
        }
        let Some((name, after)) = rest.split_once('}') else {
            return Err(invalid("has a { without a }; write {{ for a literal {".into()));
        };
        let value = value(name).map_err(|reason| invalid(format!("contains {{{name}}}, {reason}")))?;
        filled.push_str(&value.to_string());
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String> {
        fill(template, &|name| match name {
            "ready" => HandleValue::try_from(68_u64).map_err(|_| "which isn't a value"),
            "läuft nicht" => HandleValue::try_from(0x1000_u64).map_err(|_| "which isn't a value"),
            _ => Err(NOT_LISTED),
        })
    }

    #[test]
    fn fill_replaces_names_by_handle_values() -> Result<()> {
        assert_eq!(filled("{ready}")?, "68");
        assert_eq!(filled("--event={ready},{läuft nicht}")?, "--event=68,4096");
        assert_eq!(filled("{{ready}} {{}} }}{{")?, "{ready} {} }{");
        assert_eq!(filled("{{{ready}}}")?, "{68}");
        assert_eq!(filled("")?, "");
        Ok(())
    }

    #[test]
    fn fill_returns_an_error_for_unknown_names_and_unmatched_braces() {
        for (template, part) in [
            ("{other}", "no object of that name"),
            ("{}", "no object of that name"),
            ("{ready", "{ without a }"),
            ("ready}", "} without a {"),
            ("{", "{ without a }"),
        ] {
            let error = filled(template).expect_err(template).to_string();
            assert!(error.contains(part), "{template}: {error}");
        }
    }
}
