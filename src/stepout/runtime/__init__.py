"""Drives executions: takes their commands, performs them, brings back the results."""
