"""The checks, a module for each client; each has `run(bench, report)`."""
