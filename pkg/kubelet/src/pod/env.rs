//! A container's environment: `envFrom`, `env`, and the Services of its namespace.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kobune_client::k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Secret, Service};

use super::desired::Desired;
use super::expand::expand;
use super::fields::{self, FieldError, Surroundings};

/// The ConfigMaps and Secrets a pod refers to, as far as they exist.
#[derive(Debug, Clone, Default)]
pub struct Referenced {
    /// By name; absent when there is none.
    pub config_maps: HashMap<String, Arc<ConfigMap>>,
    /// By name; absent when there is none.
    pub secrets: HashMap<String, Arc<Secret>>,
}

/// Why an environment cannot be made: the message of `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// There is no such ConfigMap or Secret.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// `configmap` or `secret`
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It has no such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`
        kind: &'static str,
        /// Namespace of the object.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A reference to the pod's own fields.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Variables in the order they were declared; a later declaration replaces the value in place.
#[derive(Debug, Default)]
struct Variables {
    list: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name) {
            Some(&at) => self.list[at].1 = value,
            None => {
                self.index.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }
    fn get(&self, name: &str) -> Option<String> {
        self.index.get(name).map(|&at| self.list[at].1.clone())
    }
}

/// What `environment` looks at.
pub struct EnvInput<'a> {
    /// The pod.
    pub pod: &'a Desired,
    /// ConfigMaps and Secrets.
    pub referenced: &'a Referenced,
    /// Services of the pod's namespace, and `kubernetes` of `default`.
    pub services: &'a [Arc<Service>],
    /// Addresses and the node's amounts.
    pub around: &'a Surroundings,
}

/// The environment of one container, in order.
pub fn environment(input: &EnvInput<'_>, container: &Container) -> Result<Vec<(String, String)>, EnvError> {
    let links = input.pod.spec().enable_service_links.unwrap_or(true);
    let services = service_variables(input.services, input.pod.namespace(), links);
    let mut vars = Variables::default();
    env_from(input, container, &mut vars)?;
    for var in container.env.iter().flatten() {
        let written = var.value.as_deref().unwrap_or_default();
        let value = match (&var.value_from, written) {
            (Some(source), "") => match from_source(input, container, source)? {
                Some(value) => value,
                None => continue,
            },
            (_, written) => expand(written, |n| vars.get(n).or_else(|| services.get(n).cloned())),
        };
        vars.set(var.name.clone(), value);
    }
    for (name, value) in services {
        if !vars.index.contains_key(&name) {
            vars.set(name, value);
        }
    }
    Ok(vars.list)
}

fn env_from(input: &EnvInput<'_>, container: &Container, vars: &mut Variables) -> Result<(), EnvError> {
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(r) = &from.config_map_ref {
            match config_map(input, &r.name, r.optional)? {
                Some(map) => {
                    for (k, v) in map.data.iter().flatten() {
                        vars.set(format!("{prefix}{k}"), v.clone());
                    }
                }
                None => continue,
            }
        }
        if let Some(r) = &from.secret_ref {
            match secret(input, &r.name, r.optional)? {
                Some(secret) => {
                    for (k, v) in secret.data.iter().flatten() {
                        vars.set(format!("{prefix}{k}"), String::from_utf8_lossy(&v.0).into_owned());
                    }
                }
                None => continue,
            }
        }
    }
    Ok(())
}

fn from_source(
    input: &EnvInput<'_>,
    container: &Container,
    source: &EnvVarSource,
) -> Result<Option<String>, EnvError> {
    let no_key = |key: &str, kind, name: &str| EnvError::NoKey {
        key: key.to_owned(),
        kind,
        namespace: input.pod.namespace().to_owned(),
        name: name.to_owned(),
    };
    if let Some(r) = &source.field_ref {
        return Ok(Some(fields::field(r, input.pod, input.around)?));
    }
    if let Some(r) = &source.resource_field_ref {
        return Ok(Some(fields::resource(
            r,
            input.pod,
            &container.name,
            input.around,
        )?));
    }
    if let Some(r) = &source.config_map_key_ref {
        let Some(map) = config_map(input, &r.name, r.optional)? else {
            return Ok(None);
        };
        return match map.data.as_ref().and_then(|d| d.get(&r.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if r.optional == Some(true) => Ok(None),
            None => Err(no_key(&r.key, "ConfigMap", &r.name)),
        };
    }
    if let Some(r) = &source.secret_key_ref {
        let Some(secret) = secret(input, &r.name, r.optional)? else {
            return Ok(None);
        };
        return match secret.data.as_ref().and_then(|d| d.get(&r.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if r.optional == Some(true) => Ok(None),
            None => Err(no_key(&r.key, "Secret", &r.name)),
        };
    }
    Ok(Some(String::new()))
}

fn config_map<'a>(
    input: &'a EnvInput<'_>,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<&'a ConfigMap>, EnvError> {
    match input.referenced.config_maps.get(name) {
        Some(map) => Ok(Some(map)),
        None if optional == Some(true) => Ok(None),
        None => Err(EnvError::NotFound {
            kind: "configmap",
            name: name.to_owned(),
        }),
    }
}

fn secret<'a>(
    input: &'a EnvInput<'_>,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<&'a Secret>, EnvError> {
    match input.referenced.secrets.get(name) {
        Some(secret) => Ok(Some(secret)),
        None if optional == Some(true) => Ok(None),
        None => Err(EnvError::NotFound {
            kind: "secret",
            name: name.to_owned(),
        }),
    }
}

/// `{SVC}_SERVICE_HOST` and its relatives. The `kubernetes` Service of `default` is always there;
/// the others of the pod's namespace unless `enableServiceLinks` is false.
fn service_variables(services: &[Arc<Service>], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let meta = &service.metadata;
        let (Some(name), Some(of)) = (meta.name.as_deref(), meta.namespace.as_deref()) else {
            continue;
        };
        if cluster_ip(service).is_none() {
            continue;
        }
        if of == "default" && name == "kubernetes" {
            chosen.entry(name).or_insert(service);
        } else if of == namespace && links {
            chosen.insert(name, service);
        }
    }
    let mut vars = BTreeMap::new();
    for (name, service) in chosen {
        add_service(&mut vars, name, service);
    }
    vars
}

fn cluster_ip(service: &Service) -> Option<&str> {
    let ip = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (!ip.is_empty() && ip != "None").then_some(ip)
}

fn add_service(vars: &mut BTreeMap<String, String>, name: &str, service: &Service) {
    let (Some(ip), Some(spec)) = (cluster_ip(service), &service.spec) else {
        return;
    };
    let upper = name.to_uppercase().replace('-', "_");
    let ports = spec.ports.as_deref().unwrap_or_default();
    let host = if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    };
    vars.insert(format!("{upper}_SERVICE_HOST"), ip.to_owned());
    if let Some(first) = ports.first() {
        vars.insert(format!("{upper}_SERVICE_PORT"), first.port.to_string());
    }
    for (i, port) in ports.iter().enumerate() {
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            let port_name = port_name.to_uppercase().replace('-', "_");
            vars.insert(format!("{upper}_SERVICE_PORT_{port_name}"), port.port.to_string());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        let prefix = format!("{upper}_PORT_{}_{}", port.port, protocol.to_uppercase());
        if i == 0 {
            vars.insert(format!("{upper}_PORT"), url.clone());
        }
        vars.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        vars.insert(format!("{prefix}_PORT"), port.port.to_string());
        vars.insert(format!("{prefix}_ADDR"), ip.to_owned());
        vars.insert(prefix, url);
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::tests::pod;
    use super::*;
    use serde_json::json;

    fn run(
        p: &Desired,
        referenced: &Referenced,
        services: &[Arc<Service>],
    ) -> Result<Vec<(String, String)>, EnvError> {
        let around = Surroundings::default();
        environment(
            &EnvInput {
                pod: p,
                referenced,
                services,
                around: &around,
            },
            &p.main()[0],
        )
    }

    fn config(name: &str, data: serde_json::Value) -> Referenced {
        let map = serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap();
        Referenced {
            config_maps: HashMap::from([(name.to_owned(), Arc::new(map))]),
            ..Default::default()
        }
    }

    #[test]
    fn variables_expand_what_came_before_them() {
        let p = pod(json!({"spec": {"containers": [{"name": "a", "image": "x",
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(P_k)-$(C)"}, {"name": "A", "value": "2"}]}]}}));
        let env = run(&p, &config("c", json!({"k": "v"})), &[]).unwrap();
        assert_eq!(
            env,
            [("P_k", "v"), ("A", "2"), ("B", "1-v-$(C)")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
    }

    #[test]
    fn a_missing_reference_is_an_error_unless_optional() {
        let with = |optional: bool| {
            pod(
                json!({"spec": {"containers": [{"name": "a", "image": "x", "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": optional}}}]}]}}),
            )
        };
        let none = Referenced::default();
        assert_eq!(
            run(&with(false), &none, &[]).unwrap_err().to_string(),
            "configmap \"c\" not found"
        );
        assert_eq!(run(&with(true), &none, &[]).unwrap(), vec![]);
        let empty = config("c", json!({}));
        assert_eq!(
            run(&with(false), &empty, &[]).unwrap_err().to_string(),
            "couldn't find key k in ConfigMap default/c"
        );
    }

    #[test]
    fn services_of_the_namespace_are_linked_and_kubernetes_always() {
        let service = |ns: &str, name: &str, ip: &str| -> Arc<Service> {
            Arc::new(
                serde_json::from_value(json!({"metadata": {"name": name, "namespace": ns},
                "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}))
                .unwrap(),
            )
        };
        let services = [
            service("default", "kubernetes", "10.43.0.1"),
            service("default", "my-db", "10.43.0.2"),
            service("other", "x", "10.43.0.3"),
            service("default", "headless", "None"),
        ];
        let p = pod(json!({}));
        let env: BTreeMap<_, _> = run(&p, &Referenced::default(), &services)
            .unwrap()
            .into_iter()
            .collect();
        assert_eq!(env["KUBERNETES_SERVICE_HOST"], "10.43.0.1");
        assert_eq!(env["MY_DB_SERVICE_PORT_HTTP"], "80");
        assert_eq!(env["MY_DB_PORT_80_TCP"], "tcp://10.43.0.2:80");
        assert!(!env.contains_key("X_SERVICE_HOST") && !env.contains_key("HEADLESS_SERVICE_HOST"));
        let p = pod(json!({"spec": {"enableServiceLinks": false}}));
        let env: BTreeMap<_, _> = run(&p, &Referenced::default(), &services)
            .unwrap()
            .into_iter()
            .collect();
        assert!(env.contains_key("KUBERNETES_SERVICE_HOST") && !env.contains_key("MY_DB_SERVICE_HOST"));
    }
}
