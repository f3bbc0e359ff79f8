"""Training in pods of its own: what the Trainer makes on Kubernetes, and what runs there."""
