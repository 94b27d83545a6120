//! From the kubelet's wish, the image's configuration and the host's facts to runc's config.json. Pure.

use std::path::PathBuf;

use kobune_runtime::{ContainerSpec, Error, Mount, Result, Sandbox, Seccomp};
use serde_json::{Map, Value, json};

use super::capabilities::{self, Capabilities};
use super::devices::Device;
use super::host::Host;
use super::users::Identity;
use super::{mounts, resources, seccomp};
use crate::image::config::ImageConfig;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The namespaces of a pod as files; `None`: the host's.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodNamespaces {
    pub(crate) network: Option<PathBuf>,
    pub(crate) ipc: Option<PathBuf>,
    pub(crate) uts: Option<PathBuf>,
    /// Set with `shareProcessNamespace`; otherwise each container has its own, unless `host_pid`.
    pub(crate) pid: Option<PathBuf>,
    pub(crate) host_pid: bool,
    /// What is mounted at /dev/shm.
    pub(crate) shm: PathBuf,
}

/// All that a specification is made from.
pub(crate) struct Input<'a> {
    pub(crate) id: &'a str,
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) namespaces: &'a PodNamespaces,
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) image: &'a ImageConfig,
    /// Mounts that the image asks for.
    pub(crate) volumes: &'a [Mount],
    pub(crate) identity: &'a Identity,
    pub(crate) host: &'a Host,
    pub(crate) devices: &'a [Device],
    /// A `Localhost` profile's JSON, read by the caller.
    pub(crate) seccomp_profile: Option<Value>,
}

/// `config.json`
pub(crate) fn specification(input: &Input<'_>) -> Result<Value> {
    let security = &input.spec.security;
    let capabilities = capabilities::of_container(security, input.host.capabilities);
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process(input, capabilities)?,
        "root": { "path": "rootfs", "readonly": security.read_only_root },
        "mounts": mounts::mounts(input.spec, input.volumes, &input.namespaces.shm, input.host.cgroup_v2),
        "linux": linux(input, capabilities),
        // All containers of a pod share one shim.
        "annotations": { "io.containerd.runc.v2.group": input.sandbox.id },
    }))
}

fn process(input: &Input<'_>, capabilities: Capabilities) -> Result<Value> {
    let spec = input.spec;
    let names = capabilities.names();
    let mut process = json!({
        "terminal": spec.tty,
        "user": { "uid": input.identity.uid, "gid": input.identity.gid, "additionalGids": input.identity.groups },
        "args": arguments(spec, input.image)?,
        "env": environment(input),
        "cwd": working_dir(spec, input.image),
        "capabilities": { "bounding": names, "effective": names, "permitted": names },
        "noNewPrivileges": spec.security.no_new_privileges,
    });
    if let Some(score) = resources::oom_score(spec.resources.oom_score_adj, input.host) {
        process["oomScoreAdj"] = score.into();
    }
    Ok(process)
}

