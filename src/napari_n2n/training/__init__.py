"""Train networks: data, loss, validation, schedule and training loop."""
