"""Who may ask: API keys, their scopes, and rate limits."""
