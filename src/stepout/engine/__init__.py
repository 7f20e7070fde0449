"""One execution as a plain object: events in, commands out. No I/O."""
