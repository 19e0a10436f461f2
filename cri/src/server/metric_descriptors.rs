//! ListMetricDescriptors.

use proto::v1::ListMetricDescriptorsResponse;

use super::metric_table;

/// All metrics that ListPodSandboxMetrics may tell. CRI: ListMetricDescriptors
pub(super) fn list_metric_descriptors() -> ListMetricDescriptorsResponse {
    ListMetricDescriptorsResponse { descriptors: metric_table::descriptors() }
}
