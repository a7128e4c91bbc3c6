"""Tables of texts in files: reading, scoring, writing, going on after a kill. Knows neither HTTP nor the web."""
