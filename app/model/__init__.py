"""The recurrent networks, their checkpoints and the forward pass. Knows torch; knows neither HTTP nor asyncio."""
