//! Jobs and CronJobs.

use super::at::At;
use super::{Errors, pod_spec, selector};
use crate::fields::FieldError;
use crate::selectors::LabelSelector;

const MAX_PARALLEL: i64 = 100_000;

/// The spec of a kind of `batch`.
pub(super) fn spec(kind: &str, root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    match kind {
        "Job" => job(&spec, errors),
        "CronJob" => cron_job(root, &spec, errors),
        _ => {}
    }
}

fn job(spec: &At<'_, '_>, errors: &mut Errors) {
    job_spec(spec, errors);
    let at = spec.child("selector");
    if at.is_set() {
        selector::label_selector(&at, errors);
    } else {
        errors.push(FieldError::required(at.path, ""));
    }
    let template = spec.child("template");
    let metadata = template.child("metadata");
    let labels = metadata.child("labels");
    if LabelSelector::from_object(at.value).is_ok_and(|s| !s.matches(&labels.map())) {
        let shown = labels.value.cloned().unwrap_or(serde_json::Value::Null);
        errors.push(FieldError::invalid(
            labels.path,
            shown,
            "`selector` does not match template `labels`",
        ));
    }
}

fn job_spec(spec: &At<'_, '_>, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        spec.child(field).non_negative(errors);
    }
    let mode = spec.child("completionMode");
    mode.one_of_if_set(errors, &["NonIndexed", "Indexed"]);
    let per_index = spec.child("backoffLimitPerIndex");
    let max_failed = spec.child("maxFailedIndexes");
    if max_failed.is_set() && !per_index.is_set() {
        errors.push(FieldError::required(
            per_index.path,
            "when maxFailedIndexes is specified",
        ));
    }
    if mode.text() == "Indexed" {
        indexed(spec, errors);
    } else {
        for field in [&per_index, &max_failed, &spec.child("successPolicy")] {
            if field.is_set() {
                field.invalid(errors, "requires indexed completion mode");
            }
        }
    }
    failure_policy(spec, errors);
    let replacement = spec.child("podReplacementPolicy");
    replacement.one_of_if_set(errors, &["Failed", "TerminatingOrFailed"]);
    let template = spec.child("template");
    pod_spec::template(&template, errors);
    job_restart_policy(spec, &template.child("spec"), errors);
}

fn indexed(spec: &At<'_, '_>, errors: &mut Errors) {
    let completions = spec.child("completions");
    completions.require(errors, "when completion mode is Indexed");
    let parallel = spec.child("parallelism");
    if parallel.number().is_some_and(|n| n > MAX_PARALLEL) {
        let detail = format!("must be less than or equal to {MAX_PARALLEL} when completion mode is Indexed");
        parallel.invalid(errors, detail);
    }
    let failed = spec.child("maxFailedIndexes");
    if let (Some(all), Some(max)) = (completions.number(), failed.number())
        && max > all
    {
        failed.invalid(errors, "must be less than or equal to completions");
    }
    if failed.number().is_some_and(|n| n > MAX_PARALLEL) {
        failed.invalid(errors, format!("must be less than or equal to {MAX_PARALLEL}"));
    }
}

fn failure_policy(spec: &At<'_, '_>, errors: &mut Errors) {
    let policy = spec.child("podFailurePolicy");
    let rules = policy.child("rules");
    if rules.len() > 20 {
        errors.push(FieldError::too_many(rules.path, rules.len(), 20));
    }
    for rule in rules.items() {
        let action = rule.child("action");
        action.require_one_of(errors, &["Count", "FailIndex", "FailJob", "Ignore"]);
        let (codes, conditions) = (rule.child("onExitCodes"), rule.child("onPodConditions"));
        match (codes.is_set(), conditions.len() > 0) {
            (true, true) => {
                let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
                rule.invalid(errors, detail);
            }
            (false, false) => {
                let detail = "specifying one of OnExitCodes and OnPodConditions is required";
                rule.invalid(errors, detail);
            }
            _ => {}
        }
        if codes.is_set() {
            codes.child("operator").require_one_of(errors, &["In", "NotIn"]);
            let values = codes.child("values");
            values.require(errors, "");
            for value in values.items() {
                if codes.child("operator").text() == "In" && value.number() == Some(0) {
                    value.invalid(errors, "must not be 0 for the In operator");
                }
            }
        }
    }
}

