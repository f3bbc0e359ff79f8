"""How a run is wired and started: graph, runners, command line, summary."""
