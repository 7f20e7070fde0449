"""Machines and connections: kept in memory or in SQLite, secrets encrypted."""
