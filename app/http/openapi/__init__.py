"""The OpenAPI document: what it says of each operation, and the page that shows it."""
