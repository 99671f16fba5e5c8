//! A Kubernetes API for whatever custom resource definitions it is given.
