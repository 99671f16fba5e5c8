//! The only place that opens a connection: TLS, proxies, redirects, address policy, budgets, secrets.