/// ENTRYPOINT and CMD of the image, replaced by `command` and `args` as Kubernetes defines it.
fn arguments(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>> {
    let mut line = spec.command.clone();
    if line.is_empty() {
        line.clone_from(&image.entrypoint);
        if spec.args.is_empty() {
            line.extend_from_slice(&image.cmd);
        }
    }
    line.extend_from_slice(&spec.args);
    if line.is_empty() {
        return Err(Error::Config {
            message: format!("no command specified for container {:?}", spec.name),
        });
    }
    Ok(line)
}

fn environment(input: &Input<'_>) -> Vec<String> {
    let host_network = input.sandbox.spec.host.network;
    let hostname = if host_network {
        &input.host.hostname
    } else {
        &input.sandbox.spec.hostname
    };
    let mut lines: Vec<String> = vec![DEFAULT_PATH.into()];
    let mut places = std::collections::HashMap::from([("PATH".to_owned(), 0)]);
    let mut set = |name: &str, line: String| match places.get(name) {
        Some(place) => lines[*place] = line,
        None => {
            places.insert(name.to_owned(), lines.len());
            lines.push(line);
        }
    };
    set("HOSTNAME", format!("HOSTNAME={hostname}"));
    if input.spec.tty {
        set("TERM", "TERM=xterm".into());
    }
    for line in &input.image.env {
        set(line.split('=').next().unwrap_or(line), line.clone());
    }
    for (name, value) in &input.spec.env {
        set(name, format!("{name}={value}"));
    }
    lines
}

fn working_dir<'a>(spec: &'a ContainerSpec, image: &'a ImageConfig) -> &'a str {
    let wanted = spec
        .working_dir
        .as_deref()
        .filter(|dir| !dir.is_empty())
        .unwrap_or(&image.working_dir);
    if wanted.is_empty() { "/" } else { wanted }
}

fn linux(input: &Input<'_>, capabilities: Capabilities) -> Value {
    let spec = input.spec;
    let privileged = spec.security.privileged;
    let mut limits = resources::limits(&spec.resources, input.host);
    let mut rules = vec![json!({ "allow": privileged, "access": "rwm" })];
    if !privileged {
        rules.extend(input.devices.iter().map(Device::rule));
    }
    limits.insert("devices".into(), rules.into());
    let mut linux = Map::from_iter([
        (
            "cgroupsPath".to_owned(),
            json!(format!(
                "{}/{}",
                spec.cgroup_parent.trim_end_matches('/'),
                input.id
            )),
        ),
        ("namespaces".to_owned(), namespaces(input)),
        ("resources".to_owned(), limits.into()),
        (
            "devices".to_owned(),
            input.devices.iter().map(Device::node).collect(),
        ),
    ]);
    if !privileged && !spec.security.unmasked_proc {
        linux.insert("maskedPaths".into(), json!(MASKED));
        linux.insert("readonlyPaths".into(), json!(READ_ONLY));
    }
    if let Some(propagation) = mounts::root_propagation(&spec.mounts) {
        linux.insert("rootfsPropagation".into(), propagation.into());
    }
    let profile = match &spec.security.seccomp {
        _ if privileged => None,
        Seccomp::Unconfined => None,
        Seccomp::RuntimeDefault => Some(seccomp::runtime_default(capabilities)),
        Seccomp::Localhost(_) => input.seccomp_profile.clone(),
    };
    if let Some(profile) = profile {
        linux.insert("seccomp".into(), profile);
    }
    linux.into()
}

fn namespaces(input: &Input<'_>) -> Value {
    let pod = input.namespaces;
    let mut list = vec![json!({ "type": "mount" })];
    for (kind, path) in [("network", &pod.network), ("ipc", &pod.ipc), ("uts", &pod.uts)] {
        if let Some(path) = path {
            list.push(json!({ "type": kind, "path": path }));
        }
    }
    match &pod.pid {
        Some(path) => list.push(json!({ "type": "pid", "path": path })),
        None if !pod.host_pid => list.push(json!({ "type": "pid" })),
        None => {}
    }
    // With v1 a container sees its controllers at the host's paths, with v2 only its own group.
    if input.host.cgroup_v2 && !input.spec.security.privileged {
        list.push(json!({ "type": "cgroup" }));
    }
    list.into()
}

#[cfg(test)]
mod tests {
    use kobune_runtime::Security;

    use super::*;

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: vec!["entry".into()],
            cmd: vec!["cmd".into()],
            env: vec!["PATH=/image".into(), "A=1".into()],
            ..Default::default()
        }
    }

    fn made(spec: ContainerSpec) -> Result<Value> {
        let sandbox = Sandbox {
            id: "uid".into(),
            spec: kobune_runtime::SandboxSpec {
                hostname: "web-0".into(),
                ..Default::default()
            },
            network_namespace: None,
            ready: true,
            attempt: 0,
        };
        specification(&Input {
            id: "abc",
            sandbox: &sandbox,
            namespaces: &PodNamespaces::default(),
            spec: &spec,
            image: &image(),
            volumes: &[],
            identity: &Identity::default(),
            host: &Host {
                capabilities: Capabilities(u64::MAX >> 23),
                ..Host::default()
            },
            devices: &[],
            seccomp_profile: None,
        })
    }

    #[test]
    fn command_drops_entrypoint_and_cmd_and_args_drop_cmd() {
        let args = |command: &[&str], args: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
            let spec = ContainerSpec {
                command: own(command),
                args: own(args),
                ..Default::default()
            };
            made(spec).unwrap()["process"]["args"].clone()
        };
        assert_eq!(args(&[], &[]), json!(["entry", "cmd"]));
        assert_eq!(args(&[], &["x"]), json!(["entry", "x"]));
        assert_eq!(args(&["c"], &[]), json!(["c"]));
        assert_eq!(args(&["c"], &["x"]), json!(["c", "x"]));
    }

    #[test]
    fn the_later_of_two_equal_names_wins() {
        let spec = ContainerSpec {
            env: vec![
                ("A".into(), "2".into()),
                ("B".into(), "x".into()),
                ("A".into(), "3".into()),
            ],
            ..Default::default()
        };
        assert_eq!(
            made(spec).unwrap()["process"]["env"],
            json!(["PATH=/image", "HOSTNAME=web-0", "A=3", "B=x"])
        );
    }

    #[test]
    fn a_privileged_container_sees_all_of_proc_and_has_no_filter() {
        let security = Security {
            privileged: true,
            seccomp: Seccomp::RuntimeDefault,
            ..Default::default()
        };
        let made = made(ContainerSpec {
            security,
            ..Default::default()
        })
        .unwrap();
        assert!(made["linux"].get("maskedPaths").is_none());
        assert!(made["linux"].get("seccomp").is_none());
        assert_eq!(
            made["linux"]["resources"]["devices"],
            json!([{ "allow": true, "access": "rwm" }])
        );
    }

    #[test]
    fn an_unprivileged_container_has_no_devices_and_masked_paths() {
        let made = made(ContainerSpec {
            cgroup_parent: "/kubepods/pod1/".into(),
            ..Default::default()
        })
        .unwrap();
        assert_eq!(
            made["linux"]["resources"]["devices"],
            json!([{ "allow": false, "access": "rwm" }])
        );
        assert_eq!(made["linux"]["cgroupsPath"], "/kubepods/pod1/abc");
        assert!(made["linux"]["maskedPaths"].as_array().unwrap().len() > 5);
    }
}
