//! The delivery side against a real API and real git repositories: every scenario on the embedded
//! API in this process, and all of them, one after the other, on the real kube-apiserver with etcd
//! and the garbage collector (from `TOWPATH_PEERS`).
//!
//! No kubelet runs and no Deployment controller: the tests write the status that a Deployment
//! would get.

mod journey;
mod peer;
mod sync;
mod world;

use world::Cluster;

macro_rules! scenarios {
    ($($module:ident::$name:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $module::$name(&Cluster::Embedded).await;
            }
        )*

        #[tokio::test(flavor = "multi_thread")]
        async fn on_the_real_api() {
            let Some(peer) = peer::Peer::start().await else { return };
            let cluster = Cluster::Real(peer.client().await);
            $(
                eprintln!("on the real API: {}", stringify!($name));
                $module::$name(&cluster).await;
            )*
        }
    };
}

scenarios! {
    sync::a_manual_change_is_undone_within_a_second,
    sync::what_leaves_the_source_goes_and_nothing_else,
    sync::a_set_with_one_bad_object_changes_nothing,
    sync::what_cannot_be_rendered_says_where,
    sync::an_autoscaler_keeps_its_replicas,
    sync::what_is_deployed_names_its_commit,
    journey::promote_fail_and_roll_back,
    journey::a_failed_release_goes_back_by_itself,
    journey::a_crashing_pod_ends_a_deployment_early,
    journey::stopped_at_any_moment,
}
