module peers/alerting

go 1.26.0

require (
	github.com/prometheus/alertmanager v0.31.0
	github.com/prometheus/prometheus v0.310.0
)
