"""The certificate authority of the cluster: issuing, renewing, rotating."""
