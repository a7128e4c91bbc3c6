"""HTTP: routes, schemas, error responses, and the server below them. The only package that knows the web framework."""
