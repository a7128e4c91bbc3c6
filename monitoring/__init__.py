"""What watches the service: Prometheus' configuration and rules, Grafana's dashboards, and tools around them."""
