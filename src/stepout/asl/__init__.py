"""The Amazon States Language: text to machine, values to values. No I/O."""
