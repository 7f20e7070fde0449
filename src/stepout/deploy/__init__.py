"""What is needed to run the way out on AWS: so far, what it costs.

Pure, and on the standard library alone.
"""
