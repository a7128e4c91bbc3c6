"""How the service is run on many machines: the chart, and proxies that share texts out."""
