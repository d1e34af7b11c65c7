"""What audits and probes cost: commands that measure it on one's own machine."""
