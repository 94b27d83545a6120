//! Objects of the built-in parts, put into the API at a start.

use anyhow::{Context, Result};
use kobune_client::k8s_openapi::api::core::v1::Service;
use kobune_client::kube::api::PostParams;
use kobune_client::kube::{Api, Client, Error};

use crate::settings::Settings;

/// The Service under which users expect to find the cluster DNS.
const DNS_SERVICE: &str = include_str!("../../../addons/dns/service.yaml");

/// Creates what is missing; what is there is left as it is.
pub async fn apply(client: &Client, settings: &Settings) -> Result<()> {
    if !settings.dns {
        return Ok(());
    }
    let text = DNS_SERVICE.replace("CLUSTER_DNS", &settings.cluster_dns.to_string());
    let service: Service = serde_yaml_ng::from_str(&text).context("reading addons/dns/service.yaml")?;
    match Api::<Service>::namespaced(client.clone(), "kube-system")
        .create(&PostParams::default(), &service)
        .await
    {
        Ok(_) => Ok(()),
        Err(Error::Api(status)) if status.code == 409 || status.code == 422 => Ok(()),
        Err(error) => Err(error).context("creating the Service kube-dns"),
    }
}
