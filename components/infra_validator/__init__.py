"""Whether a server can serve the exported model: loads it in a process of its own, and asks it."""
