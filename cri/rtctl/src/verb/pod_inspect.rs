//! `rtctl pod inspect`

use anyhow::Result;
use serde_json::{Value, json};

use super::pod_list::shared;
use crate::flag::time;
use crate::output::list;
use crate::store::network;
use crate::store::pod::Pod;
use crate::store::roots::Roots;

/// Show all that is known of pods
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  rtctl pod inspect web\n  rtctl pod inspect -f '{{.State}}' web")]
pub(crate) struct Args {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let mut documents = Vec::new();
        let mut code = 0;
        for query in &self.pods {
            match Pod::find(roots, query).and_then(|pod| document(roots, &pod)) {
                Ok(document) => documents.push(document),
                Err(error) => {
                    eprintln!("rtctl: {error:#}");
                    code = 1;
                }
            }
        }
        if self.format.is_none() || !documents.is_empty() {
            list::documents(self.format.as_deref(), &documents, &list::pretty(&documents)?)?;
        }
        Ok(code)
    }
}

/// Podman's names where it has one; `Sandbox` is ours.
fn document(roots: &Roots, pod: &Pod) -> Result<Value> {
    let record = pod.record()?;
    let status = pod.status.as_ref().map_err(|problem| anyhow::anyhow!("pod {}: {problem}", pod.shown()))?.as_ref();
    let containers = pod.containers(roots)?;
    let shown: Vec<Value> = containers
        .iter()
        .map(|container| json!({"Id": container.id, "Name": container.shown(), "State": container.phase().word()}))
        .collect();
    let networks: serde_json::Map<String, Value> = network::attachments(roots, &pod.id)?
        .into_iter()
        .map(|attachment| {
            let address = |of: Option<String>| of.unwrap_or_default();
            let shown = json!({
                "NetworkID": attachment.network_id,
                "MacAddress": attachment.mac.to_string(),
                "IPAddress": address(attachment.ip.map(|ip| ip.address.to_string())),
                "GlobalIPv6Address": address(attachment.ip6.map(|ip| ip.address.to_string())),
                "Ports": attachment.ports,
            });
            (attachment.network.clone(), shown)
        })
        .collect();
    let at = |time: u64| if time == 0 { String::new() } else { time::rfc3339(time) };
    Ok(json!({
        "Id": record.id,
        "Name": record.name,
        "Created": time::rfc3339(record.created),
        "State": pod.phase(&containers).word(),
        "Hostname": record.hostname,
        "Labels": record.labels,
        "CreateInfra": false,
        "SharedNamespaces": shared(record),
        "Network": record.network.show(),
        "Sysctls": record.sysctls,
        "ShmSize": record.shm_size.unwrap_or(0),
        "UidMap": record.uids,
        "GidMap": record.gids,
        "DNSServer": record.dns,
        "DNSSearch": record.dns_search,
        "DNSOption": record.dns_option,
        "HostAdd": record.hosts,
        "Publish": record.publish,
        "Networks": networks,
        "NumContainers": containers.len(),
        "Containers": shown,
        "Sandbox": {
            "State": match status.map(|status| status.state) {
                None => "created",
                Some(shim::layout::SandboxState::Ready) => "ready",
                Some(shim::layout::SandboxState::Ended) => "ended",
            },
            "ShimPid": status.filter(|status| status.state == shim::layout::SandboxState::Ready).map_or(0, |status| status.shim.0),
            "InitPid": status.and_then(|status| status.init).unwrap_or(0),
            "StartedAt": at(status.map_or(0, |status| status.started_at)),
            "FinishedAt": at(status.and_then(|status| status.ended_at).unwrap_or(0)),
            "Error": status.and_then(|status| status.error.clone()).unwrap_or_default(),
        },
    }))
}
