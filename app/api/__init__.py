"""HTTP: routes, schemas, error responses. The only package that knows the web framework."""
