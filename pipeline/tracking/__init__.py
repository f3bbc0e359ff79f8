"""MLflow: `payload` says what is sent of a run, `send` sends it, `track` keeps it until it is sent."""
