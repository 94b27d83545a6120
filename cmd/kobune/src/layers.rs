//! Where a flag's value comes from: command line, then KOBUNE_* variables, then configuration files.
//!
//! Each flag is taken whole from the first of these that has it, as k3s does it: a list on the command
//! line replaces the list of a file. In files of the .d folder (read in the order of their names)
//! `key+:` adds to what earlier files said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, Command};
use serde_yaml_ng::Value;

/// A flag's values and where they stand.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    values: Vec<String>,
    origin: String,
}

/// `arguments` (without the program's and the subcommand's name) with the settings of variables and
/// files put before them. `command` is the subcommand as clap knows it; variables and files speak to
/// `server`, and to the others of those of its flags that they have too.
///
/// Every setting is checked by itself first, so that an error names the variable, or the file and line.
pub fn combine(
    command: &Command,
    server: &Command,
    arguments: &[String],
    variables: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    if argument(command, "config").is_none() {
        return Ok(arguments.to_vec());
    }
    let given = lenient(command, arguments);
    let mut from_variables = variable_settings(server, variables);
    from_variables.retain(|flag, _| argument(command, flag).is_some());
    for (flag, setting) in &from_variables {
        check(server, flag, setting)?;
    }
    let config = match (&given, from_variables.get("config")) {
        (Some(matches), None) => matches.get_one::<PathBuf>("config").cloned(),
        (None, None) => None,
        (matches, Some(setting)) => matches
            .as_ref()
            .filter(|matches| on_command_line(matches, "config"))
            .and_then(|matches| matches.get_one::<PathBuf>("config").cloned())
            .or_else(|| setting.values.first().map(PathBuf::from)),
    };
    let mut settings = BTreeMap::new();
    if let Some(config) = config {
        let named = given
            .as_ref()
            .is_some_and(|matches| on_command_line(matches, "config"))
            || from_variables.contains_key("config");
        settings = file_settings(server, &config, named)?;
    }
    settings.extend(from_variables);
    settings.retain(|flag, _| argument(command, flag).is_some());
    let mut combined = Vec::new();
    for (flag, setting) in settings {
        // What the command line says is left to it alone.
        if flag != "config"
            && !given
                .as_ref()
                .is_some_and(|matches| on_command_line(matches, &id(command, &flag)))
        {
            combined.extend(as_arguments(command, &flag, &setting));
        }
    }
    combined.extend_from_slice(arguments);
    Ok(combined)
}

/// What the command line says, if it is valid; its errors are reported by the final parse.
fn lenient(command: &Command, arguments: &[String]) -> Option<ArgMatches> {
    let words = std::iter::once(command.get_name().to_owned()).chain(arguments.iter().cloned());
    command.clone().try_get_matches_from(words).ok()
}

fn on_command_line(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
}

fn argument<'a>(command: &'a Command, flag: &str) -> Option<&'a clap::Arg> {
    command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(flag))
}

fn id(command: &Command, flag: &str) -> String {
    argument(command, flag)
        .map(|argument| argument.get_id().to_string())
        .unwrap_or_default()
}

fn is_switch(argument: &clap::Arg) -> bool {
    matches!(argument.get_action(), clap::ArgAction::SetTrue)
}

fn as_arguments(command: &Command, flag: &str, setting: &Setting) -> Vec<String> {
    let switch = argument(command, flag).is_some_and(is_switch);
    setting
        .values
        .iter()
        .filter(|value| !switch || *value == "true")
        .map(|value| {
            if switch {
                format!("--{flag}")
            } else {
                format!("--{flag}={value}")
            }
        })
        .collect()
}

fn check(command: &Command, flag: &str, setting: &Setting) -> Result<()> {
    let Some(argument) = argument(command, flag) else {
        bail!("{}: there is no flag --{flag}", setting.origin);
    };
    for value in &setting.values {
        if is_switch(argument) && !["true", "false"].contains(&value.as_str()) {
            bail!("{}: --{flag} is true or false, not {value:?}", setting.origin);
        }
    }
    let words = std::iter::once(command.get_name().to_owned()).chain(as_arguments(command, flag, setting));
    command
        .clone()
        .try_get_matches_from(words)
        .map(drop)
        .map_err(|error| {
            let text = error.to_string();
            let first = text
                .lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            anyhow!("{}: {first}", setting.origin)
        })
}

fn variable_settings(command: &Command, variables: &BTreeMap<String, String>) -> BTreeMap<String, Setting> {
    command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter_map(|flag| {
            let name = format!("KOBUNE_{}", flag.replace('-', "_").to_uppercase());
            let value = variables.get(&name)?;
            Some((
                flag.to_owned(),
                Setting {
                    values: vec![value.clone()],
                    origin: format!("the variable {name}"),
                },
            ))
        })
        .collect()
}

/// The settings of the main file and of its .d folder. A missing file is an error only if `named`.
fn file_settings(command: &Command, main: &Path, named: bool) -> Result<BTreeMap<String, Setting>> {
    let mut settings = BTreeMap::new();
    match std::fs::read_to_string(main) {
        Ok(text) => read_file(command, main, &text, &mut settings)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {}
        Err(error) => {
            return Err(error).with_context(|| format!("reading the file of --config, {}", main.display()));
        }
    }
    let mut folder = main.as_os_str().to_owned();
    folder.push(".d");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Ok(settings);
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml")
        })
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        read_file(command, &file, &text, &mut settings)?;
    }
    Ok(settings)
}