fn job_restart_policy(spec: &At<'_, '_>, pod: &At<'_, '_>, errors: &mut Errors) {
    let policy = pod.child("restartPolicy");
    match policy.text() {
        "Always" | "" => {
            let detail = "valid values: \"OnFailure\", \"Never\"";
            errors.push(FieldError::required(policy.path, detail));
        }
        "OnFailure" if spec.child("podFailurePolicy").is_set() => {
            policy.invalid(
                errors,
                "only \"Never\" is supported when podFailurePolicy is specified",
            );
        }
        _ => policy.one_of(errors, &["OnFailure", "Never"]),
    }
}

fn cron_job(root: &At<'_, '_>, spec: &At<'_, '_>, errors: &mut Errors) {
    let metadata = root.child("metadata");
    let name = metadata.child("name");
    // The controller appends the time to it.
    if name.text().len() > 52 {
        name.invalid(errors, "must be no more than 52 characters");
    }
    let schedule = spec.child("schedule");
    if schedule.require(errors, "") {
        let text = schedule.text();
        if text.contains("TZ") {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            schedule.invalid(errors, detail);
        } else if let Some(message) = schedule_error(text) {
            schedule.invalid(errors, message);
        }
    }
    spec.child("startingDeadlineSeconds").non_negative(errors);
    spec.child("concurrencyPolicy")
        .require_one_of(errors, &["Allow", "Forbid", "Replace"]);
    spec.child("successfulJobsHistoryLimit").non_negative(errors);
    spec.child("failedJobsHistoryLimit").non_negative(errors);
    let template = spec.child("jobTemplate");
    let job = template.child("spec");
    job.child("manualSelector").forbid_if_true(errors);
    job_spec(&job, errors);
}

/// What is wrong with the form of a cron schedule: five fields, or a descriptor such as `@hourly`.
fn schedule_error(text: &str) -> Option<String> {
    if let Some(name) = text.strip_prefix('@') {
        let known = [
            "yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly",
        ];
        let every = name.strip_prefix("every ").is_some_and(|d| !d.trim().is_empty());
        return (!known.contains(&name) && !every).then(|| format!("unrecognized descriptor: {text}"));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    fields
        .iter()
        .zip(ranges)
        .find_map(|(field, range)| field_error(field, range))
}

fn field_error(field: &str, (lo, hi): (u32, u32)) -> Option<String> {
    let words = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let value = |text: &str| -> Result<u32, String> {
        let lower = text.to_lowercase();
        if words.contains(&lower.as_str()) || days.contains(&lower.as_str()) {
            return Ok(lo);
        }
        text.parse()
            .map_err(|_| format!("failed to parse int from {text}: invalid syntax"))
    };
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        if step.is_some_and(|s| s.parse::<u32>().unwrap_or_default() == 0) {
            return Some(format!("step of range should be a positive number: {part}"));
        }
        if matches!(range, "*" | "?") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        match (value(from), value(to)) {
            (Err(message), _) | (_, Err(message)) => return Some(message),
            (Ok(from), _) if from < lo => {
                return Some(format!(
                    "beginning of range ({from}) below minimum ({lo}): {part}"
                ));
            }
            (_, Ok(to)) if to > hi => {
                return Some(format!("end of range ({to}) above maximum ({hi}): {part}"));
            }
            (Ok(from), Ok(to)) if from > to => {
                return Some(format!(
                    "beginning of range ({from}) beyond end of range ({to}): {part}"
                ));
            }
            _ => {}
        }
    }
    None
}

/// The counters in a Job's status.
pub(super) fn job_status(root: &At<'_, '_>, errors: &mut Errors) {
    let status = root.child("status");
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        status.child(field).non_negative(errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_checked_field_by_field() {
        for good in [
            "* * * * *",
            "*/5 0-6 1,15 jan-mar mon",
            "@hourly",
            "@every 5m",
            "0 0 * * 7",
        ] {
            assert_eq!(schedule_error(good), None, "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "a * * * *",
            "5-1 * * * *",
            "@x",
        ] {
            assert!(schedule_error(bad).is_some(), "{bad}");
        }
    }
}
