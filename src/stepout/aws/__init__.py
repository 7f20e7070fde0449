"""Formats of AWS: ARNs, signatures, request shapes, timestamps. No I/O."""
