//! Services without a selector: endpoints that people keep are mirrored to slices.

use crate::cluster::{Cluster, until};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_people_keep_are_mirrored() {
    let cluster = Cluster::start().await;
    let _: Service = cluster
        .create(
            json!({"metadata": {"name": "db"}, "spec": {"ports": [{"name": "sql", "port": 5432}]}}),
        )
        .await;
    let _: Endpoints = cluster
        .create(json!({"metadata": {"name": "db"}, "subsets": [
            {"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], "ports": [{"name": "sql", "port": 5432}]}]}))
        .await;
    let slices = cluster.api::<EndpointSlice>();
    let of_db = ListParams::default().labels("kubernetes.io/service-name=db");
    let until_addresses = async |wanted: &[&str]| {
        until("the mirror", || async {
            let found = slices.list(&of_db).await.expect("slices").items;
            let mut found: Vec<String> = found
                .into_iter()
                .flat_map(|slice| slice.endpoints.unwrap_or_default())
                .flat_map(|endpoint| endpoint.addresses)
                .collect();
            found.sort();
            (found == wanted).then_some(())
        })
        .await;
    };
    until_addresses(&["192.0.2.1", "192.0.2.2"]).await;
    let patch = json!({"subsets": [{"addresses": [{"ip": "192.0.2.9"}], "ports": [{"name": "sql", "port": 5432}]}]});
    let _: Endpoints = cluster.patch("db", patch).await;
    until_addresses(&["192.0.2.9"]).await;
    cluster
        .api::<Endpoints>()
        .delete("db", &DeleteParams::default())
        .await
        .expect("delete");
    until_addresses(&[]).await;
    cluster.stop().await;
}