fn read_file(
    command: &Command,
    path: &Path,
    text: &str,
    settings: &mut BTreeMap<String, Setting>,
) -> Result<()> {
    let document: Value =
        serde_yaml_ng::from_str(text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    let entries = match document {
        Value::Null => return Ok(()),
        Value::Mapping(entries) => entries,
        _ => bail!(
            "{}: expected flags and values, one a line, such as node-name: edge-1",
            path.display()
        ),
    };
    for (key, value) in entries {
        let key = key
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("{}: a key is no text", path.display()))?;
        let origin = format!(
            "{}:{}: {}",
            path.display(),
            line_of(text, &key),
            key.trim_end_matches('+')
        );
        let values =
            scalars(&value).ok_or_else(|| anyhow!("{origin}: expected a value or a list of values"))?;
        let flag = key.trim_end_matches('+').to_owned();
        let setting = Setting { values, origin };
        check(command, &flag, &setting)?;
        match settings.get_mut(&flag) {
            Some(present) if key.ends_with('+') => present.values.extend(setting.values),
            _ => drop(settings.insert(flag, setting)),
        }
    }
    Ok(())
}

/// The line (from 1) on which a key of the top level stands.
fn line_of(text: &str, key: &str) -> usize {
    let is_key = |line: &str| {
        let line = line.trim_start_matches(['"', '\'']);
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
    };
    text.lines().position(is_key).map_or(1, |index| index + 1)
}

fn scalars(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Bool(value) => Some(vec![value.to_string()]),
        Value::Number(value) => Some(vec![value.to_string()]),
        Value::String(value) => Some(vec![value.clone()]),
        Value::Sequence(values) => values
            .iter()
            .map(|value| {
                scalars(value)
                    .filter(|values| values.len() == 1)
                    .map(|mut values| values.remove(0))
            })
            .collect(),
        Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn server() -> Command {
        Cli::command().find_subcommand("server").cloned().unwrap()
    }

    fn run(arguments: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        let mut arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
            arguments.push(format!("--config={}", path.display()));
        }
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        combine(&server(), &server(), &arguments, &variables)
    }

    #[test]
    fn other_subcommands_take_the_flags_that_they_share_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, "data-dir: /srv/k\nnode-name: a\nwrite-kubeconfig: /k\n").unwrap();
        let config = format!("--config={}", path.display());
        let port = [("KOBUNE_HTTPS_LISTEN_PORT".to_owned(), "7001".to_owned())];
        for line in ["reset", "image list", "kubeconfig", "check-config"] {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            let command = Cli::command().find_subcommand(name).cloned().unwrap();
            let words: Vec<String> = std::iter::once(config.as_str())
                .chain(rest.split_whitespace())
                .map(str::to_owned)
                .collect();
            let combined = combine(&command, &server(), &words, &port.clone().into()).unwrap();
            let mut wanted = vec!["--data-dir=/srv/k".to_owned()];
            if name == "check-config" {
                wanted.push("--https-listen-port=7001".to_owned());
            }
            wanted.extend(words);
            assert_eq!(combined, wanted, "{name}");
        }
        let version = Cli::command().find_subcommand("version").cloned().unwrap();
        assert!(
            combine(&version, &server(), &[], &port.into())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn what_is_said_behind_a_nested_subcommand_counts() {
        let image = Cli::command().find_subcommand("image").cloned().unwrap();
        let words = ["list", "--data-dir=/srv/cli"].map(str::to_owned);
        let variables = [("KOBUNE_DATA_DIR".to_owned(), "/srv/env".to_owned())];
        let combined = combine(&image, &server(), &words, &variables.into()).unwrap();
        assert_eq!(combined, words);
    }

    #[test]
    fn the_command_line_beats_variables_and_variables_beat_files() {
        let combined = run(
            &["--node-name=cli"],
            &[("KOBUNE_NODE_NAME", "env"), ("KOBUNE_HTTPS_LISTEN_PORT", "7001")],
            Some("node-name: file\nhttps-listen-port: 7000\ncluster-domain: home.arpa\n"),
        )
        .unwrap();
        assert!(combined.contains(&"--https-listen-port=7001".to_owned()));
        assert!(combined.contains(&"--cluster-domain=home.arpa".to_owned()));
        assert!(
            !combined
                .iter()
                .any(|word| word.contains("file") && word.contains("node-name"))
        );
    }

    #[test]
    fn a_wrong_value_is_told_with_flag_file_and_line() {
        let error = run(
            &[],
            &[],
            Some("# comment\nnode-name: a\nhttps-listen-port: many\n"),
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("config.yaml:3: https-listen-port"), "{error}");
        assert!(
            error.contains("many") && error.contains("--https-listen-port"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_key_is_told_with_file_and_line() {
        let error = run(&[], &[], Some("node-nane: a\n")).unwrap_err().to_string();
        assert!(
            error.contains("config.yaml:1") && error.contains("--node-nane"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = run(&[], &[("KOBUNE_CLUSTER_CIDR", "ten")], None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("KOBUNE_CLUSTER_CIDR") && error.contains("10.42.0.0/16"),
            "{error}"
        );
    }

    #[test]
    fn lists_and_switches_are_read_from_files() {
        let combined = run(
            &[],
            &[],
            Some("node-label:\n  - a=1\n  - b=2\ndisable-agent: true\n"),
        )
        .unwrap();
        assert_eq!(
            combined[..3],
            ["--disable-agent", "--node-label=a=1", "--node-label=b=2"]
        );
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = run(&["--config=/nonexistent/c.yaml"], &[], None).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/c.yaml"));
    }
}
