//! Parent of the containers of a pod.
