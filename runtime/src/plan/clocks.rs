//! `linux.timeOffsets` (config-linux.md, "Offset for Time Namespace").

use serde_json::Value;

use super::{Namespaces, PlanError};
use crate::spec::{Member, NamespaceKind};

/// The lines of `/proc/PID/timens_offsets`, time_namespaces(7); empty: none.
pub(super) fn offsets(value: Option<&Value>, namespaces: &Namespaces) -> Result<String, PlanError> {
    let mut lines = String::new();
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(lines) };
    let member = Member::new(value, "linux.timeOffsets")?;
    for (clock, offset) in member.named()? {
        if !matches!(clock, "monotonic" | "boottime") {
            return Err(member.own(format!("{clock:?} is neither monotonic nor boottime")).into());
        }
        let seconds = offset.number("secs", -(1 << 33), 1 << 33)?.unwrap_or(0);
        let nanoseconds = offset.number("nanosecs", 0, 999_999_999)?.unwrap_or(0);
        lines += &format!("{clock} {seconds} {nanoseconds}\n");
    }
    if !lines.is_empty() && !namespaces.makes(NamespaceKind::Time) {
        return Err(member.own("needs a new time namespace in linux.namespaces").into());
    }
    Ok(lines)
}
