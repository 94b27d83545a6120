//! What every cluster has before anybody made anything.

use crate::shared::cluster;

#[test]
fn a_new_cluster_has_what_every_cluster_has() {
    for name in [
        "namespace/default",
        "namespace/kube-system",
        "namespace/kube-public",
        "namespace/kube-node-lease",
        "priorityclass/system-node-critical",
        "priorityclass/system-cluster-critical",
        "servicecidr/kubernetes",
        "service/kubernetes",
        "configmap/kube-root-ca.crt",
        "configmap/extension-apiserver-authentication -n kube-system",
        "serviceaccount/default",
        "flowschema/exempt",
        "flowschema/catch-all",
        "flowschema/global-default",
        "prioritylevelconfiguration/exempt",
        "prioritylevelconfiguration/catch-all",
        "prioritylevelconfiguration/workload-high",
    ] {
        let line = format!("get {name}");
        cluster().kubectl(&line.split(' ').collect::<Vec<_>>()).ok();
    }
}
