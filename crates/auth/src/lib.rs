//! Credentials as values: docker configuration, Git secrets, token cache.
