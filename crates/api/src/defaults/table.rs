//! Unconditional defaults: one line per field, `DEFINITION FIELD JSON`.

use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Default of a field.
pub(crate) fn fill_of(definition: &str, field: &str) -> Option<Value> {
    INDEX.get(&(definition, field)).cloned()
}

static INDEX: LazyLock<HashMap<(&'static str, &'static str), Value>> = LazyLock::new(|| {
    TABLE
        .lines()
        .filter_map(|line| {
            let mut words = line.trim().splitn(3, ' ');
            let (definition, field, json) = (words.next()?, words.next()?, words.next()?);
            Some(((definition, field), serde_json::from_str(json).ok()?))
        })
        .collect()
});

const TABLE: &str = r#"
api.core.v1.PodSpec dnsPolicy "ClusterFirst"
api.core.v1.PodSpec restartPolicy "Always"
api.core.v1.PodSpec securityContext {}
api.core.v1.PodSpec terminationGracePeriodSeconds 30
api.core.v1.PodSpec schedulerName "default-scheduler"
api.core.v1.Container terminationMessagePath "/dev/termination-log"
api.core.v1.Container terminationMessagePolicy "File"
api.core.v1.EphemeralContainer terminationMessagePath "/dev/termination-log"
api.core.v1.EphemeralContainer terminationMessagePolicy "File"
api.core.v1.ContainerPort protocol "TCP"
api.core.v1.Probe timeoutSeconds 1
api.core.v1.Probe periodSeconds 10
api.core.v1.Probe successThreshold 1
api.core.v1.Probe failureThreshold 3
api.core.v1.HTTPGetAction path "/"
api.core.v1.HTTPGetAction scheme "HTTP"
api.core.v1.GRPCAction service ""
api.core.v1.ObjectFieldSelector apiVersion "v1"
api.core.v1.ResourceFieldSelector divisor "0"
api.core.v1.FileKeySelector optional false
api.core.v1.SecretVolumeSource defaultMode 420
api.core.v1.ConfigMapVolumeSource defaultMode 420
api.core.v1.DownwardAPIVolumeSource defaultMode 420
api.core.v1.ProjectedVolumeSource defaultMode 420
api.core.v1.ServiceAccountTokenProjection expirationSeconds 3600
api.core.v1.HostPathVolumeSource type ""
api.core.v1.ISCSIVolumeSource iscsiInterface "default"
api.core.v1.ISCSIPersistentVolumeSource iscsiInterface "default"
api.core.v1.RBDVolumeSource pool "rbd"
api.core.v1.RBDVolumeSource user "admin"
api.core.v1.RBDVolumeSource keyring "/etc/ceph/keyring"
api.core.v1.AzureDiskVolumeSource readOnly false
api.core.v1.PersistentVolumeClaimSpec volumeMode "Filesystem"
api.core.v1.PersistentVolumeClaimStatus phase "Pending"
api.core.v1.PersistentVolumeSpec persistentVolumeReclaimPolicy "Retain"
api.core.v1.PersistentVolumeSpec volumeMode "Filesystem"
api.core.v1.PersistentVolumeStatus phase "Pending"
api.core.v1.NamespaceStatus phase "Active"
api.core.v1.Secret type "Opaque"
api.core.v1.ServiceSpec sessionAffinity "None"
api.core.v1.ServiceSpec type "ClusterIP"
api.core.v1.ServicePort protocol "TCP"
api.core.v1.EndpointPort protocol "TCP"
api.core.v1.ReplicationControllerSpec replicas 1
api.apps.v1.DeploymentSpec replicas 1
api.apps.v1.DeploymentSpec revisionHistoryLimit 10
api.apps.v1.DeploymentSpec progressDeadlineSeconds 600
api.apps.v1.DeploymentStrategy type "RollingUpdate"
api.apps.v1.RollingUpdateDeployment maxUnavailable "25%"
api.apps.v1.RollingUpdateDeployment maxSurge "25%"
api.apps.v1.ReplicaSetSpec replicas 1
api.apps.v1.DaemonSetSpec revisionHistoryLimit 10
api.apps.v1.DaemonSetUpdateStrategy type "RollingUpdate"
api.apps.v1.RollingUpdateDaemonSet maxUnavailable 1
api.apps.v1.RollingUpdateDaemonSet maxSurge 0
api.apps.v1.StatefulSetSpec replicas 1
api.apps.v1.StatefulSetSpec revisionHistoryLimit 10
api.apps.v1.StatefulSetSpec podManagementPolicy "OrderedReady"
api.apps.v1.StatefulSetSpec persistentVolumeClaimRetentionPolicy {}
api.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted "Retain"
api.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy whenScaled "Retain"
api.apps.v1.RollingUpdateStatefulSetStrategy partition 0
api.batch.v1.CronJobSpec concurrencyPolicy "Allow"
api.batch.v1.CronJobSpec suspend false
api.batch.v1.CronJobSpec successfulJobsHistoryLimit 3
api.batch.v1.CronJobSpec failedJobsHistoryLimit 1
api.batch.v1.PodFailurePolicyOnPodConditionsPattern status "True"
api.autoscaling.v2.HorizontalPodAutoscalerSpec minReplicas 1
api.autoscaling.v1.HorizontalPodAutoscalerSpec minReplicas 1
api.networking.v1.NetworkPolicyPort protocol "TCP"
api.networking.v1.IngressClassParametersReference scope "Cluster"
api.storage.v1.StorageClass reclaimPolicy "Delete"
api.storage.v1.StorageClass volumeBindingMode "Immediate"
api.storage.v1.CSIDriverSpec attachRequired true
api.storage.v1.CSIDriverSpec podInfoOnMount false
api.storage.v1.CSIDriverSpec storageCapacity false
api.storage.v1.CSIDriverSpec fsGroupPolicy "ReadWriteOnceWithFSType"
api.storage.v1.CSIDriverSpec volumeLifecycleModes ["Persistent"]
api.storage.v1.CSIDriverSpec requiresRepublish false
api.storage.v1.CSIDriverSpec seLinuxMount false
api.rbac.v1.RoleRef apiGroup "rbac.authorization.k8s.io"
api.scheduling.v1.PriorityClass preemptionPolicy "PreemptLowerPriority"
api.discovery.v1.EndpointPort name ""
api.discovery.v1.EndpointPort protocol "TCP"
api.authentication.v1.TokenRequestSpec expirationSeconds 3600
api.flowcontrol.v1.FlowSchemaSpec matchingPrecedence 1000
api.flowcontrol.v1.LimitedPriorityLevelConfiguration nominalConcurrencyShares 30
api.flowcontrol.v1.LimitedPriorityLevelConfiguration lendablePercent 0
api.flowcontrol.v1.ExemptPriorityLevelConfiguration nominalConcurrencyShares 0
api.flowcontrol.v1.ExemptPriorityLevelConfiguration lendablePercent 0
api.flowcontrol.v1.QueuingConfiguration handSize 8
api.flowcontrol.v1.QueuingConfiguration queues 64
api.flowcontrol.v1.QueuingConfiguration queueLengthLimit 50
api.admissionregistration.v1.ValidatingWebhook failurePolicy "Fail"
api.admissionregistration.v1.ValidatingWebhook matchPolicy "Equivalent"
api.admissionregistration.v1.ValidatingWebhook namespaceSelector {}
api.admissionregistration.v1.ValidatingWebhook objectSelector {}
api.admissionregistration.v1.ValidatingWebhook timeoutSeconds 10
api.admissionregistration.v1.MutatingWebhook failurePolicy "Fail"
api.admissionregistration.v1.MutatingWebhook matchPolicy "Equivalent"
api.admissionregistration.v1.MutatingWebhook namespaceSelector {}
api.admissionregistration.v1.MutatingWebhook objectSelector {}
api.admissionregistration.v1.MutatingWebhook timeoutSeconds 10
api.admissionregistration.v1.MutatingWebhook reinvocationPolicy "Never"
api.admissionregistration.v1.RuleWithOperations scope "*"
api.admissionregistration.v1.NamedRuleWithOperations scope "*"
api.admissionregistration.v1.ServiceReference port 443
api.admissionregistration.v1.ValidatingAdmissionPolicySpec failurePolicy "Fail"
api.admissionregistration.v1.MutatingAdmissionPolicySpec failurePolicy "Fail"
api.admissionregistration.v1.MatchResources matchPolicy "Equivalent"
api.admissionregistration.v1.MatchResources namespaceSelector {}
api.admissionregistration.v1.MatchResources objectSelector {}
apiextensions-apiserver.pkg.apis.apiextensions.v1.ServiceReference port 443
apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec conversion {"strategy":"None"}
kube-aggregator.pkg.apis.apiregistration.v1.ServiceReference port 443
api.resource.v1.DeviceToleration operator "Equal"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_names_a_field() {
        let lines = TABLE.lines().filter(|line| !line.is_empty()).count();
        assert_eq!(INDEX.len(), lines);
        for (definition, field) in INDEX.keys() {
            let schema =
                crate::schema::definition(definition).unwrap_or_else(|| panic!("{definition}"));
            assert!(schema.fields.contains_key(*field), "{definition} {field}");
        }
    }
}
